import fs from 'node:fs'
import path from 'node:path'
import { asFsError, codeOf, isMissing } from './errors.js'
import { fsyncDirectory } from './file-io.js'
import { makeDirectory } from './make-directory.js'
import type { Store } from './store.js'

const MARKER_TEXT = 'This directory belongs to a Thermocline cache (https://www.npmjs.com/package/@thermocline/fs). Its contents may be deleted at any time.\nlayout 1\n'

/** Makes the directories that a write needs, also when somebody removes them meanwhile. */
export class Directories {
  readonly #store: Store
  #prepared: Promise<void> | undefined

  constructor(store: Store) {
    this.#store = store
  }

  /** Makes the common directories and the marker, once. A failure is tried again with the next write. */
  prepare(): Promise<void> {
    this.#prepared ??= this.#makeCommon().catch((error: unknown) => {
      this.#prepared = undefined
      throw asFsError(error, 'put', undefined, true)
    })
    return this.#prepared
  }

  /** Somebody removed the directories. */
  prepareAgain(): Promise<void> {
    this.#prepared = undefined
    return this.prepare()
  }

  /** Runs a step that needs the tenant's directory, the one `file` is in, making it when it is missing. */
  async during(file: string, step: () => Promise<boolean>): Promise<boolean> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await step()
      } catch (error) {
        if (!isMissing(error) || attempt === 3) throw error
        const directory = path.dirname(file)
        const made = await this.#make(directory).catch((denied: unknown) => {
          throw asFsError(denied, 'put', undefined, true)
        })
        if (made) await this.#store.space?.directoryMade(directory)
      }
    }
  }

  async #makeCommon(): Promise<void> {
    const { tmp, tenants, marker } = this.#store.layout
    for (const directory of [tmp, tenants]) await this.#make(directory)
    await fs.promises.writeFile(marker, MARKER_TEXT, { flag: 'wx' }).catch((error: unknown) => {
      if (codeOf(error) !== 'EEXIST') throw error
    })
    this.#store.descriptors.look()
  }

  /** Whether it was this process that made it: of several at once only one is told so. */
  async #make(directory: string): Promise<boolean> {
    const made = await makeDirectory(directory)
    if (this.#store.fsync) for (const each of made) await fsyncDirectory(path.dirname(each))
    return made.includes(directory)
  }
}
