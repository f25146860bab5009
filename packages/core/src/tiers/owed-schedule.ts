import type { CancelTimer, Clock } from '@thermocline/backend'

const FIRST_WAIT_MS = 1000
const LONGEST_WAIT_MS = 60_000

export interface OwedScheduleOptions {
  readonly clock: Clock
  readonly isOwed: () => boolean
  /** Tries to pay everything; never rejects. */
  readonly pay: () => Promise<void>
}

/** When what is owed is tried: after a second, then half as often each time up to once a minute, and at once on recovery. */
export class OwedSchedule {
  readonly #options: OwedScheduleOptions
  #waitMs = FIRST_WAIT_MS
  #cancel: CancelTimer | undefined
  #closed = false

  constructor(options: OwedScheduleOptions) {
    this.#options = options
  }

  /** Makes sure that there will be a next attempt, if anything is owed. */
  schedule(): void {
    if (this.#closed || this.#cancel !== undefined || !this.#options.isOwed()) return
    const { clock } = this.#options
    this.#cancel = clock.schedule(this.#waitMs, () => this.#attempt(Math.min(this.#waitMs * 2, LONGEST_WAIT_MS)), { background: true })
  }

  /** Attempts now, and soon again if that does not pay everything. */
  now(): void {
    this.#cancel?.()
    this.#attempt(FIRST_WAIT_MS)
  }

  close(): void {
    this.#closed = true
    this.#cancel?.()
  }

  #attempt(nextWaitMs: number): void {
    this.#cancel = undefined
    this.#waitMs = nextWaitMs
    void this.#options.pay().then(() => {
      if (!this.#options.isOwed()) this.#waitMs = FIRST_WAIT_MS
      this.schedule()
    })
  }
}
