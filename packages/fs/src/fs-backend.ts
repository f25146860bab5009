import path from 'node:path'
import {
  getEach,
  isCacheError,
  ScopeSlot,
  type Awaitable,
  type BackendCapabilities,
  type BackendHost,
  type BackendStats,
  type CacheBackend,
  type CacheEntry,
  type ClearOptions,
  type Coordination,
  type Coordinator,
  type Detach,
  type FrameHeader,
  type JournalKeeper,
  type JournalOptions,
  type LogMessage,
  type OperationOptions,
  type PutOptions,
  type ReadOptions,
  type RecordKeeper,
  type RecordLog,
  type StoredEntryInfo,
  type TenantScope,
  type ValidKey,
  type WriteBackJournal,
} from '@thermocline/backend'
import { FileCoordination } from './coordination/file-coordination.js'
import { networkFileSystem } from './coordination/network.js'
import { SharedLog } from './coordination/shared-log.js'
import { sharedDisk } from './disk.js'
import { readEntryFile, type FileReading } from './entry-file.js'
import { EntryReader } from './entry-reader.js'
import { EntryWriter } from './entry-writer.js'
import { asFsError, isNoName } from './errors.js'
import { Failures } from './failures.js'
import { FileJournal } from './journal/journal.js'
import { checkJournalOptions } from './journal/options.js'
import { pendingCopyOf } from './journal/pending-copy.js'
import { earlierDirectory, earlierFile, fileName, isEntryName, keyOfName, tenantDirectory } from './layout.js'
import { checkOptions, type CheckedOptions, type FileSystemBackendOptions } from './options.js'
import { failureAt } from './reach.js'
import { FileRecordLog } from './record-log.js'
import { removeEntry, removeIfEmpty, settleRemovals } from './removal.js'
import { namesIn, statAll } from './scan.js'
import { openStore, type Store } from './store.js'
import { Sweeper, type Pruned } from './sweeper.js'

const REMOVALS_AT_ONCE = 16

export interface PruneOptions {
  /** Ends the work. */
  readonly signal?: AbortSignal | undefined
}

/**
 * The warm tier on local disk: one file per entry, whole or not there at all.
 *
 * A file is written under a temporary name and renamed, so neither a crash nor another process ever shows part of one.
 * Nothing is unlinked that does not carry the frame's magic. Several processes may share the directory.
 */
export class FileSystemBackend implements CacheBackend, JournalKeeper, RecordKeeper, Coordinator {
  readonly name = 'fs'
  readonly capabilities: BackendCapabilities
  readonly #options: CheckedOptions
  readonly #store: Store
  readonly #reader: EntryReader
  readonly #writer: EntryWriter
  readonly #sweeper: Sweeper
  readonly #directories = new ScopeSlot<string>()
  #log: SharedLog | undefined
  #coordination: FileCoordination | undefined

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
      shared: 'machine',
      durable: true,
      streams: true,
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

