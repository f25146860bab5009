import { CacheError, entryOfFrame, StreamedEntry, type CacheEntry, type ReadOptions, type TenantScope, type ValidKey } from '@thermocline/core'
import { readEntryFile, type FileReading } from './entry-file.js'
import { isDamaged, openEntryStream, type StreamReading } from './entry-stream.js'
import { asFsError } from './errors.js'
import { removeEntry } from './removal.js'
import type { Store } from './store.js'

const OF_ANOTHER = { status: 'foreign', reason: 'it belongs to another tenant or key' } as const

/** Reads entries' files, whole or as streams, and sees to what is in their place without being one. */
export class EntryReader {
  readonly #store: Store

  constructor(store: Store) {
    this.#store = store
  }

  // not `async`: a second promise for every read
  read(file: string, scope: TenantScope, key: ValidKey, options: ReadOptions): Promise<CacheEntry | undefined> {
    return options.want === 'stream' ? this.#open(file, scope, key, options) : this.#readWhole(file, scope, key, options)
  }

  async #readWhole(file: string, scope: TenantScope, key: ValidKey, options: ReadOptions): Promise<CacheEntry | undefined> {
    let reading: FileReading
    try {
      reading = await readEntryFile(file, options.want === 'head' ? 'head' : 'payload', options, this.#store.descriptors.close)
    } catch (error) {
      throw asFsError(error, 'get', key)
    }
    if (reading.status === 'missing') return undefined
    if (reading.status !== 'ok') return this.#treatAsMiss(file, scope, key, reading)
    const { header, payload } = reading
    if (header.tenant !== scope.tenant || header.key !== key) return this.#treatAsMiss(file, scope, key, OF_ANOTHER)
    if (options.touch && this.#store.space !== undefined) this.#store.recency.used(file)
    return entryOfFrame(header, payload)
  }

  async #open(file: string, scope: TenantScope, key: ValidKey, options: ReadOptions): Promise<StreamedEntry | undefined> {
    let reading: StreamReading
    try {
      reading = await openEntryStream(file, this.#store.descriptors.close, (error) => this.#dropDamaged(file, key, error))
    } catch (error) {
      throw asFsError(error, 'get', key)
    }
    if (reading.status === 'missing') return undefined
    if (reading.status !== 'ok') return this.#treatAsMiss(file, scope, key, reading)
    const { header, payload } = reading
    if (header.tenant !== scope.tenant || header.key !== key) {
      payload.cancel()
      return this.#treatAsMiss(file, scope, key, OF_ANOTHER)
    }
    if (options.touch && this.#store.space !== undefined) this.#store.recency.used(file)
    return new StreamedEntry(payload, header)
  }

  /** Reports what cannot be served; our own damaged file goes, everything else stays. */
  async #treatAsMiss(file: string, scope: TenantScope, key: ValidKey, reading: { status: 'foreign' | 'corrupt'; reason: string }): Promise<undefined> {
    const left = reading.status === 'foreign' ? 'it was left in place' : 'it was removed'
    const error = new CacheError(reading.status, `an entry's file is a miss because ${reading.reason}; ${left}: ${file}`, { operation: 'get', backend: 'fs', tenant: scope.tenant, key })
    if (reading.status === 'corrupt') await this.#dropDamaged(file, key, error)
    else this.#store.hosts.report(error)
    return undefined
  }

  /** Looks once more before removing: a good file may have been written over the damaged one meanwhile. */
  async #dropDamaged(file: string, key: ValidKey, error: CacheError): Promise<void> {
    const { descriptors, hosts } = this.#store
    try {
      if (await isDamaged(file, descriptors.close)) await removeEntry(this.#store, file, 'get', key)
    } catch {
      // it stays a miss, and the next reader tries again
    }
    hosts.report(error)
  }
}
