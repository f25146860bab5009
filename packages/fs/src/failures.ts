import { isCacheError } from '@thermocline/backend'

/** Failures of single entries, in an operation on many: the others are carried out all the same. */
export class Failures {
  #first: unknown
  #any = false

  /** The outcome; `undefined` after a failure that is one entry's. Rejects when the disk fails. */
  async beyondTheKeys<T>(step: Promise<T>): Promise<T | undefined> {
    try {
      return await step
    } catch (error) {
      if (!isCacheError(error) || error.concerns === 'tier' || error.code === 'timeout') throw error
      if (!this.#any) this.#first = error
      this.#any = true
      return undefined
    }
  }

  throwFirst(): void {
    if (this.#any) throw this.#first
  }
}
