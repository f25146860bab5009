import { asCacheError, type CacheError, type Clock } from '@thermocline/backend'
import { OwedSchedule } from '../tiers/owed-schedule.js'

const REMOVALS_AT_ONCE = 64

export interface CopyRemovalsOptions<C> {
  readonly clock: Clock
  readonly remove: (copy: C) => Promise<void>
  /** It is gone. */
  readonly removed: (copy: C) => void
  /** It could not be removed; told once for each. */
  readonly failed: (copy: C, error: CacheError) => void
}

/**
 * Copies that are to leave the journal. One that cannot be removed is owed, as tiers owe what they cannot delete: it is tried again with
 * waits that double, up to a minute, for as long as the process lives, because a restart would upload it over something newer.
 */
export class CopyRemovals<C> {
  readonly #options: CopyRemovalsOptions<C>
  readonly #owed = new Set<C>()
  readonly #running = new Map<C, Promise<CacheError | undefined>>()
  readonly #schedule: OwedSchedule

  constructor(options: CopyRemovalsOptions<C>) {
    this.#options = options
    this.#schedule = new OwedSchedule({ clock: options.clock, isOwed: () => this.#owed.size > 0, pay: () => this.#retry() })
  }

  /** How many could not be removed yet. */
  get owed(): number {
    return this.#owed.size
  }

  /** Removes it now, also when that has failed before. Resolves with what went wrong, if it is still there. */
  remove(copy: C): Promise<CacheError | undefined> {
    let running = this.#running.get(copy)
    if (running === undefined) {
      running = this.#remove(copy).finally(() => this.#running.delete(copy))
      this.#running.set(copy, running)
    }
    return running
  }

  /** Tries again what is owed, if anything is. */
  retryNow(): void {
    if (this.#owed.size > 0) this.#schedule.now()
  }

  /** Ends the attempts with a last one. */
  async close(): Promise<void> {
    this.#schedule.close()
    await this.#retry()
  }

  async #remove(copy: C): Promise<CacheError | undefined> {
    const { remove, removed, failed } = this.#options
    try {
      await remove(copy)
    } catch (thrown) {
      const error = asCacheError(thrown, { operation: 'write-back' })
      if (!this.#owed.has(copy)) {
        this.#owed.add(copy)
        failed(copy, error)
      }
      this.#schedule.schedule()
      return error
    }
    this.#owed.delete(copy)
    removed(copy)
    return undefined
  }

  async #retry(): Promise<void> {
    const owed = [...this.#owed]
    while (owed.length > 0) await Promise.all(owed.splice(0, REMOVALS_AT_ONCE).map((copy) => this.remove(copy)))
  }
}
