import type { CancelTimer, Clock } from '@thermocline/backend'

export interface BackoffOptions {
  readonly clock: Clock
  /** The first wait, and the longest, in milliseconds. */
  readonly firstMs: number
  readonly longestMs: number
  /** The part of each wait that is left to chance, so that what failed together is not tried again together: 0 to 1. Default 0. */
  readonly jitter?: number | undefined
}

/** When something is tried again: after a wait that doubles each time. It keeps no process up. */
export class Backoff {
  readonly #options: BackoffOptions
  #nextMs: number
  #waiting: { readonly attempt: () => void; readonly cancel: CancelTimer } | undefined

  constructor(options: BackoffOptions) {
    this.#options = options
    this.#nextMs = options.firstMs
  }

  /** Tries after the next wait; where one is under way, that is enough. */
  schedule(attempt: () => void): void {
    if (this.#waiting !== undefined) return
    const { clock, longestMs, jitter = 0 } = this.#options
    const waitMs = this.#nextMs * (1 - jitter * Math.random())
    this.#nextMs = Math.min(this.#nextMs * 2, longestMs)
    const cancel = clock.schedule(waitMs, () => {
      this.#waiting = undefined
      attempt()
    }, { background: true })
    this.#waiting = { attempt, cancel }
  }

  /** Tries at once what waits. */
  now(): void {
    const waiting = this.#waiting
    this.cancel()
    waiting?.attempt()
  }

  /** The next wait is the first one again. */
  reset(): void {
    this.#nextMs = this.#options.firstMs
  }

  /** Tries nothing that waits. */
  cancel(): void {
    this.#waiting?.cancel()
    this.#waiting = undefined
  }
}
