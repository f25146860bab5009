import type { EpochMs } from '../clock/clock.js'
import type { CacheEntry } from './entry.js'
import type { CacheError } from '../errors/cache-error.js'
import type { TenantScope } from './scope.js'
import type { ValidKey } from '../keys/key.js'

/**
 * The journal of write-back: entries that a durable tier has acknowledged and a slower tier does not have yet. Each pending upload keeps
 * a copy of its own (a hard link where the disk allows it), so that neither eviction nor a later write takes it away, and
 * what a process left behind is taken up by the next one.
 *
 * A separate contract for durable backends, like {@link RecordKeeper}.
 */
export interface JournalKeeper {
  openJournal(options: JournalOptions): WriteBackJournal
}

export interface JournalOptions {
  /** Where the copies lie. Default: beside the backend's own data. */
  readonly directory?: string | undefined
  /** The most bytes of pending copies. */
  readonly maxBytes: number
  /** The most pending copies. */
  readonly maxEntries: number
  /** How long a put waits for its copy, in milliseconds: then the entry is stored without. */
  readonly patienceMs?: number | undefined
}

/** What a pending upload is about. */
export interface PendingWrite {
  /** The name of the tier that is to have it. */
  readonly tier: string
  readonly tenant: string
  readonly key: ValidKey
  /** The end of its life in that tier; `Infinity`: never. The copy's own may differ. */
  readonly expiresAt: EpochMs
  /** Bytes of the payload, as far as they are known. */
  readonly bytes: number
}

/** A pending upload with its place in the journal. */
export interface JournalSlot extends PendingWrite {
  /** Grows with every slot of a journal, over restarts too: of two for one key the greater is the newer. */
  readonly sequence: number
  /** What kept a put from making the copy, though the entry is stored; or how the copy was found damaged. */
  readonly failure?: CacheError | undefined
  /**
   * Asks whether the copy's place is still this process's. False: this process was silent for so long that another has taken it up, and
   * uploads it; the slot is given up. Absent: nobody else takes it. Rejects when the disk has no answer.
   */
  isOwn?(): Promise<boolean>
}

/** What something newer is called for: a key, or every key with a prefix. */
export type Superseding = { readonly tenant: string } & ({ readonly key: string } | { readonly prefix: string })

/** What is read of a copy: see `ReadOptions.want`. */
export type JournalWant = 'head' | 'payload' | 'stream'

export interface JournalStepOptions {
  /** To be called each time a part is done: it renews the time budget. */
  readonly progress?: (() => void) | undefined
}

export interface WriteBackJournal {
  /**
   * What earlier processes left, oldest first: before the first operation, and again at {@link nextLoadAt}, for what has turned out since to be left.
   * What is superseded is left out, and removed.
   * Copies that cannot be read are reported to the backend's hosts and set aside. What a live process is about is not touched.
   * Takes some milliseconds at most: what it does not come to it leaves to the next call, and `nextLoadAt` says so.
   */
  load(): readonly JournalSlot[]
  /** When `load` can tell more: there are processes that may have ended before this one began. `undefined`: there are none. */
  readonly nextLoadAt: EpochMs | undefined
  /**
   * Something newer is called than all that earlier processes may have left for it. Needed while {@link nextLoadAt} is set. Resolves when no
   * process, also after a restart, takes that up any more.
   */
  supersede(what: Superseding): Promise<void>
  /** A place for one more; `undefined` when the journal is full. Nothing is on disk yet. */
  reserve(write: PendingWrite): JournalSlot | undefined
  /** Makes the place so many bytes large, while a payload of unknown length arrives; `false` when there is no room for that: it stays as it was. */
  grow(slot: JournalSlot, bytes: number): boolean
  /** Makes the slot's copy from an entry with its bytes. For copies that `put` was not told to make, or could not. Rejects when the disk cannot take it. */
  store(slot: JournalSlot, scope: TenantScope, entry: CacheEntry, options?: JournalStepOptions): Promise<void>
  /** The copy; `undefined` when it is gone or damaged. `stream` gives a {@link StreamedEntry}. Its `expiresAt` is the slot's. */
  read(slot: JournalSlot, want: JournalWant, options?: JournalStepOptions): Promise<CacheEntry | undefined>
  /** Gives the place up; resolves when no restart brings the upload back. Where it rejects nothing is given up, and it may be called again. */
  remove(slot: JournalSlot): Promise<void>
  /** Pending copies and their bytes, reserved ones included. */
  readonly size: { readonly entries: number; readonly bytes: number }
  /** Lets go of the directory; what is pending stays for the next process. */
  close(): Promise<void>
}

export function isJournalKeeper(backend: object): backend is JournalKeeper {
  return typeof (backend as Partial<JournalKeeper>).openJournal === 'function'
}
