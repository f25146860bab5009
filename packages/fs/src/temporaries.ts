import { randomBytes } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import { isMissing } from './errors.js'
import { namesIfThere, rename, unlinkIfThere } from './file-io.js'
import { isOfferedName, isTemporaryName, offeredName, temporaryName, type Layout } from './layout.js'

/** The files that are being written, before they get an entry's name. */
export class Temporaries {
  readonly #layout: Layout
  readonly #process = randomBytes(6)
  #count = 0

  constructor(layout: Layout) {
    this.#layout = layout
  }

  /** The path of a new one. */
  next(): string {
    return path.join(this.#layout.tmp, temporaryName(this.#process, ++this.#count))
  }

  /** From now on other processes know by its name that it may get an entry's. @param log in which that is asked for @returns the path that it has now */
  async offer(temporary: string, log: string): Promise<string> {
    const offered = offeredName(temporary, log)
    await rename(temporary, offered)
    return offered
  }

  /** Whether somebody has removed it. */
  isRemoved(name: string): Promise<boolean> {
    return fs.promises.lstat(path.join(this.#layout.tmp, name)).then(() => false, isMissing)
  }

  /** So these never get their entries' names. @throws the file system's error */
  async remove(names: Iterable<string>): Promise<void> {
    for (const name of names) {
      if (isTemporaryName(name)) await unlinkIfThere(path.join(this.#layout.tmp, name))
    }
  }

  /** Whatever was allowed before this call in another log than that one, no file gets its entry's name by it any more. @throws the file system's error */
  async removeOffered(log: string): Promise<void> {
    const names = await namesIfThere(this.#layout.tmp)
    await this.remove(names.filter((name) => isOfferedName(name, log)))
  }
}
