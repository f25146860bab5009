import { randomBytes } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import {
  CacheError,
  encodeFrameHeader,
  entryOfFrame,
  PROBE_TENANT,
  ScopeSlot,
  systemClock,
  TenantScope,
  validateKey,
  validateTenant,
  type BackendCapabilities,
  type BackendHost,
  type BackendStats,
  type CacheBackend,
  type CacheEntry,
  type Clock,
  type Detach,
  type EvictionReason,
  type FrameHeader,
  type OperationOptions,
  type PutOptions,
  type ReadOptions,
  type RecordKeeper,
  type RecordLog,
  type StoredEntryInfo,
  type ValidKey,
} from '@thermocline/core'
import { fileTimeOf, keepUntilOf, readEntryFile, removeEntryFile, removeLeftover, type FileReading } from './entry-file.js'
import { asFsError, codeOf, isMissing, isNotAFile } from './errors.js'
import { closeFile, fsyncDirectory, writeNewFile } from './file-io.js'
import { fileName, isEntryName, isTemporaryName, keyOfName, layoutOf, temporaryName, tenantDirectory, type Layout } from './layout.js'
import { checkOptions, type CheckedOptions, type FileSystemBackendOptions } from './options.js'
import { Recency } from './recency.js'
import { FileRecordLog } from './record-log.js'
import { namesIn, statAll } from './scan.js'
import { Space } from './space.js'

const FIRST_SWEEP_MS = 10_000
const LEFTOVER_AFTER_MS = 15 * 60_000
const REMOVALS_AT_ONCE = 16
/** What a limit leaves for one entry: directories and bookkeeping take the rest. */
const OVERHEAD_BYTES = 32 * 1024
const MARKER_TEXT = 'This directory belongs to a Thermocline cache (https://www.npmjs.com/package/@thermocline/fs). Its contents may be deleted at any time.\nlayout 1\n'

/** What `link` says on FAT and some network mounts. There, of two promotions at the same moment the later one stays. */
const NO_HARD_LINKS: ReadonlySet<string> = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS'])

