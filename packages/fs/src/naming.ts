import fs from 'node:fs'
import path from 'node:path'
import { CacheError, freshUntilOf, type EpochMs, type PutOptions } from '@thermocline/backend'
import type { Directories } from './directories.js'
import { accessTimeOf, readEntryFile } from './entry-file.js'
import { asFsError, codeOf, isDenied, NO_HARD_LINKS } from './errors.js'
import { fsyncDirectory, rename, setTimes, syncFile } from './file-io.js'
import type { Store } from './store.js'

/** Gives written files their times and their names, in one step for every reader. */
export class Naming {
  readonly #store: Store
  readonly #directories: Directories

  constructor(store: Store, directories: Directories) {
    this.#store = store
    this.#directories = directories
  }

  /**
   * Whether something is there that only an explicit write may replace: also what a newer release may have written, and what may not be
   * read. Within a turn.
   */
  async isPresent(file: string): Promise<boolean> {
    try {
      const reading = await readEntryFile(file, 'head')
      if (reading.status === 'foreign') return true
      return reading.status === 'ok' && freshUntilOf(reading.header) > this.#store.hosts.clock.now()
    } catch (error) {
      if (isDenied(error)) return true
      throw asFsError(error, 'put', undefined)
    }
  }

  /**
   * Gives the written file its times and its name; false where `onlyIfAbsent` found something. The two at once:
   * every trip to the thread pool counts.
   */
  async finish(temporary: string, file: string, fd: number, stamp: EpochMs, options: PutOptions): Promise<boolean> {
    const times = setTimes(fd, accessTimeOf(options.keepUntil), stamp)
    try {
      if (this.#store.fsync) {
        await times
        await syncFile(fd)
      }
      return await this.#store.paths.naming(file, () => this.#name(temporary, file, options))
    } finally {
      await times
    }
  }

  /** Makes the name that the file has got survive power loss. */
  async settle(file: string): Promise<void> {
    await fsyncDirectory(path.dirname(file))
  }

  /** Gives the temporary file its name: over what is there, or only where nothing is. */
  async #name(temporary: string, file: string, options: PutOptions): Promise<boolean> {
    if (options.onlyIfAbsent) return this.#linkIfAbsent(temporary, file, options)
    return this.#directories.during(file, () => {
      checkIsWanted(options)
      return renamed(temporary, file)
    })
  }

  async #linkIfAbsent(temporary: string, file: string, options: PutOptions): Promise<boolean> {
    const stored = await this.#directories.during(file, async () => {
      checkIsWanted(options)
      try {
        await fs.promises.link(temporary, file)
        return true
      } catch (error) {
        const code = codeOf(error) ?? ''
        // there, of two promotions at the same moment the later one stays
        if (code !== 'EEXIST' && !NO_HARD_LINKS.has(code)) throw error
        if (await this.isPresent(file)) return false
        return renamed(temporary, file) // what is there is over, or damaged
      }
    })
    await fs.promises.unlink(temporary).catch(() => undefined)
    return stored
  }
}

/** Before each attempt: directories may have to be made in between. */
function checkIsWanted({ signal }: PutOptions): void {
  if (signal?.aborted === true) throw new CacheError('timeout', 'put was abandoned before the file got its name', { operation: 'put', backend: 'fs' })
}

async function renamed(from: string, to: string): Promise<true> {
  await rename(from, to)
  return true
}