  /**
   * Processes that use the same directory agree over it.
   *
   * @throws TypeError for a directory on a network file system, where what several machines append is not in one order
   */
  openCoordination(): Coordination {
    const network = networkFileSystem(this.#options.basePath)
    if (network !== undefined) throw new TypeError(`processes cannot be coordinated over ${this.#options.basePath}, which is on a network file system (${network}): use coordination: false, or a tier such as Redis`)
    const { layout: { root, agreed: directory }, modes, temporaries, descriptors: { close } } = this.#store
    if (this.#log?.isClosed !== false) this.#log = new SharedLog({ directory, root, modes, temporaries, close, maxBytes: this.#options.maxBytes })
    // each manager has its own
    return (this.#coordination = new FileCoordination(this.#store, this.#log, (scope, key) => this.#pathOf(scope, key)))
  }

  openRecordLog(): RecordLog {
    return new FileRecordLog(this.#store)
  }

  get(scope: TenantScope, key: ValidKey, options: ReadOptions): Promise<CacheEntry | undefined> {
    return this.#store.reads.run(options, () => this.#reader.read(this.#pathOf(scope, key), scope, key, options))
  }

  getMany(scope: TenantScope, keys: readonly ValidKey[], options: ReadOptions): Awaitable<readonly (CacheEntry | undefined)[]> {
    return getEach(this, scope, keys, options)
  }

  // not `async`: a second promise for every write
  put(scope: TenantScope, key: ValidKey, entry: CacheEntry, options: PutOptions): Promise<boolean> {
    const file = this.#pathOf(scope, key)
    const fence = this.#coordination?.fenceOf(scope, key, options)
    if (options.journal === undefined) return this.#store.writes.run(options, () => this.#writer.write(file, scope, key, entry, options, fence))
    const copy = pendingCopyOf(options.journal)
    if (copy === undefined) return Promise.reject(new TypeError('options.journal must be a slot of a journal that this backend opened, the object itself'))
    return copy.make((maker) => this.#store.writes.run(options, () => this.#writer.write(file, scope, key, entry, options, fence, maker)))
  }

  delete(scope: TenantScope, keys: readonly ValidKey[], options: OperationOptions): Promise<number> {
    const [only] = keys
    const { announces } = options
    const remove = (): Promise<number> => this.#delete(scope, keys, options)
    const told = announces === undefined || only === undefined ? undefined : this.#coordination
    return this.#store.writes.run(options, told === undefined ? remove : () => told.removal(scope, only as ValidKey, announces as LogMessage, options, remove))
  }

  async #delete(scope: TenantScope, keys: readonly ValidKey[], options: OperationOptions): Promise<number> {
    const { hosts } = this.#store
    let deleted = 0
    const failures = new Failures()
    for (const key of keys) {
      const earlier = earlierFile(this.#store.layout, scope, key)
      let wasThere = false
      for (const file of earlier === undefined ? [this.#pathOf(scope, key)] : [this.#pathOf(scope, key), earlier]) {
        const header = (await failures.beyondTheKeys(removeEntry(this.#store, file, 'delete', key, { options })))?.header
        wasThere ||= header?.key === key && header.tenant === scope.tenant && header.keepUntil > hosts.clock.now()
      }
      if (wasThere) deleted++
      options.progress?.()
    }
    for (const directory of this.#directoriesOf(scope)) await settleRemovals(this.#store, directory, 'delete')
    failures.throwFirst()
    return deleted
  }

  clear(scope: TenantScope, prefix: string, options: ClearOptions): Promise<number> {
    return this.#store.writes.run(options, () => this.#clear(scope, prefix, options))
  }

  async #clear(scope: TenantScope, prefix: string, options: ClearOptions): Promise<number> {
    let cleared = 0
    const failures = new Failures()
    for (const directory of this.#directoriesOf(scope)) cleared += await this.#clearIn(directory, prefix, options, failures)
    failures.throwFirst()
    return cleared
  }

  async #clearIn(directory: string, prefix: string, options: ClearOptions, failures: Failures): Promise<number> {
    const now = this.#store.hosts.clock.now()
    const goes = (key: string): boolean => key.startsWith(prefix) && options.only?.(key) !== false
    let cleared = 0
    const clearOne = async (name: string): Promise<void> => {
      const known = keyOfName(name)
      if (known !== undefined && !goes(known)) return
      const matches = (header: FrameHeader | undefined): boolean => known !== undefined || header === undefined || goes(header.key)
      const removed = await failures.beyondTheKeys(removeEntry(this.#store, path.join(directory, name), 'clear', known, { onlyIf: matches, options }))
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
    for (const directory of this.#directoriesOf(scope)) yield* this.#listIn(directory, prefix, options)
  }

  async *#listIn(directory: string, prefix: string, options: OperationOptions): AsyncIterable<StoredEntryInfo> {
    const all = await this.#names(directory, 'list')
    const there = new Set(all)
    const { longestName } = this.#store.layout
    const names = all.filter((name) => {
      const known = isEntryName(name) ? keyOfName(name) : ''
      if (known === undefined) return true
      if (known === '' || !known.startsWith(prefix)) return false
      return name.length <= longestName || !there.has(fileName(known, longestName)) // else an earlier release has written it, and a newer one since
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
        const reading = await this.#readHead(file.path, options)
        if (reading?.status === 'ok' && reading.header.key.startsWith(prefix)) {
          yield { key: reading.header.key, size: file.bytes, expiresAt: reading.header.keepUntil }
        }
      }
    } catch (error) {
      throw asFsError(error, 'list', undefined)
    }
  }

  /** A file that cannot be read is no entry; that is reported once. */
  async #readHead(file: string, options: OperationOptions): Promise<FileReading | undefined> {
    try {
      return await sharedDisk().turns.during(options, () => readEntryFile(file, 'head', options), true)
    } catch (thrown) {
      const error = await failureAt(this.#store.layout, thrown, 'list', undefined)
      if (error.concerns === 'tier' || error.retryable || isCacheError(thrown)) throw error
      this.#store.hosts.reportOnce(file, error)
      return undefined
    }
  }

  /**
   * Removes every entry whose life is over now, without waiting for the next clean-up: for a cron job, or before disk space is needed. It may be
   * called with and without a manager.
   *
   * @param options `signal` ends it: it then rejects with the signal's reason, and what was removed is gone
   * @returns how many entries it removed, and the bytes of their files
   * @throws CacheError when the disk fails; a single file that cannot be removed is passed over
   */
  async prune(options: PruneOptions = {}): Promise<Pruned> {
    const { signal } = options
    signal?.throwIfAborted()
    return this.#sweeper.prune(() => signal?.throwIfAborted())
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
    await this.#log?.close()
    await this.#sweeper.stop()
    await recency.flush()
    await space?.close().catch(() => undefined) // the counts are a courtesy to other processes
  }

  #directoryOf(scope: TenantScope): string {
    return this.#directories.get(scope) ?? this.#directories.set(scope, tenantDirectory(this.#store.layout, scope))
  }

  /** Also the one of an earlier release, where that is another. */
  #directoriesOf(scope: TenantScope): readonly string[] {
    const directory = this.#directoryOf(scope)
    const earlier = earlierDirectory(this.#store.layout, scope)
    return earlier === undefined ? [directory] : [directory, earlier]
  }

  #pathOf(scope: TenantScope, key: ValidKey): string {
    return `${this.#directoryOf(scope)}${path.sep}${fileName(key, this.#store.layout.longestName)}`
  }

  async #names(directory: string, operation: string): Promise<string[]> {
    try {
      return await namesIn(directory)
    } catch (error) {
      if (isNoName(error)) return [] // an earlier release cannot have made it there
      throw await failureAt(this.#store.layout, error, operation, undefined)
    }
  }
}
