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
} from '@thermocline/backend'
import { WholeBody } from '../body.js'
import { readEntryFile } from '../entry-file.js'
import { openEntryStream } from '../entry-stream.js'
import { sharedDisk } from '../disk.js'
import { asFsError, isMissing, isOutOfFiles } from '../errors.js'
import { rename, syncFile } from '../file-io.js'
import type { Store } from '../store.js'
import { StreamedBody } from '../streamed-body.js'
import { encodeTier, LAST_BY_CLOCK } from './copy-name.js'
import type { CheckedJournalOptions } from './options.js'
import { OwnDirectories } from './own-directories.js'
import { releasedName, SILENT_MS } from './owner.js'
import { PendingCopy, pendingCopyOf, type CopyHost } from './pending-copy.js'
import { readHeadNow, type HeadReading } from './read-head-now.js'
import { setAside } from './set-aside.js'
import { Superseded, type Bounds, type IsSuperseded } from './superseded.js'
import { directoriesIn, highestIn, highestNow, takeUp, type Found, type Unread } from './take-up.js'

/*
 * The journal of write-back on disk.
 *
 *   <directory>/
 *     <owner>/                                   directories of processes, see owner.ts
 *       <sequence>-<expiresAt>-<tier>.tc         a frame, see core; tenant and key are in its header
 *       superseded.jsonl                         see superseded.ts
 *     damaged/                                   copies that could not be read
 *
 * Which process a copy belongs to is a matter of which directory it is in, and a directory is taken up as a whole, by one rename. There is
 * no index to be written or to be corrupt: names and headers say everything, and are read once, at the start.
 */

/** Sequences follow the highest that was seen, of others too, or are the time in so many parts of a millisecond where that is more. */
const PER_MS = 1000
/** How long copies are read at a time, in milliseconds: at the start, when nobody waits yet, and later. */
const FIRST_SLICE_MS = 250
const SLICE_MS = 20
/** How long a put waits for its copy, where nobody has said. */
const PATIENCE_MS = 1000

/** A process that may be gone: since when its directory does not change. */
interface Watched {
  readonly found: Found
  readonly since: number
}

export class FileJournal implements WriteBackJournal {
  readonly #store: Store
  readonly #options: CheckedJournalOptions
  readonly #own: OwnDirectories
  readonly #superseded: Superseded
  readonly #copyHost: CopyHost
  readonly #pending = new Map<number, PendingCopy>()
  #bytes = 0
  #last = 0
  /** Puts that have not waited for their copies any longer, and what goes on there. */
  #late = 0
  #closed = false
  #hasLoaded = false
  /** Directories of which is not known yet whether their processes live, by their ids. */
  #watched = new Map<string, Watched>()
  /** Taken up, oldest first. */
  #unread: Unread[] = []
  /** The directory cannot be read or changed: what is in it nobody knows. */
  #isBlind = false
  #nextLoadAt: EpochMs | undefined

