import fs from 'node:fs'
import path from 'node:path'
import { withFiles } from './disk.js'
import { asFsError, codeOf, isMissing, isNotAFile } from './errors.js'
import { fsyncDirectory } from './file-io.js'
import { makeDirectory } from './make-directory.js'
import type { Store } from './store.js'
import { adjustMode } from './tighten.js'

const MARKER_TEXT = 'This directory belongs to a Thermocline cache (https://www.npmjs.com/package/@thermocline/fs). Its contents may be deleted at any time.\nlayout 1\n'

/** Tenants' directories of which is remembered that their modes were looked at. */
const MOST_LOOKED = 10_000

/** Others may remove a directory each time before the file is in it: as soon as it is empty. More often means that something else is missing. */
const MOST_ATTEMPTS = 10

/** Makes the directories that a write needs, also when somebody removes them meanwhile. */
export class Directories {
  readonly #store: Store
  #prepared: Promise<void> | undefined
  readonly #looked = new Set<string>()

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
    await this.#adjust(path.dirname(file))
    for (let attempt = 1; ; attempt++) {
      try {
        return await step()
      } catch (error) {
        if (!isMissing(error) || attempt === MOST_ATTEMPTS) throw error
        const directory = path.dirname(file)
        const made = await this.#make(directory).catch((failure: unknown) => {
          // a link to nowhere, or another thing in the tenant's place, is no matter of other tenants
          throw asFsError(failure, 'put', undefined, !isMissing(failure) && !isNotAFile(failure))
        })
        if (made) await this.#store.space?.directoryMade(directory)
      }
    }
  }

  /** Looks once at the mode of each tenant's directory. */
  async #adjust(directory: string): Promise<void> {
    if (this.#looked.has(directory)) return
    if (this.#looked.size >= MOST_LOOKED) this.#looked.clear()
    this.#looked.add(directory)
    await adjustMode(this.#store, directory)
  }

  async #makeCommon(): Promise<void> {
    const { layout, modes } = this.#store
    const { root, tmp, tenants, marker } = layout
    for (const directory of [tmp, tenants]) await this.#make(directory)
    await Promise.all([root, tmp, tenants, layout.usage, layout.records, layout.journal].map((directory) => adjustMode(this.#store, directory)))
    try {
      await withFiles({}, () => fs.promises.writeFile(marker, MARKER_TEXT, { flag: 'wx', mode: modes.file }))
      await modes.settleFile(marker)
    } catch (error) {
      if (codeOf(error) !== 'EEXIST') throw error
    }
    this.#store.descriptors.look()
  }

  /** Whether it was this process that made it: of several at once only one is told so. */
  async #make(directory: string): Promise<boolean> {
    const { layout, modes } = this.#store
    const made = await makeDirectory(directory, { root: layout.root, modes })
    if (this.#store.fsync) for (const each of made) await fsyncDirectory(path.dirname(each))
    return made.includes(directory)
  }
}
