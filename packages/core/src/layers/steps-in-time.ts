import type { TimeLimit, WaitListener } from './time-limit.js'

export interface StepsInTimeOptions<T> {
  readonly begin: () => AsyncIterable<T>
  /** `undefined`: as long as it takes. */
  readonly limit: TimeLimit | undefined
  /** It has ended by itself. */
  readonly ended?: (() => void) | undefined
  readonly failed?: ((error: unknown) => void) | undefined
  /** What is not read any more is given up. */
  readonly abandon?: (() => void) | undefined
}

const END: IteratorReturnResult<undefined> = Object.freeze({ done: true, value: undefined })

/**
 * The steps of a listing or of a stream's payload, each with the budget to itself: what the consumer does in between is not the backend's time.
 *
 * Not an async generator, which makes four promises for a step: there are a million of them in a large listing. One record tells the
 * time for all of them.
 */
export class StepsInTime<T> implements AsyncIterableIterator<T>, WaitListener<IteratorResult<T>> {
  readonly #options: StepsInTimeOptions<T>
  #iterator: AsyncIterator<T> | undefined
  #step: Promise<IteratorResult<T>> | undefined
  #isOver = false

  constructor(options: StepsInTimeOptions<T>) {
    this.#options = options
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  next(): Promise<IteratorResult<T>> {
    if (this.#step !== undefined) return this.#step.then(() => this.next(), () => this.next())
    if (this.#isOver) return Promise.resolve(END)
    const { begin, limit } = this.#options
    try {
      this.#iterator ??= begin()[Symbol.asyncIterator]()
      const step = this.#iterator.next()
      this.#step = limit === undefined ? this.#asLongAsItTakes(step) : limit.over(step, this)
      return this.#step
    } catch (error) {
      this.#leave()
      return Promise.reject(error)
    }
  }

  /** At once, also while a step is waited for. */
  return(): Promise<IteratorResult<T>> {
    this.#leave()
    return Promise.resolve(END)
  }

  passed(step: IteratorResult<T>): void {
    this.#step = undefined
    if (step.done !== true || this.#isOver) return
    this.#isOver = true
    this.#options.ended?.()
  }

  failed(error: unknown): void {
    this.#step = undefined
    this.#options.failed?.(error)
    this.#leave()
  }

  async #asLongAsItTakes(step: Promise<IteratorResult<T>>): Promise<IteratorResult<T>> {
    try {
      const result = await step
      this.passed(result)
      return result
    } catch (error) {
      this.failed(error)
      throw error
    }
  }

  #leave(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#options.abandon?.()
    // a hanging iterator's return() would wait behind its hanging next(), so nobody waits for it
    void this.#iterator?.return?.()?.then(undefined, () => undefined)
  }
}
