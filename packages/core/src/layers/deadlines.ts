import type { CancelTimer, Clock } from '@thermocline/backend'

/*
 * The one clock of all budgets.
 *
 * Problem. A budget says how long a store may be silent. A process that is busy itself hears nothing meanwhile: its event loop stands
 * still, its requests have not even left. Measured against the wall clock a busy loop of 320 ms made a healthy Redis look dead in 12 of 30 runs.
 *
 * Approach. Budgets count in slices of at most 50 ms, each a timer. A timer that fires late says that the event loop stood still, and so
 * long is taken off its slice. Something of each slice always counts, so a process that is never on time still leaves a store
 * that is silent, only later.
 *
 * Rejected: one timer for a whole budget and two turns of the event loop after it. Replies to what was sent at the end of a long turn
 * take longer than two turns.
 */

/** The longest slice, in milliseconds. */
const SLICE_MS = 50
/** So much of a slice counts in any case, however late its timer is. */
const LEAST_MS = 10

/** Something that must have happened by an instant, which may move to later. */
export interface Deadline {
  /** By {@link Deadlines.now}. */
  readonly deadlineAt: number
  expire(): void
  /** @internal the neighbours in {@link Deadlines}: a set would make each of them a hash */
  before: Deadline | undefined
  after: Deadline | undefined
  isPending: boolean
}

/**
 * What is under way, and one timer for all of it: a timer for each would cost as much as the rest of a read. When nothing is
 * under way the timer goes on for a slice without keeping the process alive: it is there when the next operation comes, as it does at once
 * where one caller reads again and again.
 */
export class Deadlines {
  static readonly #ofClocks = new WeakMap<Clock, Deadlines>()
  readonly #clock: Clock
  #first: Deadline | undefined
  /** No deadline is before this instant. */
  #nextAt = Number.POSITIVE_INFINITY
  /** What was counted when the slice began. */
  #counted = 0
  #sliceBeganAt = 0
  /** How long the slice is; 0: there is none, and time stands still. */
  #sliceMs = 0
  #cancel: CancelTimer | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** The same for everybody who has the clock. */
  static of(clock: Clock): Deadlines {
    let deadlines = Deadlines.#ofClocks.get(clock)
    if (deadlines === undefined) Deadlines.#ofClocks.set(clock, (deadlines = new Deadlines(clock)))
    return deadlines
  }

  /** Milliseconds that count, from an arbitrary beginning. They go on only while something is under way. */
  now(): number {
    if (this.#sliceMs === 0) return this.#counted
    return this.#counted + Math.min(this.#sliceMs, Math.max(0, this.#clock.monotonic() - this.#sliceBeganAt))
  }

  /** The instant that is so far away. */
  after(ms: number): number {
    if (this.#sliceMs === 0) this.#beginSlice(Math.min(SLICE_MS, ms))
    return this.now() + ms
  }

  /** Again for one that is under way it does what {@link moved} does. */
  add(deadline: Deadline): void {
    if (deadline.isPending) return this.#look(deadline.deadlineAt)
    const next = this.#first
    this.#first = deadline
    deadline.after = next
    deadline.isPending = true
    if (next !== undefined) next.before = deadline
    this.#look(deadline.deadlineAt)
    if (next === undefined) this.#cancel?.keepAlive?.(true)
  }

  /** The instant of one that is under way has moved, perhaps to sooner. */
  moved(deadline: Deadline): void {
    if (deadline.isPending) this.#look(deadline.deadlineAt)
  }

  remove(deadline: Deadline): void {
    if (!deadline.isPending) return
    this.#unlink(deadline)
    if (this.#first === undefined) this.#rest()
  }

  /** Calls back once so much has been counted and the event loop has had two more turns. */
  schedule(ms: number, callback: () => void): () => void {
    const timer = new BudgetTimer(this, this.#clock, this.after(ms), callback)
    this.add(timer)
    return () => timer.cancel()
  }

  /** Makes sure that there will be a look at that instant. */
  #look(deadlineAt: number): void {
    if (deadlineAt < this.#nextAt) this.#nextAt = deadlineAt
    if (deadlineAt >= this.#counted + this.#sliceMs && this.#sliceMs > 0) return
    this.#endSlice()
    this.#beginSlice(this.#nextSliceMs())
  }

  #nextSliceMs(): number {
    return Math.min(SLICE_MS, Math.max(0, this.#nextAt - this.#counted))
  }

  #beginSlice(ms: number): void {
    this.#sliceBeganAt = this.#clock.monotonic()
    this.#sliceMs = Math.max(ms, 1)
    this.#cancel = this.#clock.schedule(ms === 0 ? 0 : this.#sliceMs, () => this.#tick())
  }

  #endSlice(): void {
    if (this.#sliceMs === 0) return
    this.#cancel?.()
    this.#cancel = undefined
    const passedMs = Math.max(0, this.#clock.monotonic() - this.#sliceBeganAt)
    const lateMs = passedMs - this.#sliceMs
    this.#counted += lateMs <= 0 ? passedMs : Math.max(Math.min(this.#sliceMs, LEAST_MS), this.#sliceMs - lateMs)
    this.#sliceMs = 0
  }

  #tick(): void {
    this.#endSlice()
    if (this.#first === undefined) {
      this.#nextAt = Number.POSITIVE_INFINITY
      return
    }
    const over = this.#counted < this.#nextAt ? [] : this.#takeOver()
    if (this.#first !== undefined) this.#beginSlice(this.#nextSliceMs())
    for (const deadline of over) deadline.expire()
  }

  /** Those whose instant has come. */
  #takeOver(): Deadline[] {
    const over: Deadline[] = []
    let next = Number.POSITIVE_INFINITY
    for (let deadline = this.#first; deadline !== undefined; deadline = deadline.after) {
      if (deadline.deadlineAt > this.#counted) next = Math.min(next, deadline.deadlineAt)
      else over.push(deadline)
    }
    for (const deadline of over) this.#unlink(deadline)
    this.#nextAt = next
    return over
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

  #rest(): void {
    if (this.#cancel?.keepAlive !== undefined) return this.#cancel.keepAlive(false)
    this.#endSlice()
    this.#nextAt = Number.POSITIVE_INFINITY
  }
}

class BudgetTimer implements Deadline {
  readonly deadlineAt: number
  before: Deadline | undefined = undefined
  after: Deadline | undefined = undefined
  isPending = false
  readonly #deadlines: Deadlines
  readonly #clock: Clock
  #callback: (() => void) | undefined

  constructor(deadlines: Deadlines, clock: Clock, deadlineAt: number, callback: () => void) {
    this.#deadlines = deadlines
    this.#clock = clock
    this.deadlineAt = deadlineAt
    this.#callback = callback
  }

  cancel(): void {
    this.#callback = undefined
    this.#deadlines.remove(this)
  }

  expire(): void {
    this.#clock.afterPendingIo(() => this.#callback?.())
  }
}
