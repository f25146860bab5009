import type { CacheError, Clock } from '@thermocline/backend'
import type { Deadline, Deadlines } from './deadlines.js'

export interface TimeLimitOptions {
  readonly deadlines: Deadlines
  readonly clock: Clock
  readonly budgetMs: number
  /** What is waited for is left: makes the error for whoever waits. `settled`: when it has really ended. */
  readonly late: (settled: Promise<unknown>) => CacheError
}

/** Told how each wait has ended, before whoever waits is. */
export interface WaitListener<T> {
  passed(value: T): void
  failed(error: unknown): void
}

/** Waits for one thing after the other, each with the budget to itself. Between two of them there is nothing to run out. */
export class TimeLimit implements Deadline {
  deadlineAt = Number.POSITIVE_INFINITY
  before: Deadline | undefined = undefined
  after: Deadline | undefined = undefined
  isPending = false
  readonly #options: TimeLimitOptions
  /** What is waited for; another by the time that an expired one is looked at is not late. */
  #work: Promise<unknown> | undefined
  #leave: ((error: unknown) => void) | undefined

  constructor(options: TimeLimitOptions) {
    this.#options = options
  }

  /** The work's outcome, or an error when it makes no progress for the budget. One at a time. */
  over<T>(work: Promise<T>, told?: WaitListener<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#work = work
      this.#leave = (error) => {
        told?.failed(error)
        reject(error)
      }
      this.renew()
      this.#options.deadlines.add(this)
      work.then(
        (value) => {
          if (!this.#end(work)) return
          told?.passed(value)
          resolve(value)
        },
        (error: unknown) => {
          if (!this.#end(work)) return
          told?.failed(error)
          reject(error)
        },
      )
    })
  }

  /** There is progress: the budget begins anew. */
  readonly renew = (): void => {
    const { deadlines, budgetMs } = this.#options
    this.deadlineAt = deadlines.after(budgetMs)
  }

  expire(): void {
    const work = this.#work as Promise<unknown>
    const { clock, deadlines, late } = this.#options
    clock.afterPendingIo(() => {
      if (this.#work !== work) return
      if (this.deadlineAt > deadlines.now()) return deadlines.add(this) // renewed at the last moment
      const leave = this.#leave
      this.#end(work)
      leave?.(late(work.then(() => undefined, () => undefined)))
    })
  }

  /** Whether it was waited for. */
  #end(work: Promise<unknown>): boolean {
    if (this.#work !== work) return false
    this.#work = undefined
    this.#leave = undefined
    this.#options.deadlines.remove(this)
    return true
  }
}
