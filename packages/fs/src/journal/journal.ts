import fs from 'node:fs'
import path from 'node:path'
import {
  asCacheError,
  CacheEntry,
  CacheError,
  isStreamed,
  StreamedEntry,
  validateKey,
  validateTenant,
  type EntryFields,
  type EpochMs,
  type FrameHeader,
  type JournalSlot,
  type JournalStepOptions,
  type JournalWant,
  type PendingWrite,
  type Superseding,
  type TenantScope,
  type WriteBackJournal,
} from '@thermocline/core'
import { WholeBody } from '../body.js'
import { readEntryFile } from '../entry-file.js'
import { openEntryStream } from '../entry-stream.js'
import { sharedDisk } from '../disk.js'
import { asFsError } from '../errors.js'
import { rename, syncFile } from '../file-io.js'
import type { Store } from '../store.js'
import { StreamedBody } from '../streamed-body.js'
import { encodeTier } from './copy-name.js'
import type { CheckedJournalOptions } from './options.js'
import { OwnDirectory } from './own-directory.js'
import { SILENT_MS } from './owner.js'
import { PendingCopy, pendingCopyOf, type CopyHost } from './pending-copy.js'
import { readHeadNow } from './read-head-now.js'
import { setAside } from './set-aside.js'
import { Superseded } from './superseded.js'
import { takeUp, type TakenUp, type TakingUp, type Undecided } from './take-up.js'

/*
 * The journal of write-back on disk.
 *
 *   <directory>/
 *     <owner>/                                   one directory per process, see owner.ts
 *       <sequence>-<expiresAt>-<tier>.tc         a frame, see core; tenant and key are in its header
 *       superseded.jsonl                         see superseded.ts
 *     damaged/                                   copies that could not be read
 *
 * Which process a copy belongs to is a matter of which directory it is in, so taking one up is a rename. There is no index to be
 * written or to be corrupt: names and headers say everything, and are read once, at the start.
 */

/** Sequences are the time in so many parts of a millisecond, or follow the one before: they grow over restarts and, nearly, over processes. */
const PER_MS = 1000
const NO_OPTIONS: JournalStepOptions = {}

export class FileJournal implements WriteBackJournal {
  readonly #store: Store
  readonly #options: CheckedJournalOptions
  readonly #own: OwnDirectory
  readonly #superseded: Superseded
  readonly #copyHost: CopyHost
  readonly #pending = new Map<number, PendingCopy>()
  #bytes = 0
  #last = 0
  #closed = false
  /** The directories of which is not known yet whether their processes live, with their modification times. */
  #leases: ReadonlyMap<string, EpochMs> | undefined
  #nextLoadAt: EpochMs | undefined

  /** Touches nothing on the disk. */
  constructor(store: Store, options: CheckedJournalOptions) {
    this.#store = store
    this.#options = options
    this.#own = new OwnDirectory(options.directory, () => store.hosts.clock, store.fsync, store.modes)
    this.#superseded = new Superseded(this.#own, store.fsync, store.modes)
    this.#copyHost = {
      fsync: store.fsync,
      modes: store.modes,
      descriptors: store.descriptors,
      resized: (copy, by) => {
        if (this.#pending.get(copy.sequence) === copy) this.#bytes += by
      },
    }
  }

