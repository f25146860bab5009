import type { Clock, EpochMs } from '../clock/clock.js'
import type { CacheError } from '../errors/cache-error.js'
import type { ValidKey } from '../keys/key.js'
import type { Lease, LogMessage } from './lease.js'
import type { CacheEntry } from './entry.js'
import type { JournalSlot } from './journal.js'
import type { TenantScope } from './scope.js'

/** A value now or later. A memory hit costs no promise. */
export type Awaitable<T> = T | Promise<T>

/** Undoes an `attach`. */
export type Detach = () => void

/**
 * One store behind the contract: memory, a disk, Redis, an object store, or somebody else's.
 *
 * An adapter is given guarantees instead of checks. Keys and prefixes are guaranteed to be valid (see {@link ValidKey}) and
 * are unencoded; entries handed to `put` are guaranteed to have the view that `capabilities.keeps` names, whose bytes do
 * not change until the promise settles; writes and deletes of one key are guaranteed to arrive one after the other from one
 * manager. In return:
 *
 * - A miss is `undefined`, never an error.
 * - A failure is a {@link CacheError} (`asCacheError` makes one); only the adapter says whether it is `retryable`. A failure
 *   that is to be retried is a rejection, not a synchronous throw.
 * - `put` is all or nothing: no reader ever sees part of a payload. Of a streamed entry nothing is to be seen before its `chunks`
 *   have ended, however long that takes, and nothing is left when they throw.
 * - Data of an unknown version, or not ours, is a miss, reported as `foreign`, and left where it is: by reads, listings, sweeps
 *   and `onlyIfAbsent`, and by deletes and clears where others may put things too (files in a directory); under names that
 *   are the adapter's alone those remove it, because what a newer release wrote is invalidated too. A plain `put` of that
 *   key replaces it, or the key could never be stored. Data of ours that fails its checksum, or a frame that is cut off, is a miss, reported as `corrupt`, and removed.
 * - A record whose header names another tenant or key is foreign.
 * - A backend may serve several managers; it takes its clock from the first and tells all of them what it reports.
 *
 * Around every backend the manager puts, outermost first, a circuit breaker, a timeout and retry.
 */
export interface CacheBackend extends AsyncDisposable {
  /** The service's name, for telemetry and messages: `memory`, `fs`, `redis`. */
  readonly name: string
  readonly capabilities: BackendCapabilities
  /** Begins to serve a manager. Called once per manager, before anything else. */
  attach(host: BackendHost): Detach
  /** The entry under `key`, whether or not its life is over: the instants in the entry decide, and the manager reads them. */
  get(scope: TenantScope, key: ValidKey, options: ReadOptions): Awaitable<CacheEntry | undefined>
  /**
   * What `get` would answer for each of the keys, in their order. A store that takes one question for all of them is asked
   * once; for any other `return getEach(this, scope, keys, options)` will do. Rejects when one of them fails: the manager then
   * asks for each by itself.
   */
  getMany(scope: TenantScope, keys: readonly ValidKey[], options: ReadOptions): Awaitable<readonly (CacheEntry | undefined)[]>
  /**
   * Stores the entry; `false` when it was not stored (present already, or larger than the backend takes). The bytes may be
   * kept by reference.
   */
  put(scope: TenantScope, key: ValidKey, entry: CacheEntry, options: PutOptions): Awaitable<boolean>
  /** Removes keys; the number that were there and might still be served, or `undefined` when the store cannot know. */
  delete(scope: TenantScope, keys: readonly ValidKey[], options: OperationOptions): Awaitable<number | undefined>
  /** Removes every key of the tenant that starts with `prefix` (a plain string prefix; empty: all); counts like `delete`. */
  clear(scope: TenantScope, prefix: string, options: ClearOptions): Awaitable<number | undefined>
  /**
   * What is stored for the tenant under `prefix`, in no particular order, without loading payloads. May show entries whose
   * life is over (with their `expiresAt`); leaves out what cannot be read. The consumer may stop early. A store that answers with
   * pages gives them as `Paged`: the manager then takes a page with one step.
   */
  list(scope: TenantScope, prefix: string, options: ListOptions): AsyncIterable<StoredEntryInfo>
  /** Counts, for one tenant or all; `undefined` where counting needs a scan. */
  stats(scope?: TenantScope): Awaitable<BackendStats>
  /**
   * Ends the backend once no manager is attached any more; until then it does nothing. Called by each manager after its
   * `detach`, possibly with operations still running. Ending twice is harmless. A client that the user passed in stays open.
   */
  [Symbol.asyncDispose](): Promise<void>
}

