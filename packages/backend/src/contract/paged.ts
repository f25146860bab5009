/** The same in every copy of this package: an adapter's may be another one than the manager's. */
const PAGES: unique symbol = Symbol.for('thermocline.pages')

/**
 * What comes a page at a time, and can be taken one by one or by pages. Of 10,000 entries each step costs several promises in every layer that
 * passes it on: layers and the manager pass pages on, and whoever takes single entries pays once for each.
 */
export class Paged<T> implements AsyncIterable<T> {
  readonly #pages: () => AsyncIterable<readonly T[]>

  /** @param pages called for each iteration */
  constructor(pages: () => AsyncIterable<readonly T[]>) {
    this.#pages = pages
  }

  /** A page may be empty. */
  pages(): AsyncIterable<readonly T[]> {
    return this.#pages()
  }

  /** @internal */
  [PAGES](): AsyncIterable<readonly T[]> {
    return this.pages()
  }

  [Symbol.asyncIterator](): AsyncIterator<T, undefined, undefined> {
    return new Flattened(this.#pages()[Symbol.asyncIterator]())
  }
}

/** A listing by pages; of one that has none, each entry is a page. */
export function pagesOf<T>(listing: AsyncIterable<T>): AsyncIterable<readonly T[]> {
  const paged = listing as Partial<Paged<T>>
  return paged[PAGES] !== undefined ? paged[PAGES]() : { [Symbol.asyncIterator]: () => new Single(listing[Symbol.asyncIterator]()) }
}

const END: IteratorReturnResult<undefined> = Object.freeze({ done: true, value: undefined })

/** One by one. Not an async generator: its `return` would wait behind a hanging `next`. */
class Flattened<T> implements AsyncIterator<T, undefined, undefined> {
  readonly #pages: AsyncIterator<readonly T[]>
  #page: readonly T[] = []
  #at = 0
  #turning: Promise<IteratorResult<T, undefined>> | undefined

  constructor(pages: AsyncIterator<readonly T[]>) {
    this.#pages = pages
  }

  next(): Promise<IteratorResult<T, undefined>> {
    if (this.#turning !== undefined) return this.#turning.then(() => this.next(), () => this.next())
    if (this.#at < this.#page.length) return Promise.resolve({ done: false, value: this.#page[this.#at++] as T })
    this.#turning = this.#turn()
    return this.#turning
  }

  async return(): Promise<IteratorReturnResult<undefined>> {
    this.#page = []
    await this.#pages.return?.()
    return END
  }

  async #turn(): Promise<IteratorResult<T, undefined>> {
    try {
      for (;;) {
        const step = await this.#pages.next()
        if (step.done === true) return END
        if (step.value.length === 0) continue
        this.#page = step.value
        this.#at = 1
        return { done: false, value: step.value[0] as T }
      }
    } finally {
      this.#turning = undefined
    }
  }
}

class Single<T> implements AsyncIterator<readonly T[]> {
  readonly #each: AsyncIterator<T>

  constructor(each: AsyncIterator<T>) {
    this.#each = each
  }

  async next(): Promise<IteratorResult<readonly T[]>> {
    const step = await this.#each.next()
    return step.done === true ? END : { done: false, value: [step.value] }
  }

  async return(): Promise<IteratorReturnResult<undefined>> {
    await this.#each.return?.()
    return END
  }
}
