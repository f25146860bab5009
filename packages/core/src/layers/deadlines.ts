import type { CancelTimer, Clock } from '../clock/clock.js'

/** Something that must have happened by an instant, which may move to later. */
export interface Deadline {
  /** Monotonic milliseconds. */
  readonly deadlineAt: number
  expire(): void
  /** @internal the neighbours in {@link Deadlines}: a set would make each of them a hash */
  before: Deadline | undefined
  after: Deadline | undefined
  isPending: boolean
}

/**
 * What is under way, and one timer for all of it: a timer for each would cost as much as the rest of a read. When nothing is
 * under way the timer goes on without keeping the process alive: it is there when the next operation comes, as it does at once
 * where one caller reads again and again.
 */
export class Deadlines {
  readonly #clock: Clock
  #first: Deadline | undefined
  #wakeAt = Number.POSITIVE_INFINITY
  #cancel: CancelTimer | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  add(deadline: Deadline): void {
    const next = this.#first
    this.#first = deadline
    deadline.after = next
    deadline.isPending = true
    if (next !== undefined) next.before = deadline
    if (deadline.deadlineAt < this.#wakeAt) this.#wakeBy(deadline.deadlineAt)
    else if (next === undefined) this.#cancel?.keepAlive?.(true)
  }

  /** The instant of one that is under way has moved, perhaps to sooner. */
  moved(deadline: Deadline): void {
    if (deadline.isPending && deadline.deadlineAt < this.#wakeAt) this.#wakeBy(deadline.deadlineAt)
  }

  remove(deadline: Deadline): void {
    if (!deadline.isPending) return
    this.#unlink(deadline)
    if (this.#first === undefined) this.#rest()
  }

  #unlink(deadline: Deadline): void {
    const { before, after } = deadline
    if (before === undefined) this.#first = after
    else before.after = after
    if (after !== undefined) after.before = before
    deadline.before = undefined
    deadline.after = undefined
    deadline.isPending = false
  }

  #wakeBy(deadlineAt: number): void {
    this.#cancel?.()
    this.#wakeAt = deadlineAt
    this.#cancel = this.#clock.schedule(Math.max(0, deadlineAt - this.#clock.monotonic()), () => this.#wake())
  }

  #rest(): void {
    if (this.#cancel?.keepAlive !== undefined) return this.#cancel.keepAlive(false)
    this.#cancel?.()
    this.#sleep()
  }

  #sleep(): void {
    this.#cancel = undefined
    this.#wakeAt = Number.POSITIVE_INFINITY
  }

  #wake(): void {
    this.#sleep()
    const now = this.#clock.monotonic()
    let next = Number.POSITIVE_INFINITY
    const over: Deadline[] = []
    for (let deadline = this.#first; deadline !== undefined; deadline = deadline.after) {
      if (deadline.deadlineAt > now) next = Math.min(next, deadline.deadlineAt)
      else over.push(deadline)
    }
    for (const deadline of over) this.#unlink(deadline)
    if (next !== Number.POSITIVE_INFINITY) this.#wakeBy(next)
    for (const deadline of over) deadline.expire()
  }
}
