import type { Deadlines } from './deadlines.js'

/*
 * How many operations a store is given at once.
 *
 * Problem. What waits inside of the store's client (for one of libuv's four threads, for one of fifty sockets) has not been asked of the store
 * yet, but its budget runs. Of 200 computes at once onto a disk with 20 ms an operation none was stored, and the disk was called dead.
 *
 * Approach. Only so many operations are given to a store at a time. The others wait here, first come, first served, and their
 * budget begins when it is their turn. Nothing waits for ever: the queue is bounded in length and in time. When the store stops
 * answering, those that were given to it time out, the breaker opens, and all that wait are refused at once.
 *
 * An operation that was given up gives its place back, though it may not have ended: a store that never ends it must not lose the place.
 */

/** What can wait for its turn. */
export interface Waiting {
  /** It is its turn. {@link Gate.leave} is to be called when it has ended, also if it does nothing because nobody waits any more. */
  admitted(): void
}

export interface GateOptions {
  readonly deadlines: Deadlines
  /** The most operations at once. */
  readonly width: number
}

/** The most operations that wait. */
const MOST_WAITING = 100_000
/** So many spent places of the queue are dropped at once. */
const SPENT = 1024

export class Gate {
  readonly #deadlines: Deadlines
  readonly #width: number
  #queue: Waiting[] = []
  /** Where the queue begins. */
  #head = 0
  #running = 0
  #isPumping = false
  #congestedAt = Number.NEGATIVE_INFINITY

  constructor({ deadlines, width }: GateOptions) {
    this.#deadlines = deadlines
    this.#width = width
  }

  /** How many operations wait. */
  get waiting(): number {
    return this.#queue.length - this.#head
  }

  /** Until when, by {@link Deadlines.now}, something waited: what was behind others then lost no time of the store's. */
  get congestedUntil(): number {
    return this.waiting > 0 ? this.#deadlines.now() : this.#congestedAt
  }

  /** Whether an operation may begin at once; {@link leave} is to be called when it has ended. */
  enter(): boolean {
    if (this.#running >= this.#width || this.waiting > 0) return false
    this.#running++
    return true
  }

  /** Has an operation wait for its turn; `false`: too many do. */
  wait(operation: Waiting): boolean {
    if (this.waiting >= MOST_WAITING) return false
    this.#queue.push(operation)
    return true
  }

  leave(): void {
    this.#running--
    if (this.#queue.length > 0) this.#pump()
  }

  #pump(): void {
    if (this.#isPumping) return // what is admitted may end at once
    this.#isPumping = true
    while (this.#running < this.#width && this.waiting > 0) {
      const next = this.#queue[this.#head++] as Waiting
      this.#running++
      next.admitted()
    }
    this.#isPumping = false
    if (this.waiting === 0) this.#congestedAt = this.#deadlines.now()
    if (this.#head < SPENT && this.waiting > 0) return
    this.#queue = this.#queue.slice(this.#head)
    this.#head = 0
  }
}
