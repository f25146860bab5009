import { asCacheError, type CacheError, type Clock, type JournalSlot, type Superseding } from '@thermocline/backend'
import type { Tier } from '../tiers/tier.js'
import type { TimedJournal } from './timed-journal.js'

const DISK_IS_AWAY_MS = 5000

export interface LeftBehindOptions {
  readonly clock: Clock
  /** Takes up what an earlier process left. */
  readonly takeUp: (journal: TimedJournal, slot: JournalSlot) => void
}

/**
 * What earlier processes left and nobody may take up yet, because they might still live. Until that is known, what is invalidated here is
 * noted in the journal: what was left of it is older. Where nothing may be left nothing is noted.
 */
export class LeftBehind {
  readonly #options: LeftBehindOptions
  readonly #waiting = new Map<TimedJournal, () => void>()

  constructor(options: LeftBehindOptions) {
    this.#options = options
  }

  /** Looks into the journal again when it can tell more, until there is nothing left to wait for. */
  waitFor(journal: TimedJournal, keeper: Tier): void {
    const { clock, takeUp } = this.#options
    const at = journal.nextLoadAt
    if (at === undefined) return void this.#waiting.delete(journal)
    const waitMs = keeper.readable ? Math.max(0, at - clock.now()) : DISK_IS_AWAY_MS
    const look = (): void => {
      // reads at once: a disk that is known to be away is not asked
      if (keeper.readable) for (const slot of journal.load()) takeUp(journal, slot)
      this.waitFor(journal, keeper)
    }
    this.#waiting.set(journal, clock.schedule(waitMs, look, { background: true }))
  }

  /** Something newer is called. Resolves when that is noted, with what went wrong where it is not; `undefined`: there is nothing to wait for. */
  note(what: Superseding): Promise<readonly CacheError[]> | undefined {
    if (this.#waiting.size === 0) return undefined
    const errorOf = (cause: unknown): CacheError => asCacheError(cause, { operation: 'write-back' })
    return Promise.all([...this.#waiting.keys()].map((journal) => journal.supersede(what).then(() => undefined, errorOf))).then((errors) => errors.filter((error) => error !== undefined))
  }

  close(): void {
    for (const cancel of this.#waiting.values()) cancel()
    this.#waiting.clear()
  }
}
