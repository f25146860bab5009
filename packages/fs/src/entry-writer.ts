import { randomBytes } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import { CacheError, encodeFrameHeader, type CacheEntry, type EpochMs, type OperationOptions, type PutOptions, type TenantScope, type ValidKey } from '@thermocline/core'
import { Directories } from './directories.js'
import { accessTimeOf, readEntryFile } from './entry-file.js'
import { asFsError, codeOf, isMissing } from './errors.js'
import { fsyncDirectory, rename, setTimes, sizeOfFile, syncFile, writeNewFile } from './file-io.js'
import { temporaryName } from './layout.js'
import type { Store } from './store.js'

/** What `link` says on FAT and some network mounts. There, of two promotions at the same moment the later one stays. */
const NO_HARD_LINKS: ReadonlySet<string> = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS'])

/** Writes entries' files: under a temporary name first, then given their own. */
export class EntryWriter {
  readonly #store: Store
  readonly #directories: Directories
  readonly #process = randomBytes(6)
  #temporaryFiles = 0

  constructor(store: Store) {
    this.#store = store
    this.#directories = new Directories(store)
  }

  /** Writes the entry to `file`; false when it is too large, or when something is there that may not be replaced. */
  async write(file: string, scope: TenantScope, key: ValidKey, entry: CacheEntry, options: PutOptions): Promise<boolean> {
    const { layout, fsync, maxFileBytes, recency, space } = this.#store
    const header = encodeFrameHeader(scope.tenant, key, entry, options.keepUntil)
    const payload = entry.encoded?.bytes ?? new Uint8Array()
    const bytes = header.byteLength + payload.byteLength
    if (bytes > maxFileBytes) return false
    if (options.onlyIfAbsent && (await this.#isPresent(file))) return false
    await this.#directories.prepare()
    if (!(await this.#reserve(bytes, options))) return false
    const stamp = recency.stamp()
    const temporary = path.join(layout.tmp, temporaryName(this.#process, ++this.#temporaryFiles))
    let stored: boolean
    try {
      const oldBytes = space === undefined ? 0 : sizeOfFile(file)
      const fd = await this.#writeTemporary(temporary, [header, payload], options)
      const replaced = await oldBytes
      stored = await this.#finish(temporary, file, fd, stamp, options)
      if (stored) space?.landed(bytes, path.dirname(file), replaced)
      else space?.dropped(bytes)
    } catch (error) {
      await fs.promises.unlink(temporary).catch(() => undefined)
      space?.dropped(bytes)
      throw asFsError(error, 'put', key)
    }
    if (!stored) return false
    recency.forget(file)
    if (fsync) await this.#settleName(file, key)
    return true
  }

  /** Whether something is there that only an explicit write may replace: also what a newer release may have written. */
  async #isPresent(file: string): Promise<boolean> {
    try {
      const reading = await readEntryFile(file, 'head')
      if (reading.status === 'foreign') return true
      return reading.status === 'ok' && reading.header.keepUntil > this.#store.hosts.clock.now()
    } catch (error) {
      throw asFsError(error, 'put', undefined)
    }
  }

  async #reserve(bytes: number, options: OperationOptions): Promise<boolean> {
    const { space } = this.#store
    try {
      return space === undefined || (await space.reserve(bytes, options))
    } catch (error) {
      throw asFsError(error, 'put', undefined, true)
    }
  }

  async #writeTemporary(temporary: string, parts: readonly Uint8Array[], options: PutOptions): Promise<number> {
    try {
      return await writeNewFile(temporary, parts, options)
    } catch (error) {
      if (!isMissing(error)) throw asFsError(error, 'put', undefined, true)
      await this.#directories.prepareAgain()
      return writeNewFile(temporary, parts, options)
    }
  }

  /** Gives the written file its times and its name, and closes it. The two at once: every trip to the thread pool counts. */
  async #finish(temporary: string, file: string, fd: number, stamp: EpochMs, options: PutOptions): Promise<boolean> {
    const times = setTimes(fd, accessTimeOf(options.keepUntil), stamp)
    try {
      if (this.#store.fsync) {
        await times
        await syncFile(fd)
      }
      return await this.#name(temporary, file, options)
    } finally {
      await times
      this.#store.descriptors.close(fd)
    }
  }

  /** Gives the temporary file its name: over what is there, or only where nothing is. */
  async #name(temporary: string, file: string, options: PutOptions): Promise<boolean> {
    if (options.signal?.aborted === true) throw new CacheError('timeout', 'put was abandoned before the file got its name', { operation: 'put', backend: 'fs' })
    return options.onlyIfAbsent ? this.#linkIfAbsent(temporary, file) : this.#directories.during(file, () => renamed(temporary, file))
  }

  async #linkIfAbsent(temporary: string, file: string): Promise<boolean> {
    const stored = await this.#directories.during(file, async () => {
      try {
        await fs.promises.link(temporary, file)
        return true
      } catch (error) {
        const code = codeOf(error) ?? ''
        if (code !== 'EEXIST' && !NO_HARD_LINKS.has(code)) throw error
        if (await this.#isPresent(file)) return false
        return renamed(temporary, file) // what is there is over, or damaged
      }
    })
    await fs.promises.unlink(temporary).catch(() => undefined)
    return stored
  }

  /** Makes the name that the file has got survive power loss. */
  async #settleName(file: string, key: ValidKey): Promise<void> {
    try {
      await fsyncDirectory(path.dirname(file))
    } catch (error) {
      throw asFsError(error, 'put', key)
    }
  }
}

async function renamed(from: string, to: string): Promise<true> {
  await rename(from, to)
  return true
}