  get size(): { readonly entries: number; readonly bytes: number } {
    return { entries: this.#pending.size, bytes: this.#bytes }
  }

  load(): readonly JournalSlot[] {
    if (this.#closed) return []
    const now = this.#store.hosts.clock.now()
    let found: TakingUp
    try {
      found = takeUp(this.#options.directory, this.#own, this.#superseded, now, (sequence) => this.#pending.has(sequence))
    } catch (failure) {
      found = { taken: [], undecided: [], failure }
    }
    this.#waitFor(found.undecided)
    if (found.failure !== undefined) {
      this.#nextLoadAt = now + SILENT_MS
      this.#store.hosts.report(asFsError(found.failure, 'write-back', undefined, true))
    }
    if (this.#nextLoadAt === undefined) this.#superseded.forget()
    return found.taken.flatMap((copy) => this.#take(copy) ?? [])
  }

  get nextLoadAt(): EpochMs | undefined {
    return this.#nextLoadAt
  }

  async supersede(what: Superseding): Promise<void> {
    if (this.#closed) return
    try {
      const sequence = this.#nextSequence()
      await sharedDisk().turns.during(NO_OPTIONS, () => this.#superseded.note(what, sequence))
    } catch (error) {
      throw asFsError(error, 'write-back', undefined)
    }
  }

  /** @throws TypeError when the tier's name is too long for a file name */
  reserve(write: PendingWrite): JournalSlot | undefined {
    encodeTier(write.tier)
    const { maxBytes, maxEntries } = this.#options
    if (this.#closed || this.#pending.size >= maxEntries || this.#bytes + write.bytes > maxBytes) return undefined
    return this.#add(new PendingCopy(write, this.#nextSequence(), this.#own, this.#copyHost, false))
  }

  grow(slot: JournalSlot, bytes: number): boolean {
    const copy = this.#copyOf(slot)
    if (this.#bytes + bytes - copy.bytes > this.#options.maxBytes) return false
    if (bytes > copy.bytes) copy.measured(bytes)
    return true
  }

  async store(slot: JournalSlot, scope: TenantScope, entry: CacheEntry, options: JournalStepOptions = {}): Promise<void> {
    if (this.#closed) throw new CacheError('closed', 'an entry came for a journal of write-back that is closed', { operation: 'write-back', backend: 'fs', key: slot.key })
    const copy = this.#copyOf(slot)
    try {
      await copy.make(async () => {
        const other = entry.encoded === undefined && !isStreamed(entry) ? this.#sameEntry(slot) : undefined
        if (other === undefined) await copy.write((file) => this.#write(file, copy, scope, entry, options))
        else await sharedDisk().turns.during(options, () => copy.linkTo(other))
        return true
      })
    } catch (error) {
      throw asFsError(error, 'write-back', slot.key)
    }
  }

  async read(slot: JournalSlot, want: JournalWant, options: JournalStepOptions = {}): Promise<CacheEntry | undefined> {
    const { file } = this.#copyOf(slot)
    try {
      return await (want === 'stream' ? this.#open(file, slot, options) : this.#readWhole(file, slot, want, options))
    } catch (error) {
      throw asFsError(error, 'write-back', slot.key)
    }
  }

  async remove(slot: JournalSlot): Promise<void> {
    const copy = this.#copyOf(slot)
    try {
      await copy.remove()
    } catch (error) {
      throw asFsError(error, 'write-back', slot.key)
    }
    if (this.#pending.delete(copy.sequence)) this.#bytes -= copy.bytes
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    await Promise.all([...this.#pending.values()].map((copy) => copy.idle()))
    await this.#own.release()
  }

  /** Those that may have died before this process began; one that has renewed its directory since then lives. */
  #waitFor(undecided: readonly Undecided[]): void {
    const before = this.#leases
    const waiting = undecided.filter(({ name, modifiedAt }) => before === undefined || before.get(name) === modifiedAt)
    this.#leases = new Map(waiting.map(({ name, modifiedAt }) => [name, modifiedAt]))
    this.#nextLoadAt = waiting.length === 0 ? undefined : Math.max(...waiting.map(({ orphanedFrom }) => orphanedFrom)) + 1
  }

  #nextSequence(): number {
    return (this.#last = Math.max(this.#last + 1, Math.floor(this.#store.hosts.clock.now() * PER_MS)))
  }

  #add(copy: PendingCopy): PendingCopy {
    this.#pending.set(copy.sequence, copy)
    this.#bytes += copy.bytes
    return copy
  }

  #copyOf(slot: JournalSlot): PendingCopy {
    const copy = pendingCopyOf(slot)
    if (copy === undefined) throw new TypeError('slot must be one that this journal has reserved or loaded, the object itself')
    return copy
  }

  /** A copy of the same entry for another tier: the latest one before. For an entry whose bytes were a stream and are gone. */
  #sameEntry(slot: JournalSlot): PendingCopy | undefined {
    return [...this.#pending.values()]
      .filter((copy) => copy.isThere && copy.tenant === slot.tenant && copy.key === slot.key && copy.sequence < slot.sequence)
      .reduce<PendingCopy | undefined>((latest, copy) => (latest === undefined || copy.sequence > latest.sequence ? copy : latest), undefined)
  }

  #take(copy: TakenUp): JournalSlot | undefined {
    this.#last = Math.max(this.#last, copy.sequence)
    try {
      const reading = readHeadNow(copy.file)
      if (reading.status === 'ok') {
        const { tenant, key, payloadBytes } = reading.header
        const write = { tier: copy.tier, tenant: validateTenant(tenant), key: validateKey(key), expiresAt: copy.expiresAt, bytes: payloadBytes }
        return this.#add(new PendingCopy(write, copy.sequence, this.#own, this.#copyHost, true))
      }
      if (reading.status === 'cut') {
        fs.unlinkSync(copy.file)
        this.#report('it breaks off, as a write does that was under way when its process ended; it was removed', copy.file)
      } else this.#setAside(copy.file, reading.reason)
    } catch (error) {
      this.#setAside(copy.file, asCacheError(error, { operation: 'write-back' }).message)
    }
    return undefined
  }

  /** Writes the copy by itself. */
  async #write(file: string, copy: PendingCopy, scope: TenantScope, entry: CacheEntry, { progress }: JournalStepOptions): Promise<void> {
    const { descriptors, fsync, modes } = this.#store
    const host = { modes, close: descriptors.close }
    const options = { onlyIfAbsent: false, keepUntil: entry.expiresAt, progress }
    const { key } = copy
    const body = isStreamed(entry)
      ? new StreamedBody({ ...host, maxFileBytes: Number.POSITIVE_INFINITY, room: undefined }, scope, key, entry, options)
      : new WholeBody(host, undefined, scope, key, entry, options)
    try {
      await body.writeTo(file, undefined, async (fd) => {
        if (fsync) await syncFile(fd)
        return true
      })
      await rename(file, copy.file)
      copy.measured(body.payloadBytes)
      await copy.settle()
    } catch (error) {
      await fs.promises.unlink(file).catch(() => undefined)
      throw error
    } finally {
      body.release()
    }
  }

  async #readWhole(file: string, slot: JournalSlot, want: 'head' | 'payload', options: JournalStepOptions): Promise<CacheEntry | undefined> {
    const { descriptors, maxBufferedBytes } = this.#store
    const reading = await sharedDisk().turns.during(options, () => readEntryFile(file, want, options, { close: descriptors.close, maxBytes: maxBufferedBytes }))
    if (reading.status === 'missing') return undefined
    if (reading.status === 'too-large') throw tooLarge(slot, reading.reason)
    if (reading.status !== 'ok') return this.#setAside(file, reading.reason)
    if (!isFor(reading.header, slot)) return this.#setAside(file, 'it belongs to another tenant or key')
    const fields = fieldsFor(slot, reading.header)
    if (want === 'head') return CacheEntry.head(fields)
    if (reading.payload === undefined) return this.#setAside(file, 'it has no payload')
    return CacheEntry.ofBytes({ codec: reading.header.codec, bytes: reading.payload, plainBytes: reading.header.plainBytes }, fields)
  }

  async #open(file: string, slot: JournalSlot, options: JournalStepOptions): Promise<CacheEntry | undefined> {
    const damaged = (error: CacheError): Promise<void> => {
      this.#setAside(file, error.message)
      return Promise.resolve()
    }
    const reading = await sharedDisk().turns.during(options, () => openEntryStream(file, this.#store.descriptors.close, damaged, { keepsName: true, options }))
    if (reading.status === 'missing') return undefined
    if (reading.status !== 'ok') return this.#setAside(file, reading.reason)
    if (isFor(reading.header, slot)) return new StreamedEntry(reading.payload, fieldsFor(slot, reading.header))
    reading.payload.cancel()
    return this.#setAside(file, 'it belongs to another tenant or key')
  }

  #setAside(file: string, reason: string): undefined {
    setAside(this.#options.directory, file, this.#store.modes)
    this.#report(`${reason}; it was set aside`, file)
  }

  #report(what: string, file: string): void {
    this.#store.hosts.report(new CacheError('corrupt', `a copy in the journal of write-back cannot be uploaded: ${what}: ${path.basename(file)}`, { operation: 'write-back', backend: 'fs' }))
  }
}

function tooLarge({ tenant, key }: JournalSlot, reason: string): CacheError {
  return new CacheError('too-large', `a copy in the journal of write-back cannot be read whole: ${reason} (raise maxBufferedBytes)`, { operation: 'write-back', backend: 'fs', tenant, key, concerns: 'key' })
}

function isFor(header: FrameHeader, slot: JournalSlot): boolean {
  return header.tenant === slot.tenant && header.key === slot.key
}

/** The entry's, without what belongs to the disk's own copy. */
function fieldsFor(slot: JournalSlot, { createdAt, computeMicros, details }: FrameHeader): EntryFields {
  if (details?.keepUntil === undefined) return { createdAt, expiresAt: slot.expiresAt, computeMicros, details }
  const { keepUntil: _, ...own } = details
  return { createdAt, expiresAt: slot.expiresAt, computeMicros, details: own }
}
