import path from 'node:path'
import {
  CacheError,
  entryOfFrame,
  getEach,
  ScopeSlot,
  StreamedEntry,
  type Awaitable,
  type BackendCapabilities,
  type BackendHost,
  type BackendStats,
  type CacheBackend,
  type CacheEntry,
  type Detach,
  type FrameHeader,
  type OperationOptions,
  type PutOptions,
  type ReadOptions,
  type RecordKeeper,
  type RecordLog,
  type StoredEntryInfo,
  type TenantScope,
  type ValidKey,
} from '@thermocline/core'
import { readEntryFile, type FileReading } from './entry-file.js'
import { isDamaged, openEntryStream, type StreamReading } from './entry-stream.js'
import { EntryWriter } from './entry-writer.js'
import { asFsError } from './errors.js'
import { fileName, isEntryName, keyOfName, tenantDirectory } from './layout.js'
import { checkOptions, type CheckedOptions, type FileSystemBackendOptions } from './options.js'
import { FileRecordLog } from './record-log.js'
import { removeEntry, removeIfEmpty, settleRemovals } from './removal.js'
import { namesIn, statAll } from './scan.js'
import { openStore, type Store } from './store.js'
import { Sweeper } from './sweeper.js'

const REMOVALS_AT_ONCE = 16
const OF_ANOTHER = { status: 'foreign', reason: 'it belongs to another tenant or key' } as const

/**
 * The warm tier on local disk: one file per entry, whole or not there at all.
 *
 * A file is written under a temporary name and renamed, so neither a crash nor another process ever shows part of one.
 * Nothing is unlinked that does not carry the frame's magic. Several processes may share the directory.
 */
export class FileSystemBackend implements CacheBackend, RecordKeeper {
  readonly name = 'fs'
  readonly capabilities: BackendCapabilities
  readonly #options: CheckedOptions
  readonly #store: Store
  readonly #writer: EntryWriter
  readonly #sweeper: Sweeper
  readonly #directories = new ScopeSlot<string>()

  /** Touches nothing on the disk. @throws TypeError for invalid options */
  constructor(options: FileSystemBackendOptions) {
    this.#options = checkOptions(options)
    this.#store = openStore(this.#options)
    this.#writer = new EntryWriter(this.#store)
    this.#sweeper = new Sweeper(this.#store, this.#options.cleanupIntervalMs)
    const { maxFileBytes } = this.#store
    this.capabilities = {
      synchronous: false,
      shared: true,
      durable: true,
      streams: true,
      nativeExpiry: false,
      keeps: 'bytes',
      ...(Number.isFinite(maxFileBytes) ? { maxPayloadBytes: maxFileBytes } : {}),
    }
  }

  attach(host: BackendHost): Detach {
    this.#store.hosts.attach(host)
    this.#store.descriptors.look()
    this.#sweeper.start()
    return () => this.#store.hosts.detach(host)
  }

