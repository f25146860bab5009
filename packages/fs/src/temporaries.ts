import { randomBytes } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import { isMissing } from './errors.js'
import { isTemporaryName, temporaryName, type Layout } from './layout.js'

/** The files that are being written, before they get an entry's name. */
export class Temporaries {
  readonly #layout: Layout
  readonly #process = randomBytes(6)
  readonly #own: string
  #count = 0
  /** Own ones that are allowed to get their entry's name, and are about to. */
  readonly #allowed = new Set<string>()

  constructor(layout: Layout) {
    this.#layout = layout
    this.#own = temporaryName(this.#process, 0).slice(0, -1)
  }

  /** The path of a new one. */
  next(): string {
    return path.join(this.#layout.tmp, temporaryName(this.#process, ++this.#count))
  }

  pathOf(name: string): string {
    return path.join(this.#layout.tmp, name)
  }

  /** Runs the step that gives the file its entry's name, by a permission that ends with {@link removeAllowed}. */
  async naming<T>(name: string, step: () => Promise<T>): Promise<T> {
    this.#allowed.add(name)
    try {
      return await step()
    } finally {
      this.#allowed.delete(name)
    }
  }

  /** Whether somebody has removed it. */
  isRemoved(name: string): Promise<boolean> {
    return fs.promises.lstat(this.pathOf(name)).then(() => false, isMissing)
  }

  /** So these never get their entries' names. @throws the file system's error */
  async remove(names: Iterable<string>): Promise<void> {
    for (const name of names) {
      if (!isTemporaryName(name)) continue
      try {
        await fs.promises.unlink(this.pathOf(name))
      } catch (error) {
        if (!isMissing(error)) throw error
      }
    }
  }

  /**
   * Nobody may give a file its name any more by a permission that was granted before this call: removes all files but those of this process that have none.
   *
   * @throws the file system's error
   */
  async removeAllowed(): Promise<void> {
    const names = await fs.promises.readdir(this.#layout.tmp).catch((error: unknown) => {
      if (isMissing(error)) return [] as string[]
      throw error
    })
    await this.remove(names.filter((name) => !name.startsWith(this.#own) || this.#allowed.has(name)))
  }
}
