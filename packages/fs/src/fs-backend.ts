import path from 'node:path'
import {
  getEach,
  ScopeSlot,
  type Awaitable,
  type BackendCapabilities,
  type BackendHost,
  type BackendStats,
  type CacheBackend,
  type CacheEntry,
  type ClearOptions,
  type Detach,
  type FrameHeader,
  type JournalKeeper,
  type JournalOptions,
  type OperationOptions,
  type PutOptions,
  type ReadOptions,
  type RecordKeeper,
  type RecordLog,
  type StoredEntryInfo,
  type TenantScope,
  type ValidKey,
  type WriteBackJournal,
} from '@thermocline/core'
import { readEntryFile } from './entry-file.js'
import { EntryReader } from './entry-reader.js'
import { EntryWriter } from './entry-writer.js'
import { asFsError } from './errors.js'
import { FileJournal } from './journal/journal.js'
import { checkJournalOptions } from './journal/options.js'
import { pendingCopyOf } from './journal/pending-copy.js'
import { fileName, isEntryName, keyOfName, tenantDirectory } from './layout.js'
import { checkOptions, type CheckedOptions, type FileSystemBackendOptions } from './options.js'
import { FileRecordLog } from './record-log.js'
import { removeEntry, removeIfEmpty, settleRemovals } from './removal.js'
import { namesIn, statAll } from './scan.js'
import { openStore, type Store } from './store.js'
import { Sweeper } from './sweeper.js'

const REMOVALS_AT_ONCE = 16

/**
 * The warm tier on local disk: one file per entry, whole or not there at all.
 *
 * A file is written under a temporary name and renamed, so neither a crash nor another process ever shows part of one.
 * Nothing is unlinked that does not carry the frame's magic. Several processes may share the directory.
 */
export class FileSystemBackend implements CacheBackend, JournalKeeper, RecordKeeper {
  readonly name = 'fs'
  readonly capabilities: BackendCapabilities
  readonly #options: CheckedOptions
  readonly #store: Store
  readonly #reader: EntryReader
  readonly #writer: EntryWriter
  readonly #sweeper: Sweeper
  readonly #directories = new ScopeSlot<string>()

  /** Touches nothing on the disk. @throws TypeError for invalid options */
  constructor(options: FileSystemBackendOptions) {
    this.#options = checkOptions(options)
    this.#store = openStore(this.#options)
    this.#reader = new EntryReader(this.#store)
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
    const detach = this.#store.hosts.attach(host)
    this.#store.descriptors.look()
    this.#sweeper.start()
    return detach
  }

  /** @throws TypeError for invalid options */
  openJournal(options: JournalOptions): WriteBackJournal {
    return new FileJournal(this.#store, checkJournalOptions(options, this.#store.layout.journal))
  }

  openRecordLog(): RecordLog {
    return new FileRecordLog(this.#store.layout.records)
  }

  get(scope: TenantScope, key: ValidKey, options: ReadOptions): Promise<CacheEntry | undefined> {
    return this.#reader.read(this.#pathOf(scope, key), scope, key, options)
  }

  getMany(scope: TenantScope, keys: readonly ValidKey[], options: ReadOptions): Awaitable<readonly (CacheEntry | undefined)[]> {
    return getEach(this, scope, keys, options)
  }

  // not `async`: a second promise for every write
  put(scope: TenantScope, key: ValidKey, entry: CacheEntry, options: PutOptions): Promise<boolean> {
    const file = this.#pathOf(scope, key)
    if (options.journal === undefined) return this.#writer.write(file, scope, key, entry, options)
    const copy = pendingCopyOf(options.journal)
    if (copy === undefined) return Promise.reject(new TypeError('options.journal must be a slot of a journal that this backend opened, the object itself'))
    return copy.make((maker) => this.#writer.write(file, scope, key, entry, options, maker))
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

  async clear(scope: TenantScope, prefix: string, options: ClearOptions): Promise<number> {
    const directory = this.#directoryOf(scope)
    const now = this.#store.hosts.clock.now()
    const goes = (key: string): boolean => key.startsWith(prefix) && options.only?.(key) !== false
    let cleared = 0
    const clearOne = async (name: string): Promise<void> => {
      const known = keyOfName(name)
      if (known !== undefined && !goes(known)) return
      const matches = (header: FrameHeader | undefined): boolean => known !== undefined || header === undefined || goes(header.key)
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
}
