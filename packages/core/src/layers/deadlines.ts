import type { CancelTimer, Clock } from '../clock/clock.js'

/** Something that must have happened by an instant, which may move to later. */
export interface Deadline {
  /** Monotonic milliseconds. */
  readonly deadlineAt: number
  expire(): void
}

/** What is under way, and one timer for all of it: a timer for each would cost as much as the rest of a read. */
export class Deadlines {
  readonly #clock: Clock
  readonly #pending = new Set<Deadline>()
  #wakeAt = Number.POSITIVE_INFINITY
  #cancel: CancelTimer | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  add(deadline: Deadline): void {
    this.#pending.add(deadline)
    if (deadline.deadlineAt < this.#wakeAt) this.#wakeBy(deadline.deadlineAt)
  }

  remove(deadline: Deadline): void {
    if (this.#pending.delete(deadline) && this.#pending.size === 0) this.#sleep()
  }

  #wakeBy(deadlineAt: number): void {
    this.#cancel?.()
    this.#wakeAt = deadlineAt
    this.#cancel = this.#clock.schedule(Math.max(0, deadlineAt - this.#clock.monotonic()), () => this.#wake())
  }

  #sleep(): void {
    this.#cancel?.()
    this.#cancel = undefined
    this.#wakeAt = Number.POSITIVE_INFINITY
  }

  #wake(): void {
    this.#sleep()
    const now = this.#clock.monotonic()
    let next = Number.POSITIVE_INFINITY
    for (const deadline of this.#pending) {
      if (deadline.deadlineAt > now) next = Math.min(next, deadline.deadlineAt)
      else {
        this.#pending.delete(deadline)
        deadline.expire()
      }
    }
    if (next !== Number.POSITIVE_INFINITY) this.#wakeBy(next)
  }
}
