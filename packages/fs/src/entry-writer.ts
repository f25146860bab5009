import fs from 'node:fs'
import path from 'node:path'
import { CacheError, isStreamed, type CacheEntry, type EpochMs, type PutOptions, type TenantScope, type ValidKey } from '@thermocline/backend'
import { WholeBody, type Body, type FinishFile } from './body.js'
import { Directories } from './directories.js'
import { sharedDisk } from './disk.js'
import { asFsError, isMissing } from './errors.js'
import { sizeOfFile } from './file-io.js'
import type { NamingFence } from './coordination/file-coordination.js'
import type { CopyMaker } from './journal/pending-copy.js'
import { earlierFile } from './layout.js'
import { Naming } from './naming.js'
import { failureAt } from './reach.js'
import { removeEntry } from './removal.js'
import type { Store } from './store.js'
import { StreamedBody } from './streamed-body.js'

const NO_OPTIONS = {}

/** Writes entries' files: under a temporary name first, then given their own. */
export class EntryWriter {
  readonly #store: Store
  readonly #directories: Directories
  readonly #naming: Naming

  constructor(store: Store) {
    this.#store = store
    this.#directories = new Directories(store)
    this.#naming = new Naming(store, this.#directories)
  }

  /**
   * Writes the entry to `file`; false when it is too large, or when something is there that may not be replaced.
   *
   * @param fence whether the file gets its name is decided there
   * @param copy made of the file while it is written
   */
  async write(file: string, scope: TenantScope, key: ValidKey, entry: CacheEntry, options: PutOptions, fence: NamingFence | undefined, copy?: CopyMaker): Promise<boolean> {
    const body = this.#bodyOf(scope, key, entry, options)
    try {
      return await this.#write(file, earlierFile(this.#store.layout, scope, key), key, body, options, fence, copy)
    } catch (error) {
      throw isStreamed(entry) ? final(asFsError(error, 'put', key)) : error
    } finally {
      body.release()
    }
  }

  async #write(file: string, earlier: string | undefined, key: ValidKey, body: Body, options: PutOptions, fence: NamingFence | undefined, copy: CopyMaker | undefined): Promise<boolean> {
    const { fsync, maxFileBytes, recency, space, temporaries } = this.#store
    if (body.bytes > maxFileBytes) return false
    if (options.onlyIfAbsent && (await this.#isPresent(file, earlier, options))) {
      await fence?.kept()
      return false
    }
    await this.#directories.prepare()
    if (!(await this.#reserve(body))) return false
    const stamp = recency.stamp()
    const temporary = temporaries.next()
    let stored = false
    try {
      const oldBytes = space === undefined ? 0 : sizeOfFile(file)
      const outcome = await this.#writeTemporary(temporary, body, copy, async (fd) => {
        await oldBytes // a busy machine might look only when the new file has its name already
        return this.#finish(temporary, file, key, fd, stamp, options, fence, copy, body)
      })
      const replaced = await oldBytes
      if (outcome !== true) await fs.promises.unlink(temporary).catch(() => undefined)
      stored = outcome === true
      if (stored) body.landed(path.dirname(file), replaced)
      else body.dropped()
    } catch (error) {
      await fs.promises.unlink(temporary).catch(() => undefined)
      body.dropped()
      throw asFsError(error, 'put', key)
    }
    if (!stored) return false
    recency.forget(file)
    this.#store.hosts.forget(file)
    if (earlier !== undefined) await removeEntry(this.#store, earlier, 'put', key)
    if (fsync) await this.#settle(file, key, copy)
    return true
  }

  #bodyOf(scope: TenantScope, key: ValidKey, entry: CacheEntry, options: PutOptions): Body {
    const { space, maxFileBytes, descriptors, modes } = this.#store
    if (!isStreamed(entry)) return new WholeBody({ modes, close: descriptors.close }, space, scope, key, entry, options)
    return new StreamedBody({ maxFileBytes, room: space?.growingRoom(), modes, close: descriptors.close }, scope, key, entry, options)
  }

  async #reserve(body: Body): Promise<boolean> {
    try {
      return await body.reserve()
    } catch (error) {
      throw asFsError(error, 'put', undefined, true)
    }
  }

  async #isPresent(file: string, earlier: string | undefined, options: PutOptions): Promise<boolean> {
    const { turns } = sharedDisk()
    if (!turns.tryTake()) await turns.wait(options)
    try {
      return (await this.#naming.isPresent(file)) || (earlier !== undefined && (await this.#naming.isPresent(earlier)))
    } finally {
      turns.done()
    }
  }

  async #writeTemporary(temporary: string, body: Body, copy: CopyMaker | undefined, finish: FinishFile): Promise<boolean | undefined> {
    const opened = copy && ((): void => copy.begin(temporary))
    try {
      return await body.writeTo(temporary, opened, finish)
    } catch (error) {
      if (!isMissing(error)) throw asFsError(error, 'put', undefined, true)
      await this.#directories.prepareAgain()
      return body.writeTo(temporary, opened, finish)
    }
  }

  async #finish(temporary: string, file: string, key: ValidKey, fd: number, stamp: EpochMs, options: PutOptions, fence: NamingFence | undefined, copy: CopyMaker | undefined, { payloadBytes }: Body): Promise<boolean> {
    try {
      await copy?.complete(temporary, payloadBytes)
    } catch (error) {
      throw asFsError(error, 'put', undefined, true)
    }
    try {
      const name = (from: string): Promise<boolean> => this.#naming.finish(from, file, fd, stamp, options)
      return await (fence === undefined ? name(temporary) : fence.around(temporary, name))
    } catch (error) {
      throw await failureAt(this.#store.layout, error, 'put', key)
    }
  }

  async #settle(file: string, key: ValidKey, copy: CopyMaker | undefined): Promise<void> {
    try {
      await sharedDisk().turns.during(NO_OPTIONS, () => Promise.all([this.#naming.settle(file), copy?.settle()]))
    } catch (error) {
      throw asFsError(error, 'put', key)
    }
  }
}

/** A stream is read once, so nobody is to try again with it. */
function final(error: CacheError): CacheError {
  if (!error.retryable) return error
  const { code, operation, backend, key, concerns, cause } = error
  return new CacheError(code, error.message, { operation, backend, key, concerns, cause })
}