  /** Touches nothing on the disk. */
  constructor(store: Store, options: CheckedJournalOptions) {
    this.#store = store
    this.#options = options
    this.#own = new OwnDirectories(options.directory, () => store.hosts.clock, store.fsync, store.modes)
    this.#superseded = new Superseded({ own: this.#own, fsync: store.fsync, modes: store.modes, bounds: () => this.#bounds() })
    this.#copyHost = {
      fsync: store.fsync,
      modes: store.modes,
      descriptors: store.descriptors,
      own: this.#own,
      inTime: (work) => this.#inTime(work),
      lost: (copy) => {
        if (this.#pending.delete(copy.sequence)) this.#bytes -= copy.bytes
      },
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
    const { hosts } = this.#store
    const { clock } = hosts
    const endsAt = clock.monotonic() + (this.#hasLoaded ? SLICE_MS : FIRST_SLICE_MS)
    const slots: JournalSlot[] = []
    let failure: unknown
    try {
      if (this.#unread.length === 0) this.#takeUp()
      this.#readUntil(endsAt, slots)
    } catch (error) {
      failure = error ?? new Error('unknown error')
    }
    this.#hasLoaded = true
    this.#isBlind = failure !== undefined
    if (failure !== undefined) {
      this.#nextLoadAt = clock.now() + SILENT_MS
      hosts.report(asFsError(failure, 'write-back', undefined, true))
    } else if (this.#unread.length > 0) this.#nextLoadAt = clock.now()
    else {
      const sinces = [...this.#watched.values()].map(({ since }) => since)
      this.#nextLoadAt = sinces.length === 0 ? undefined : clock.now() + Math.max(0, Math.min(...sinces) + SILENT_MS - clock.monotonic())
    }
    if (this.#nextLoadAt === undefined) this.#superseded.forget()
    if (this.#unread.length === 0) this.#own.removeEmptyNow()
    return slots
  }

  get nextLoadAt(): EpochMs | undefined {
    return this.#nextLoadAt
  }

  async supersede(what: Superseding): Promise<void> {
    if (this.#closed) return
    try {
      await this.#superseded.note(what)
    } catch (error) {
      // what cannot be read cannot be noted either: it is known as long as this process lives, and no call fails for what may not be there
      if (!this.#isBlind) throw asFsError(error, 'write-back', undefined)
    }
  }

  /** @throws TypeError when the tier's name is too long for a file name */
  reserve(write: PendingWrite): JournalSlot | undefined {
    encodeTier(write.tier)
    const { maxBytes, maxEntries } = this.#options
    if (this.#closed || this.#late > 0 || this.#pending.size >= maxEntries || this.#bytes + write.bytes > maxBytes) return undefined
    return this.#add(new PendingCopy(write, this.#nextSequence(), this.#copyHost))
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
    const copy = this.#copyOf(slot)
    try {
      return await (want === 'stream' ? this.#open(copy, options) : this.#readWhole(copy, want, options))
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
    if (!this.#pending.delete(copy.sequence)) return
    this.#bytes -= copy.bytes
    if (copy.wasFound && --copy.directory.found === 0 && this.#unread.length === 0) await this.#own.removeIfEmpty(copy.directory)
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    await Promise.all([...this.#pending.values()].map((copy) => copy.idle()))
    await this.#own.release()
  }

  /** Takes up what those left that are gone, and watches those that may be. Throws the file system's error. */
  #takeUp(): void {
    const { directory: root } = this.#options
    const now = this.#store.hosts.clock.monotonic()
    const before = this.#watched
    const watched = new Map<string, Watched>()
    const copies: Unread[] = []
    let failure: unknown
    for (const found of directoriesIn(root)) {
      const known = before.get(found.id)
      if (found.state === 'lives') continue
      // one that has changed since it was seen first lives; so does one that came later
      if (found.state === 'silent' && (this.#hasLoaded && !this.#isBlind ? known?.found.beat !== found.beat : known !== undefined && known.found.beat !== found.beat)) continue
      if (found.state === 'silent' && (known === undefined || now - known.since < SILENT_MS)) {
        watched.set(found.id, known ?? { found, since: now })
        if (known === undefined) this.#see(highestNow(path.join(root, found.name)))
        continue
      }
      try {
        copies.push(...(takeUp(this.#own, found) ?? []))
      } catch (error) {
        failure ??= error
      }
    }
    this.#watched = watched
    this.#unread = copies.sort((a, b) => a.sequence - b.sequence)
    for (const { directory, sequence } of copies) {
      directory.found++
      this.#see(sequence)
    }
    if (failure !== undefined) throw failure as Error
  }

  /** Reads what was taken up, for so long. Throws the file system's error. */
  #readUntil(endsAt: number, slots: JournalSlot[]): void {
    const { clock } = this.#store.hosts
    if (this.#unread.length === 0) return
    const isSuperseded = this.#superseded.readAll(directoriesIn(this.#options.directory).map(({ name }) => path.join(this.#options.directory, name)))
    let read = 0
    try {
      for (const copy of this.#unread) {
        const slot = this.#take(copy, isSuperseded)
        if (slot === undefined) copy.directory.found--
        else slots.push(slot)
        read++
        if (clock.monotonic() >= endsAt) break
      }
    } finally {
      this.#unread.splice(0, read)
    }
  }

  /** What lies in the directories that may be taken up later, or are but were not read yet. */
  async #bounds(): Promise<Bounds> {
    const bounds: Record<string, number> = {}
    for (const { found } of [...this.#watched.values()]) {
      const highest = (await highestIn(path.join(this.#options.directory, found.name))) ?? (await highestIn(path.join(this.#options.directory, releasedName(found.id))))
      if (highest === undefined) continue
      bounds[found.id] = highest
      this.#see(highest)
    }
    for (const { directory, sequence } of this.#unread) bounds[directory.id] = sequence
    if (this.#isBlind) throw new CacheError('failed', 'the journal of write-back cannot be read', { operation: 'write-back', backend: 'fs' })
    return bounds
  }

  /** What comes next follows it. */
  #see(sequence: number | undefined): void {
    if (sequence !== undefined && sequence > this.#last) this.#last = sequence
  }

  #nextSequence(): number {
    return (this.#last = Math.max(this.#last + 1, Math.min(LAST_BY_CLOCK, Math.floor(this.#store.hosts.clock.now() * PER_MS))))
  }

  async #inTime(work: Promise<unknown>): Promise<boolean> {
    let cancel: (() => void) | undefined
    const isOver = new Promise<false>((resolve) => (cancel = this.#store.hosts.clock.schedule(this.#options.patienceMs ?? PATIENCE_MS, () => resolve(false), { background: true })))
    const inTime = await Promise.race([work.then(() => true), isOver])
    cancel?.()
    if (inTime) return true
    this.#late++
    void work.then(() => this.#late--)
    return false
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

  /** Throws the file system's error where nothing can be changed. */
  #take(copy: Unread, isSuperseded: IsSuperseded): JournalSlot | undefined {
    const { directory, name, tier, expiresAt } = copy
    const file = path.join(directory.path, name)
    let reading: HeadReading
    try {
      reading = readHeadNow(file)
    } catch (error) {
      if (isMissing(error)) return undefined
      if (isOutOfFiles(error)) throw error // of no file in particular: all are read later
      reading = { status: 'damaged', reason: asFsError(error, 'write-back', undefined).message }
    }
    if (reading.status === 'cut') {
      fs.rmSync(file, { force: true })
      this.#report('it breaks off, as a write does that was under way when its process ended; it was removed', file)
      return undefined
    }
    if (reading.status === 'damaged') return this.#setAside(file, reading.reason)
    const { tenant, key, payloadBytes } = reading.header
    if (isSuperseded(directory.id, copy.sequence, tenant, key)) {
      fs.rmSync(file, { force: true })
      return undefined
    }
    let sequence = copy.sequence
    while (this.#pending.has(sequence)) sequence++
    this.#see(sequence)
    try {
      return this.#add(new PendingCopy({ tier, tenant: validateTenant(tenant), key: validateKey(key), expiresAt, bytes: payloadBytes }, sequence, this.#copyHost, { directory, name }))
    } catch (error) {
      return this.#setAside(file, asCacheError(error, { operation: 'write-back' }).message)
    }
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
      await this.#own.settle(copy.directory)
    } catch (error) {
      await fs.promises.unlink(file).catch(() => undefined)
      throw error
    } finally {
      body.release()
    }
  }

  async #readWhole(copy: PendingCopy, want: 'head' | 'payload', options: JournalStepOptions): Promise<CacheEntry | undefined> {
    const { descriptors, maxBufferedBytes } = this.#store
    const reading = await sharedDisk().turns.during(options, () => readEntryFile(copy.file, want, options, { close: descriptors.close, maxBytes: maxBufferedBytes }))
    if (reading.status === 'missing') return undefined
    if (reading.status === 'too-large') throw tooLarge(copy, reading.reason)
    if (reading.status !== 'ok') return this.#setAside(copy.file, reading.reason, copy)
    if (!isFor(reading.header, copy)) return this.#setAside(copy.file, 'it belongs to another tenant or key', copy)
    const fields = fieldsFor(copy, reading.header)
    if (want === 'head') return CacheEntry.head(fields)
    if (reading.payload === undefined) return this.#setAside(copy.file, 'it has no payload', copy)
    return CacheEntry.ofBytes({ codec: reading.header.codec, bytes: reading.payload, plainBytes: reading.header.plainBytes }, fields)
  }

  async #open(copy: PendingCopy, options: JournalStepOptions): Promise<CacheEntry | undefined> {
    const { file } = copy
    const damaged = (error: CacheError): Promise<void> => {
      this.#setAside(file, error.message, copy)
      return Promise.resolve()
    }
    const reading = await sharedDisk().turns.during(options, () => openEntryStream(file, this.#store.descriptors.close, damaged, { keepsName: true, options }))
    if (reading.status === 'missing') return undefined
    if (reading.status !== 'ok') return this.#setAside(file, reading.reason, copy)
    if (isFor(reading.header, copy)) return new StreamedEntry(reading.payload, fieldsFor(copy, reading.header))
    reading.payload.cancel()
    return this.#setAside(file, 'it belongs to another tenant or key', copy)
  }

  #setAside(file: string, reason: string, copy?: PendingCopy): undefined {
    setAside(this.#options.directory, file, this.#store.modes)
    const error = this.#report(`${reason}; it was set aside`, file)
    copy?.damaged(error)
  }

  #report(what: string, file: string): CacheError {
    const error = new CacheError('corrupt', `a copy in the journal of write-back cannot be uploaded: ${what}: ${path.basename(file)}`, { operation: 'write-back', backend: 'fs' })
    this.#store.hosts.report(error)
    return error
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