  openRecordLog(): RecordLog {
    return new FileRecordLog(this.#store.layout.records)
  }

  get(scope: TenantScope, key: ValidKey, options: ReadOptions): Promise<CacheEntry | undefined> {
    return options.want === 'stream' ? this.#open(scope, key, options) : this.#read(scope, key, options)
  }

  async #read(scope: TenantScope, key: ValidKey, options: ReadOptions): Promise<CacheEntry | undefined> {
    const file = this.#pathOf(scope, key)
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

  async #open(scope: TenantScope, key: ValidKey, options: ReadOptions): Promise<StreamedEntry | undefined> {
    const file = this.#pathOf(scope, key)
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

  getMany(scope: TenantScope, keys: readonly ValidKey[], options: ReadOptions): Awaitable<readonly (CacheEntry | undefined)[]> {
    return getEach(this, scope, keys, options)
  }

  // not `async`: a second promise for every write
  put(scope: TenantScope, key: ValidKey, entry: CacheEntry, options: PutOptions): Promise<boolean> {
    return this.#writer.write(this.#pathOf(scope, key), scope, key, entry, options)
  }

  async delete(scope: TenantScope, keys: readonly ValidKey[], options: OperationOptions): Promise<number> {
    const { hosts } = this.#store
    let deleted = 0
    for (const key of keys) {
      const header = (await removeEntry(this.#store, this.#pathOf(scope, key), 'delete', key))?.header
      if (header?.key === key && header.tenant === scope.tenant && header.keepUntil > hosts.clock.now()) deleted++
      options.progress?.()
    }
    await settleRemovals(this.#store, this.#directoryOf(scope), 'delete')
    return deleted
  }

  async clear(scope: TenantScope, prefix: string, options: OperationOptions): Promise<number> {
    const directory = this.#directoryOf(scope)
    const now = this.#store.hosts.clock.now()
    let cleared = 0
    const clearOne = async (name: string): Promise<void> => {
      const known = keyOfName(name)
      if (known !== undefined && !known.startsWith(prefix)) return
      const matches = (header: FrameHeader | undefined): boolean => known !== undefined || header === undefined || header.key.startsWith(prefix)
      const removed = await removeEntry(this.#store, path.join(directory, name), 'clear', known, matches)
      if (removed !== undefined && (removed.header?.keepUntil ?? 0) > now) cleared++
      options.progress?.()
    }
    const names = (await this.#names(directory, 'clear')).filter(isEntryName)
    while (names.length > 0) await Promise.all(names.splice(0, REMOVALS_AT_ONCE).map(clearOne))
    await settleRemovals(this.#store, directory, 'clear')
    await removeIfEmpty(this.#store, directory)
    return cleared
  }

  async *list(scope: TenantScope, prefix: string, options: OperationOptions): AsyncIterable<StoredEntryInfo> {
    const directory = this.#directoryOf(scope)
    const names = (await this.#names(directory, 'list')).filter((name) => {
      const known = isEntryName(name) ? keyOfName(name) : ''
      return known === undefined || (known !== '' && known.startsWith(prefix))
    })
    try {
      for await (const file of statAll(directory, names)) {
        options.progress?.()
        if (!file.isFile) continue
        const known = keyOfName(path.basename(file.path))
        const { keepUntil } = file.times
        if (known !== undefined && keepUntil !== undefined) {
          yield { key: known, size: file.bytes, expiresAt: keepUntil }
          continue
        }
        const reading = await readEntryFile(file.path, 'head', options)
        if (reading.status === 'ok' && reading.header.key.startsWith(prefix)) {
          yield { key: reading.header.key, size: file.bytes, expiresAt: reading.header.keepUntil }
        }
      }
    } catch (error) {
      throw asFsError(error, 'list', undefined)
    }
  }

  stats(scope?: TenantScope): BackendStats {
    const { space } = this.#store
    if (scope !== undefined || space === undefined) return {}
    return { maxBytes: this.#options.maxBytes, bytes: space.occupied }
  }

  /** Writes what is pending, once no manager uses the backend any more. */
  async [Symbol.asyncDispose](): Promise<void> {
    const { hosts, recency, space } = this.#store
    if (!hosts.isEmpty) return
    await this.#sweeper.stop()
    await recency.flush()
    await space?.close().catch(() => undefined) // the counts are a courtesy to other processes
  }

  #directoryOf(scope: TenantScope): string {
    return this.#directories.get(scope) ?? this.#directories.set(scope, tenantDirectory(this.#store.layout, scope))
  }

  #pathOf(scope: TenantScope, key: ValidKey): string {
    return `${this.#directoryOf(scope)}${path.sep}${fileName(key)}`
  }

  async #names(directory: string, operation: string): Promise<string[]> {
    try {
      return await namesIn(directory)
    } catch (error) {
      throw asFsError(error, operation, undefined)
    }
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
