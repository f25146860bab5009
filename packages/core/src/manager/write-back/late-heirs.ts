import type { Clock } from '../../clock/clock.js'
import type { JournalSlot } from '../../contract/journal.js'
import type { Tier } from '../../tiers/tier.js'
import type { TimedJournal } from './timed-journal.js'

/** The most keys and prefixes that are noted. */
const MOST_NOTED = 100_000
const DISK_IS_AWAY_MS = 5000

export interface LateHeirsOptions {
  readonly clock: Clock
  /** Takes up what an earlier process left; `isSuperseded`: something newer was called here meanwhile. */
  readonly takeUp: (journal: TimedJournal, slot: JournalSlot, isSuperseded: boolean) => void
  /** More was called meanwhile than can be noted. */
  readonly giveUp: () => void
}

/**
 * What earlier processes left and nobody may take up yet, because they might still live. Until that is known, the keys that are invalidated
 * here are noted: what was left of them is older. Where nothing may be left nothing is noted.
 */
export class LateHeirs {
  readonly #options: LateHeirsOptions
  readonly #waiting = new Map<TimedJournal, () => void>()
  readonly #keys = new Set<string>()
  readonly #prefixes = new Set<string>()

  constructor(options: LateHeirsOptions) {
    this.#options = options
  }

  /** Looks into the journal again when it can tell more, until there is nothing left to wait for. */
  waitFor(journal: TimedJournal, keeper: Tier): void {
    const { clock, takeUp } = this.#options
    const at = journal.nextLoadAt
    if (at === undefined) return this.#done(journal)
    const waitMs = keeper.readable ? Math.max(0, at - clock.now()) : DISK_IS_AWAY_MS
    const look = (): void => {
      // reads at once: a disk that is known to be away is not asked
      if (keeper.readable && clock.now() >= at) for (const slot of journal.load()) takeUp(journal, slot, this.#isSuperseded(slot))
      this.waitFor(journal, keeper)
    }
    this.#waiting.set(journal, clock.schedule(waitMs, look, { background: true }))
  }

  /** Something newer is called. */
  note(tenant: string, key: string): void {
    if (this.#waiting.size > 0) this.#note(this.#keys, idOf(tenant, key))
  }

  /** The same for every key with the prefix. */
  notePrefix(tenant: string, prefix: string): void {
    if (this.#waiting.size > 0) this.#note(this.#prefixes, idOf(tenant, prefix))
  }

  close(): void {
    for (const cancel of this.#waiting.values()) cancel()
    this.#waiting.clear()
    this.#forget()
  }

  #isSuperseded({ tenant, key }: JournalSlot): boolean {
    const id = idOf(tenant, key)
    if (this.#keys.has(id)) return true
    for (const prefix of this.#prefixes) if (id.startsWith(prefix)) return true
    return false
  }

  #note(noted: Set<string>, id: string): void {
    noted.add(id)
    if (this.#keys.size + this.#prefixes.size <= MOST_NOTED) return
    this.close()
    this.#options.giveUp()
  }

  #done(journal: TimedJournal): void {
    this.#waiting.delete(journal)
    if (this.#waiting.size === 0) this.#forget()
  }

  #forget(): void {
    this.#keys.clear()
    this.#prefixes.clear()
  }
}

/** No tenant has a NUL in it. */
function idOf(tenant: string, keyOrPrefix: string): string {
  return `${tenant}\0${keyOrPrefix}`
}