/** What differs between backends, all data. */
export interface BackendCapabilities {
  /** Everything but `list` and ending answers without a promise. */
  readonly synchronous: boolean
  /** Other processes see the same store; `machine`: only those of the same machine. */
  readonly shared: boolean | 'machine'
  /** What was put survives the process. */
  readonly durable: boolean
  /**
   * Payloads can be read and written as streams: `get` with `want: 'stream'` answers with a {@link StreamedEntry}, and `put` may be
   * given one. Without it, nobody asks.
   */
  readonly streams: boolean
  /**
   * For stores that keep the payload plain and everything else in metadata of their own. The metadata is limited, and is
   * fixed before the first byte, so a streamed `put` ought to know length and checksum beforehand.
   */
  readonly plain?: { readonly maxMetadataBytes: number } | undefined
  /** The view of the payload the backend keeps, and is guaranteed to be given. */
  readonly keeps: 'value' | 'bytes'
  /** For `keeps: 'value'`: what the manager does with values it hands out. */
  readonly isolation?: Isolation | undefined
  /** Larger payloads are not offered by a manager, and answered with `false` when they are; absent: any size. */
  readonly maxPayloadBytes?: number | undefined
  /**
   * For so many milliseconds after a process has ended, what it had sent may still be carried out: something on the way keeps it, or the store takes its time.
   * Absent: what is not done then is never done.
   */
  readonly landsWithinMs?: number | undefined
}

/**
 * How values that live in memory are protected from whoever receives them: `share` hands out the stored reference,
 * `freeze` freezes plain objects and arrays and clones the rest, `clone` hands out a copy each time.
 */
export type Isolation = 'share' | 'freeze' | 'clone'

/** What a manager offers to a backend. */
export interface BackendHost {
  readonly clock: Clock
  /**
   * To be called after the backend itself removed an entry that was sound. `entry` is absent where only the key is known;
   * where only the tenant's name is known, a new {@link TenantScope} of it will do. An entry may be a {@link StreamedEntry} of what
   * is gone from the store already; the host then reads it or cancels it.
   */
  evicted(scope: TenantScope, key: ValidKey, entry: CacheEntry | undefined, reason: EvictionReason): void
  /** Whether an entry that leaves for space is wanted, because another tier is to have it. Asked before `evicted`, by stores that would have to read it. */
  demotes(scope: TenantScope, key: ValidKey): boolean
  /** Reports a failure nobody waits for, such as data that had to be treated as a miss. Never throws. */
  report(error: CacheError): void
}

/** Why a backend removed an entry: for space among all tenants, for the tenant's quota, or because its life was over. */
export type EvictionReason = 'space' | 'quota' | 'expired'

/**
 * Made for one call. A layer passes the object on as it is: a copy by spreading would lose `signal`, `onAbort`, `watch` and `progress`, which
 * are made when they are asked for.
 */
