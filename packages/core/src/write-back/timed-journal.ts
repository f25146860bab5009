import {
  CacheError,
  isStreamed,
  withChunks,
  type CacheEntry,
  type Clock,
  type EpochMs,
  type JournalSlot,
  type JournalWant,
  type PendingWrite,
  type StreamedEntry,
  type Superseding,
  type TenantScope,
  type WriteBackJournal,
} from '@thermocline/backend'
import { Deadlines } from '../layers/deadlines.js'
import { StepsInTime } from '../layers/steps-in-time.js'
import { TimeLimit } from '../layers/time-limit.js'
import type { Tier } from '../tiers/tier.js'

/**
 * A tier's journal, in which nothing waits longer than the tier's budget for progress. While something hangs nobody else waits at all, so
 * an outage of the disk is paid for once. What hangs may still be carried out.
 *
 * The tier's own circuits are not told: the journal may be on another disk.
 */
export class TimedJournal {
  readonly #journal: WriteBackJournal
  readonly #keeper: Tier
  readonly #clock: Clock
  readonly #deadlines: Deadlines
  readonly #removing = new Map<JournalSlot, Promise<void>>()
  #hanging = 0
  #refusal: CacheError | undefined

  constructor(journal: WriteBackJournal, keeper: Tier, clock: Clock) {
    this.#journal = journal
    this.#keeper = keeper
    this.#clock = clock
    this.#deadlines = Deadlines.of(clock)
  }

  get size(): WriteBackJournal['size'] {
    return this.#journal.size
  }

  /** Whether something in it has outlived its budget and goes on: nothing is begun then. */
  get isHanging(): boolean {
    return this.#hanging > 0
  }

  load(): readonly JournalSlot[] {
    return this.#journal.load()
  }

  get nextLoadAt(): EpochMs | undefined {
    return this.#journal.nextLoadAt
  }

  async supersede(what: Superseding): Promise<void> {
    this.#throwIfHanging()
    await this.#limit('note').over(this.#journal.supersede(what))
  }

  reserve(write: PendingWrite): JournalSlot | undefined {
    return this.#journal.reserve(write)
  }

  grow(slot: JournalSlot, bytes: number): boolean {
    return this.#journal.grow(slot, bytes)
  }

  async store(slot: JournalSlot, scope: TenantScope, entry: CacheEntry): Promise<void> {
    this.#throwIfHanging()
    const limit = this.#limit('store')
    await limit.over(this.#journal.store(slot, scope, entry, { progress: limit.renew }))
  }

  async read(slot: JournalSlot, want: JournalWant): Promise<CacheEntry | undefined> {
    this.#throwIfHanging()
    const limit = this.#limit('read')
    const reading = this.#journal.read(slot, want, { progress: limit.renew })
    try {
      const entry = await limit.over(reading)
      return entry !== undefined && isStreamed(entry) ? this.#timed(entry) : entry
    } catch (error) {
      void reading.then((late) => late !== undefined && isStreamed(late) && late.payload.cancel(), () => undefined)
      throw error
    }
  }

  /** Begins in any case: what makes the copy later then does not. */
  async remove(slot: JournalSlot): Promise<void> {
    let removing = this.#removing.get(slot)
    if (removing === undefined) {
      removing = this.#journal.remove(slot)
      this.#removing.set(slot, removing)
      const forget = (): void => void this.#removing.delete(slot)
      removing.then(forget, forget)
    }
    this.#throwIfHanging()
    await this.#limit('removal').over(removing)
  }

  close(): Promise<void> {
    return this.#journal.close()
  }

  #timed(entry: StreamedEntry): StreamedEntry {
    const { payload } = entry
    return withChunks(entry, () => new StepsInTime({ begin: () => payload.chunks(), limit: this.#limit('read'), abandon: () => payload.cancel() }))
  }

  #limit(step: 'note' | 'store' | 'read' | 'removal'): TimeLimit {
    const { budgetMs, backend } = this.#keeper
    const late = (settled: Promise<unknown>): CacheError => {
      this.#hanging++
      void settled.then(() => this.#hanging--)
      return new CacheError('timeout', `a ${step} in the journal of write-back made no progress for ${Math.round(budgetMs)} ms and was left`, { operation: 'write-back', backend: backend.name, settled })
    }
    return new TimeLimit({ deadlines: this.#deadlines, clock: this.#clock, budgetMs, late })
  }

  #throwIfHanging(): void {
    if (this.#hanging === 0) return
    this.#refusal ??= new CacheError('circuit-open', 'not asked: something in the journal of write-back has outlived its budget and has not ended yet', { operation: 'write-back', backend: this.#keeper.backend.name })
    throw this.#refusal
  }
}
