import type { Clock } from '@thermocline/backend'
import { Backoff } from '../layers/backoff.js'

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
  readonly #backoff: Backoff
  #closed = false

  constructor(options: OwedScheduleOptions) {
    this.#options = options
    this.#backoff = new Backoff({ clock: options.clock, firstMs: FIRST_WAIT_MS, longestMs: LONGEST_WAIT_MS })
  }

  /** Makes sure that there will be a next attempt, if anything is owed. */
  schedule(): void {
    if (!this.#closed && this.#options.isOwed()) this.#backoff.schedule(() => this.#attempt())
  }

  /** Attempts now, and soon again if that does not pay everything. */
  now(): void {
    this.#backoff.cancel()
    this.#backoff.reset()
    this.#attempt()
  }

  close(): void {
    this.#closed = true
    this.#backoff.cancel()
  }

  #attempt(): void {
    void this.#options.pay().then(() => {
      if (!this.#options.isOwed()) this.#backoff.reset()
      this.schedule()
    })
  }
}
