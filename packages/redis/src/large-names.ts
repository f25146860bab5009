/** Payloads from this size on go over a connection of their own, so that small ones do not wait behind them. */
export const LARGE_BYTES = 256 * 1024

const MOST_REMEMBERED = 10_000

/**
 * The names under which a large payload was last seen. A reader learns a size only with the reply: the first time a large
 * payload is read in a process it comes with the small ones, from then on it has its own connection.
 */
export class LargeNames {
  readonly #names = new Set<string>()

  has(name: string): boolean {
    return this.#names.size > 0 && this.#names.has(name)
  }

  /** Notes the size of what a name holds. */
  note(name: string, bytes: number): void {
    if (bytes < LARGE_BYTES) {
      if (this.#names.size > 0) this.#names.delete(name)
      return
    }
    this.#names.add(name)
    if (this.#names.size > MOST_REMEMBERED) for (const oldest of this.#names) return void this.#names.delete(oldest)
  }
}
