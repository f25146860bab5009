import type { Clock, EpochMs } from '../clock/clock.js'
import type { CacheError } from '../errors/cache-error.js'
import type { ValidKey } from '../keys/key.js'
import type { CacheEntry } from './entry.js'
import type { TenantScope } from './scope.js'

/** A value now or later. A memory hit costs no promise. */
export type Awaitable<T> = T | Promise<T>

/** Undoes an `attach`. */
export type Detach = () => void

/**
 * One store behind the contract: memory, a disk, Redis, an object store, or somebody else's.
 *
 * An adapter is given guarantees instead of checks. Keys are guaranteed to be valid (see {@link ValidKey}) and are
 * unencoded; entries handed to `put` are guaranteed to have the view that `capabilities.keeps` names; writes and
 * deletes of one key are guaranteed to arrive one after the other from one manager. In return:
 *
 * - A miss is `undefined`, never an error.
 * - A failure is a {@link CacheError}; only the adapter says whether it is `retryable`.
 * - `put` is all or nothing: no reader ever sees part of a payload.
 * - Data of an unknown version, or not ours, is a miss, reported, and left where it is. Data of ours that fails its
 *   checksum is a miss, reported, and removed.
 * - A backend may serve several managers; it closes with the last one. Closing twice is harmless.
 */
export interface CacheBackend extends AsyncDisposable {
  /** The service's name, for telemetry and messages: `memory`, `fs`, `redis`. */
  readonly name: string
  readonly capabilities: BackendCapabilities
  /** Begins to serve a manager. Called once per manager, before anything else. */
  attach(host: BackendHost): Detach
  /** The entry under `key`, whether or not its life is over: the instants in the entry decide, and the manager reads them. */
  get(scope: TenantScope, key: ValidKey, options: ReadOptions): Awaitable<CacheEntry | undefined>
  /** Stores the entry; `false` when it was not stored (present already, or larger than the backend takes). */
  put(scope: TenantScope, key: ValidKey, entry: CacheEntry, options: PutOptions): Awaitable<boolean>
  /** Removes keys; the number that were there, or `undefined` when the store cannot know. */
  delete(scope: TenantScope, keys: readonly ValidKey[], options: OperationOptions): Awaitable<number | undefined>
  /** Removes every key of the tenant that starts with `prefix` (a plain string prefix; empty: all). */
  clear(scope: TenantScope, prefix: string, options: OperationOptions): Awaitable<number | undefined>
  /** What is stored for the tenant under `prefix`, in no particular order, without loading payloads. */
  list(scope: TenantScope, prefix: string, options: ListOptions): AsyncIterable<StoredEntryInfo>
  /** Counts, for one tenant or all; `undefined` where counting needs a scan. */
  stats(scope?: TenantScope): Awaitable<BackendStats>
}

/** What differs between backends, all data. */
export interface BackendCapabilities {
  /** `get` and `put` answer without a promise. */
  readonly synchronous: boolean
  /** Other processes see the same store. */
  readonly shared: boolean
  /** What was put survives the process. */
  readonly durable: boolean
  /** Payloads can be read and written as streams. */
  readonly streams: boolean
  /** The store removes entries by itself some time after `keepUntil`. */
  readonly nativeExpiry: boolean
  /** The view of the payload the backend keeps, and is guaranteed to be given. */
  readonly keeps: 'value' | 'bytes'
  /** For `keeps: 'value'`: what the manager does with values it hands out. */
  readonly isolation?: Isolation | undefined
  /** Larger payloads are not offered; absent: any size. */
  readonly maxPayloadBytes?: number | undefined
}

/**
 * How values that live in memory are protected from whoever receives them: `share` hands out the stored reference,
 * `freeze` freezes plain objects and arrays and clones the rest, `clone` hands out a copy each time.
 */
export type Isolation = 'share' | 'freeze' | 'clone'

/** What a manager offers to a backend. */
export interface BackendHost {
  readonly clock: Clock
  /** To be called after the backend itself removed an entry. `entry` is absent where only the key is known. */
  evicted(scope: TenantScope, key: ValidKey, entry: CacheEntry | undefined, reason: EvictionReason): void
  /** Reports a failure nobody waits for, such as data that had to be treated as a miss. Never throws. */
  report(error: CacheError): void
}

/** Why a backend removed an entry: for space among all tenants, for the tenant's quota, or because its life was over. */
export type EvictionReason = 'space' | 'quota' | 'expired'

export interface OperationOptions {
  /** Aborted when nobody waits for the operation any more. An adapter may then stop early; it must still settle. */
  readonly signal?: AbortSignal | undefined
  /** To be called each time a part of a long operation is done: it renews the time budget. */
  readonly progress?: (() => void) | undefined
  /** Milliseconds left for this operation, where less than the tier's budget is. */
  readonly budgetMs?: number | undefined
}

export interface ReadOptions extends OperationOptions {
  /** `head`: instants and metadata only; the payload is not read. */
  readonly want: 'head' | 'payload'
  /** Whether the read counts as a use for recency. */
  readonly touch: boolean
}

export interface PutOptions extends OperationOptions {
  /** Store only if no entry is there whose `keepUntil` lies ahead. Promotion uses it. */
  readonly onlyIfAbsent: boolean
  /** From when on this backend's copy may not be served: at or before `entry.expiresAt`. To be stored beside the entry. */
  readonly keepUntil: EpochMs
}

export interface ListOptions extends OperationOptions {
  /** `keys`: sizes and instants only where the store lists them anyway; `info`: always. */
  readonly detail: 'keys' | 'info'
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
}

/** A wrapper that adds one behaviour to a backend and keeps its contract. */
export type Layer = (inner: CacheBackend) => CacheBackend
