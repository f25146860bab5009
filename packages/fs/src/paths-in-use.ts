/**
 * Keeps what this process removes by itself, because its life is over or for space, out of the way of what it writes: between the look at a
 * file and its removal a newer one could get the name, and would be gone. Other processes are not kept out; there it is a matter of
 * microseconds, and the loss a miss.
 */
export class PathsInUse {
  readonly #named = new Map<string, number>()
  readonly #removed = new Map<string, Promise<unknown>>()

  /** Runs what gives a file its name, after a removal of that name that is under way. */
  async naming<T>(file: string, work: () => Promise<T>): Promise<T> {
    for (let removal = this.#removed.get(file); removal !== undefined; removal = this.#removed.get(file)) await removal
    this.#named.set(file, (this.#named.get(file) ?? 0) + 1)
    try {
      return await work()
    } finally {
      const others = (this.#named.get(file) ?? 1) - 1
      if (others === 0) this.#named.delete(file)
      else this.#named.set(file, others)
    }
  }

  /**
   * Runs what looks at a file and removes it, after another that does: that may have looked for something else, and have left it. `undefined` where the
   * name is just being given. Must not wait for a turn of the disk.
   */
  async removing<T>(file: string, work: () => Promise<T>): Promise<T | undefined> {
    for (let other = this.#removed.get(file); other !== undefined; other = this.#removed.get(file)) await other
    if (this.#named.has(file)) return undefined
    const removal = work()
    this.#removed.set(file, removal.catch(() => undefined))
    try {
      return await removal
    } finally {
      this.#removed.delete(file)
    }
  }
}
