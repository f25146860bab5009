import { randomFill } from 'node:crypto'
import { systemClock } from '@thermocline/backend'
import { threadPoolSize } from './open-limit.js'

/*
 * Whether it is the disk that is silent, or the thread pool that is busy.
 *
 * Problem. Calls to the disk wait for one of libuv's few threads. Where the application keeps all of them (hashing passwords, compressing), the disk has not
 * been asked yet, but its budget runs.
 *
 * Approach. Some bytes of randomness are asked for beside the calls, again and again while one is under way, as each has several steps: that takes a thread, and no
 * disk. The pool serves whoever came first, so while they have not come, what was asked after them has not begun. Then the budget goes on. Where as many calls of our own have not ended as there are threads, it may be
 * they that hold the threads up: then it goes on for some seconds only.
 */

/** How often randomness is asked for, in milliseconds. */
const EVERY_MS = 50
/** For how long it may be our own calls that hold the threads up, in milliseconds. */
const IN_DOUBT_MS = 5000

export class PoolWatch {
  readonly #few = Buffer.alloc(1)
  readonly #running: () => number
  #isAsking = false
  #askedAt = Number.NEGATIVE_INFINITY
  #isWatching = false

  /** @param running how many calls to the disk have not ended */
  constructor(running: () => number) {
    this.#running = running
  }

  /** A call is about to be made. */
  begin(now: number): void {
    if (now - this.#askedAt >= EVERY_MS) this.#ask(now)
    if (this.#isWatching) return
    this.#isWatching = true
    this.#watch()
  }

  #watch(): void {
    systemClock.schedule(
      EVERY_MS,
      () => {
        this.#isWatching = this.#running() > 0
        if (!this.#isWatching) return
        this.#ask(systemClock.monotonic())
        this.#watch()
      },
      { background: true },
    )
  }

  #ask(now: number): void {
    if (this.#isAsking) return
    this.#isAsking = true
    this.#askedAt = now
    randomFill(this.#few, () => {
      this.#isAsking = false
    })
  }

  /** For {@link OperationOptions.watch}: when the disk was last not to blame. */
  readonly movedAt = (): number => {
    const now = systemClock.monotonic()
    const isBusy = this.#isAsking && (this.#running() < threadPoolSize() || now - this.#askedAt < IN_DOUBT_MS)
    return isBusy ? now : Number.NEGATIVE_INFINITY
  }
}