let temporaryFiles = 0

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
  readonly #layout: Layout
  readonly #directories = new ScopeSlot<string>()
  readonly #hosts = new Set<BackendHost>()
  readonly #recency: Recency
  readonly #space: Space | undefined
  readonly #process = randomBytes(6)
  #clock: Clock = systemClock
  #cancelSweep: (() => void) | undefined
  #sweeping: Promise<void> = Promise.resolve()
  #prepared: Promise<void> | undefined

  /** Touches nothing on the disk. @throws TypeError for invalid options */
  constructor(options: FileSystemBackendOptions) {
    this.#options = checkOptions(options)
    this.#layout = layoutOf(this.#options.basePath)
    this.#recency = new Recency(() => this.#clock)
    const { maxBytes } = this.#options
    if (Number.isFinite(maxBytes)) {
      this.#space = new Space({
        layout: this.#layout,
        maxBytes,
        clock: () => this.#clock,
        recency: this.#recency,
        evicted: (header, reason) => this.#evicted(header, reason),
      })
    }
    this.capabilities = {
      synchronous: false,
      shared: true,
      durable: true,
      streams: false,
      nativeExpiry: false,
      keeps: 'bytes',
      ...(Number.isFinite(maxBytes) ? { maxPayloadBytes: maxBytes - OVERHEAD_BYTES } : {}),
    }
  }

  attach(host: BackendHost): Detach {
    if (this.#hosts.size === 0) this.#clock = host.clock
    this.#hosts.add(host)
    this.#scheduleSweep(Math.min(FIRST_SWEEP_MS, this.#options.cleanupIntervalMs))
    return () => {
      this.#hosts.delete(host)
    }
  }

  openRecordLog(): RecordLog {
    return new FileRecordLog(this.#layout.records)
  }

  async get(scope: TenantScope, key: ValidKey, options: ReadOptions): Promise<CacheEntry | undefined> {
    const file = this.#pathOf(scope, key)
    let reading: FileReading
    try {
      reading = await readEntryFile(file, options.want, options)
    } catch (error) {
      throw asFsError(error, 'get', key)
    }
    if (reading.status === 'missing') return undefined
    if (reading.status !== 'ok') return this.#treatAsMiss(file, scope, key, reading)
    const { header, payload } = reading
    if (header.tenant !== scope.tenant || header.key !== key) {
      return this.#treatAsMiss(file, scope, key, { status: 'foreign', reason: 'it belongs to another tenant or key' })
    }
    if (options.touch && this.#space !== undefined) this.#recency.used(file)
    return entryOfFrame(header, payload)
  }

  async put(scope: TenantScope, key: ValidKey, entry: CacheEntry, options: PutOptions): Promise<boolean> {
    const header = encodeFrameHeader(scope.tenant, key, entry, options.keepUntil)
    const payload = entry.encoded?.bytes ?? new Uint8Array()
    const bytes = header.byteLength + payload.byteLength
    if (bytes > this.#options.maxBytes - OVERHEAD_BYTES) return false
    const file = this.#pathOf(scope, key)
    if (options.onlyIfAbsent && (await this.#isPresent(file))) return false
    await this.#prepare()
    if (!(await this.#reserve(bytes, options))) return false
    const stamp = this.#recency.stamp()
    const temporary = path.join(this.#layout.tmp, temporaryName(this.#process, ++temporaryFiles))
    let stored: boolean
    try {
      const oldBytes = this.#space === undefined ? 0 : fs.promises.stat(file).then((stats) => stats.size, () => 0)
      const fd = await this.#writeTemporary(temporary, [header, payload], stamp, options)
      const replaced = await oldBytes
      stored = await this.#name(temporary, file, fd, options)
      if (stored) this.#space?.landed(bytes, path.dirname(file), replaced)
      else this.#space?.dropped(bytes)
    } catch (error) {
      await fs.promises.unlink(temporary).catch(() => undefined)
      this.#space?.dropped(bytes)
      throw asFsError(error, 'put', key)
    }
    if (stored) await this.#filed(file, key)
    return stored
  }

  async delete(scope: TenantScope, keys: readonly ValidKey[], options: OperationOptions): Promise<number> {
    let deleted = 0
    for (const key of keys) {
      const header = (await this.#remove(this.#pathOf(scope, key), 'delete', key))?.header
      if (header?.key === key && header.tenant === scope.tenant && header.keepUntil > this.#clock.now()) deleted++
      options.progress?.()
    }
    await this.#settleRemovals(this.#directoryOf(scope), 'delete')
    return deleted
  }

  async clear(scope: TenantScope, prefix: string, options: OperationOptions): Promise<number> {
    const directory = this.#directoryOf(scope)
    const now = this.#clock.now()
    let cleared = 0
    const clearOne = async (name: string): Promise<void> => {
      const known = keyOfName(name)
      if (known !== undefined && !known.startsWith(prefix)) return
      const matches = (header: FrameHeader | undefined): boolean => known !== undefined || header === undefined || header.key.startsWith(prefix)
      const removed = await this.#remove(path.join(directory, name), 'clear', known, matches)
      if (removed !== undefined && (removed.header?.keepUntil ?? 0) > now) cleared++
      options.progress?.()
    }
    const names = (await this.#names(directory, 'clear')).filter(isEntryName)
    while (names.length > 0) await Promise.all(names.splice(0, REMOVALS_AT_ONCE).map(clearOne))
    await this.#settleRemovals(directory, 'clear')
    await this.#removeIfEmpty(directory)
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
        if (known !== undefined) {
          yield { key: known, size: file.bytes, expiresAt: keepUntilOf(file.mtimeMs) }
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
    const { maxBytes } = this.#options
    if (scope !== undefined || this.#space === undefined) return {}
    return { maxBytes, bytes: this.#space.occupied }
  }

  /** Writes what is pending, once no manager uses the backend any more. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#hosts.size > 0) return
    this.#cancelSweep?.()
    this.#cancelSweep = undefined
    await this.#sweeping
    await this.#recency.flush()
    await this.#space?.close().catch(() => undefined) // the counts are a courtesy to other processes
  }

  #directoryOf(scope: TenantScope): string {
    return this.#directories.get(scope) ?? this.#directories.set(scope, tenantDirectory(this.#layout, scope))
  }

  #pathOf(scope: TenantScope, key: ValidKey): string {
    return `${this.#directoryOf(scope)}${path.sep}${fileName(key)}`
  }

  /** Makes the directories and the marker, once. A failure is tried again with the next write. */
  #prepare(): Promise<void> {
    this.#prepared ??= this.#makeDirectories().catch((error: unknown) => {
      this.#prepared = undefined
      throw asFsError(error, 'put', undefined, true)
    })
    return this.#prepared
  }

  async #makeDirectories(): Promise<void> {
    const { tmp, tenants, marker } = this.#layout
    for (const directory of [tmp, tenants]) await this.#makeDirectory(directory)
    await fs.promises.writeFile(marker, MARKER_TEXT, { flag: 'wx' }).catch((error: unknown) => {
      if (codeOf(error) !== 'EEXIST') throw error
    })
  }

  /** Whether it was this process that made it: of several at once only one is told so. */
  async #makeDirectory(directory: string): Promise<boolean> {
    const first = await fs.promises.mkdir(directory, { recursive: true })
    if (first === undefined) return false
    if (this.#options.fsync) for (let made = directory; made.length >= first.length; made = path.dirname(made)) await fsyncDirectory(path.dirname(made))
    return true
  }

  async #reserve(bytes: number, options: OperationOptions): Promise<boolean> {
    try {
      return this.#space === undefined || (await this.#space.reserve(bytes, options))
    } catch (error) {
      throw asFsError(error, 'put', undefined, true)
    }
  }

  async #writeTemporary(temporary: string, parts: readonly Uint8Array[], stamp: number, options: PutOptions): Promise<number> {
    const file = { path: temporary, parts, accessedAt: stamp / 1000, modifiedAt: fileTimeOf(options.keepUntil), fsync: this.#options.fsync }
    try {
      return await writeNewFile(file, options)
    } catch (error) {
      if (!isMissing(error)) throw asFsError(error, 'put', undefined, true)
      this.#prepared = undefined // somebody removed the directories
      await this.#prepare()
      return writeNewFile(file, options)
    }
  }

  /** Gives the temporary file its name: over what is there, or only where nothing is. */
  async #name(temporary: string, file: string, fd: number, options: PutOptions): Promise<boolean> {
    try {
      if (options.signal?.aborted === true) throw new CacheError('timeout', 'put was abandoned before the file got its name', { operation: 'put', backend: 'fs' })
      return options.onlyIfAbsent ? await this.#linkIfAbsent(temporary, file) : await this.#inDirectory(file, () => rename(temporary, file))
    } finally {
      closeFile(fd)
    }
  }

  /** A file has got its name. */
  async #filed(file: string, key: ValidKey): Promise<void> {
    this.#recency.forget(file)
    if (!this.#options.fsync) return
    try {
      await fsyncDirectory(path.dirname(file))
    } catch (error) {
      throw asFsError(error, 'put', key)
    }
  }

  async #linkIfAbsent(temporary: string, file: string): Promise<boolean> {
    const stored = await this.#inDirectory(file, async () => {
      try {
        await fs.promises.link(temporary, file)
        return true
      } catch (error) {
        const code = codeOf(error) ?? ''
        if (code !== 'EEXIST' && !NO_HARD_LINKS.has(code)) throw error
        if (await this.#isPresent(file)) return false
        return rename(temporary, file) // what is there is over, or damaged
      }
    })
    await fs.promises.unlink(temporary).catch(() => undefined)
    return stored
  }

  /** Runs a step that needs the tenant's directory, making it when it is missing. */
  async #inDirectory(file: string, step: () => Promise<boolean>): Promise<boolean> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await step()
      } catch (error) {
        if (!isMissing(error) || attempt === 3) throw error
        const directory = path.dirname(file)
        const made = await this.#makeDirectory(directory).catch((denied: unknown) => {
          throw asFsError(denied, 'put', undefined, true)
        })
        if (made) await this.#space?.directoryMade(directory)
      }
    }
  }

  /** Whether something is there that only an explicit write may replace: also what a newer release may have written. */
  async #isPresent(file: string): Promise<boolean> {
    try {
      const reading = await readEntryFile(file, 'head')
      if (reading.status === 'foreign') return true
      return reading.status === 'ok' && reading.header.keepUntil > this.#clock.now()
    } catch (error) {
      throw asFsError(error, 'put', undefined)
    }
  }

  async #remove(file: string, operation: string, key: string | undefined, onlyIf?: (header: FrameHeader | undefined) => boolean): Promise<{ header: FrameHeader | undefined } | undefined> {
    try {
      const removed = await removeEntryFile(file, onlyIf)
      if (removed === undefined) return undefined
      this.#space?.removed(removed.bytes)
      this.#recency.forget(file)
      return removed
    } catch (error) {
      throw asFsError(error, operation, key)
    }
  }

  /** What was deleted must not be back after power loss either. */
  async #settleRemovals(directory: string, operation: string): Promise<void> {
    if (!this.#options.fsync) return
    try {
      await fsyncDirectory(directory)
    } catch (error) {
      if (!isMissing(error) && !isNotAFile(error)) throw asFsError(error, operation, undefined)
    }
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
    if (reading.status === 'corrupt') await this.#removeDamaged(file, key).catch(() => undefined)
    for (const host of this.#hosts) host.report(error)
    return undefined
  }

  /** Looks once more before removing: a good file may have been written over the damaged one meanwhile. */
  async #removeDamaged(file: string, key: ValidKey): Promise<void> {
    if ((await readEntryFile(file, 'payload')).status === 'corrupt') await this.#remove(file, 'get', key)
  }

  #evicted(header: FrameHeader, reason: EvictionReason): void {
    if (header.tenant === PROBE_TENANT) return
    const scope = new TenantScope(validateTenant(header.tenant))
    for (const host of this.#hosts) host.evicted(scope, validateKey(header.key), undefined, reason)
  }

  #scheduleSweep(waitMs: number): void {
    this.#cancelSweep ??= this.#clock.schedule(
      waitMs,
      () => {
        this.#sweeping = this.#sweep()
          .catch((error: unknown) => {
            for (const host of this.#hosts) host.report(asFsError(error, 'sweep', undefined))
          })
          .then(() => {
            this.#cancelSweep = undefined
            if (this.#hosts.size > 0) this.#scheduleSweep(this.#options.cleanupIntervalMs)
          })
      },
      { background: true },
    )
  }

  /** Removes expired entries and leftovers of crashed writes, and brings the count of bytes up to date. */
  async #sweep(): Promise<void> {
    await this.#removeLeftovers()
    // closing waits for the sweep: it ends at the next step once nobody uses the backend
    for (const tenant of await namesIn(this.#layout.tenants)) await this.#removeExpired(path.join(this.#layout.tenants, tenant))
    if (this.#hosts.size > 0) await this.#space?.sweep()
  }

  async #removeExpired(directory: string): Promise<void> {
    const now = this.#clock.now()
    for await (const file of statAll(directory, (await namesIn(directory).catch(() => [])).filter(isEntryName))) {
      if (this.#hosts.size === 0) return
      if (!file.isFile || keepUntilOf(file.mtimeMs) > now) continue
      // the instants in the entry decide: a file's time can be coarse, or changed by a tool
      const removed = await this.#remove(file.path, 'sweep', undefined, (header) => header !== undefined && header.keepUntil <= now).catch(() => undefined)
      if (removed?.header !== undefined) this.#evicted(removed.header, 'expired')
    }
    await this.#removeIfEmpty(directory)
  }

  async #removeIfEmpty(directory: string): Promise<void> {
    if (this.#space !== undefined) return this.#space.removeDirectory(directory)
    await fs.promises.rmdir(directory).catch(() => undefined) // goes only when it is empty
  }

  /** By age, never by process id: processes may run in different containers. */
  async #removeLeftovers(): Promise<void> {
    const before = this.#clock.now() - LEFTOVER_AFTER_MS
    for (const name of (await namesIn(this.#layout.tmp)).filter(isTemporaryName)) {
      const bytes = await removeLeftover(path.join(this.#layout.tmp, name), before)
      this.#space?.removed(bytes)
    }
  }
}

async function rename(from: string, to: string): Promise<true> {
  await fs.promises.rename(from, to)
  return true
}
