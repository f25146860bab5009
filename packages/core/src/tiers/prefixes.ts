/**
 * Prefixes of keys, each with a number. Whether one of them covers a key takes a look-up for each length there is among them, however
 * many they are.
 */
export class Prefixes {
  readonly #numbers = new Map<string, number>()
  /** How many prefixes have each length. */
  readonly #lengths = new Map<number, number>()

  /** Those, each with the number 0. */
  static of(prefixes: Iterable<string>): Prefixes {
    const made = new Prefixes()
    for (const prefix of prefixes) made.set(prefix, 0)
    return made
  }

  get size(): number {
    return this.#numbers.size
  }

  get(prefix: string): number | undefined {
    return this.#numbers.get(prefix)
  }

  has(prefix: string): boolean {
    return this.#numbers.has(prefix)
  }

  set(prefix: string, number: number): void {
    if (!this.#numbers.has(prefix)) this.#lengths.set(prefix.length, (this.#lengths.get(prefix.length) ?? 0) + 1)
    this.#numbers.set(prefix, number)
  }

  delete(prefix: string): void {
    if (!this.#numbers.delete(prefix)) return
    const left = (this.#lengths.get(prefix.length) ?? 1) - 1
    if (left === 0) this.#lengths.delete(prefix.length)
    else this.#lengths.set(prefix.length, left)
  }

  /** Whether the key begins with one of them. */
  covers(key: string): boolean {
    for (const length of this.#lengths.keys()) if (length <= key.length && this.#numbers.has(key.slice(0, length))) return true
    return false
  }

  entries(): IterableIterator<[string, number]> {
    return this.#numbers.entries()
  }

  keys(): IterableIterator<string> {
    return this.#numbers.keys()
  }
}

/** The longest text that all begin with; it ends within no character. */
export function commonPrefix(texts: readonly string[]): string {
  let [common = ''] = texts
  for (const text of texts) {
    let at = 0
    while (at < common.length && common.charCodeAt(at) === text.charCodeAt(at)) at++
    common = common.slice(0, at)
  }
  return common.isWellFormed() ? common : common.slice(0, -1)
}