export interface OperationOptions {
  /** Aborted when nobody waits for the operation any more. An adapter may then stop early and reject; it must settle. */
  readonly signal?: AbortSignal | undefined
  /**
   * Calls the listener when `signal` would be aborted, at once if it has been, without that signal being made: an AbortController
   * costs a request some 40 µs of CPU time. One listener at a time: another takes its place. It may be called twice. Absent, or
   * answered with `false`: listen to `signal`.
   */
  onAbort?(listener: () => void): boolean
  /** To be called each time a part of a long operation is done (some keys, a page, some megabytes): it renews the time budget. */
  readonly progress?: (() => void) | undefined
  /**
   * For an adapter whose answers come as bytes of one connection: tells from when those that came last are, by the host's monotonic clock. It is
   * asked when the budget is over: an answer that is on its way goes on having time. Absent where no time is counted.
   */
  watch?(movedAt: () => number): void
  /** Milliseconds left for this operation, where less than the tier's budget is. */
  readonly budgetMs?: number | undefined
  /**
   * Of a put or delete of one key, for a backend whose coordination is open: in the same step the key's line is emptied, and this is appended to the log. Where
   * the entry was changed and the log could not be, the operation fails.
   */
  readonly announces?: LogMessage | undefined
}

export interface ReadOptions extends OperationOptions {
  /** `head`: instants and metadata only; the payload is not read. `stream`: a {@link StreamedEntry}; only where `capabilities.streams`. */
  readonly want: 'head' | 'payload' | 'stream'
  /** Whether the read counts as a use for recency. */
  readonly touch: boolean
  /** What lies in the entry's place without being ours is an entry too: raw bytes that never expire. For stores with `capabilities.plain`. */
  readonly adopt?: boolean | undefined
}

export interface PutOptions extends OperationOptions {
  /**
   * Store only if no entry is there whose `freshUntil` lies ahead; one that is there stays, also where the new entry is over itself. A store
   * that cannot tell may remove a stale one instead, and answer with `false`. Promotion uses it.
   */
  readonly onlyIfAbsent: boolean
  /**
   * From when on this backend's copy may not be served: at or before `entry.expiresAt`. To be stored beside the entry. An instant that has
   * come already: the entry need not be stored, but what it would replace has to go.
   */
  readonly keepUntil: EpochMs
  /** For a backend whose coordination is open: stored only if this still stands in the key's line. */
  readonly lease?: Lease | undefined
  /**
   * What a manager that is coordinated with others knows of the entry, for its own layers: `always`, no other process can change it; `passed-on`, it comes from
   * another tier of the process's own.
   */
  readonly belief?: 'always' | 'passed-on' | undefined
  /** For a backend that keeps a journal: once the entry is stored, this slot's copy is there too. */
  readonly journal?: JournalSlot | undefined
}

export interface ClearOptions extends OperationOptions {
  /** Of the keys with the prefix, those that are to go. What lies among them and has no key that can be read goes, too. Default: all. */
  readonly only?: ((key: string) => boolean) | undefined
}

export interface ListOptions extends OperationOptions {
  /** `keys`: sizes and instants only where the store lists them anyway; `info`: always. */
  readonly detail: 'keys' | 'info'
  /** With `info`: for which keys an object that is not ours is an entry too, as {@link ReadOptions.adopt} says of one key. Default: for none. */
  readonly adopt?: ((key: string) => boolean) | undefined
}

/** One stored entry as a listing shows it. */
export interface StoredEntryInfo {
  readonly key: string
  /** What it occupies in the store, in bytes. */
  readonly size?: number | undefined
  /** From when on it is not served by this backend; `Infinity`: never. */
  readonly expiresAt?: EpochMs | undefined
}

export interface BackendStats {
  readonly entries?: number | undefined
  readonly bytes?: number | undefined
  readonly maxEntries?: number | undefined
  readonly maxBytes?: number | undefined
  /** What a store of several users says of itself: used memory, clients, its own hit rate. Numbers and short texts. */
  readonly server?: Readonly<Record<string, number | string>> | undefined
}

/** A wrapper that adds one behaviour to a backend and keeps its contract. */
export type Layer = (inner: CacheBackend) => CacheBackend
