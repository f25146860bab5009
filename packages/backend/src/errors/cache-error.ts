import { plainCause, scrubbed } from './plain-cause.js'

/**
 * What went wrong, stable across versions:
 *
 * - `timeout`: the backend made no progress within its budget
 * - `unavailable`: the backend cannot be reached (refused, reset, not ready)
 * - `circuit-open`: not asked, because the tier's circuit breaker is open
 * - `busy`: not asked, because more operations waited for the tier than it could take in time; nothing is wrong with the store
 * - `in-doubt`: not applied, because an earlier operation on the same key has outlived its budget and may still land
 * - `storage-full`: no space or memory is left for writes; reads and deletes go on
 * - `read-only`: the store refuses every change
 * - `access-denied`: the store refuses our credentials, or what we may do is not enough
 * - `bucket-missing`: the bucket does not exist
 * - `wrong-region`: the bucket is in another region than the client asks
 * - `clock-skew`: this machine's clock is too far off for the store to trust its signatures
 * - `throttled`: the store asks for fewer requests; tried again, with jitter, while the budget lasts
 * - `archived`: the object is in a storage class that has to be restored before it can be read; a miss
 * - `misconfigured`: the store's own settings differ from what was expected; told, never changed
 * - `corrupt`: stored data under our own mark failed its checksum
 * - `foreign`: stored data is not ours, or of a version or codec this release does not know
 * - `not-encodable`: the codec cannot represent the value
 * - `too-large`: no tier that was to hold the value takes one of its size
 * - `compute-timeout`: a compute took longer than its `hardTimeout`; its result was dropped
 * - `circular`: a compute asked for a key that is being computed from what it makes itself; waiting for it would never end
 * - `not-recorded`: an invalidation could neither be applied nor recorded for later
 * - `not-confirmed`: an invalidation that was to be confirmed is recorded, and not done everywhere yet
 * - `closed`: the cache has been closed
 * - `failed`: anything else the backend reported
 */
export type CacheErrorCode =
  | 'timeout'
  | 'unavailable'
  | 'circuit-open'
  | 'busy'
  | 'in-doubt'
  | 'storage-full'
  | 'read-only'
  | 'access-denied'
  | 'bucket-missing'
  | 'wrong-region'
  | 'clock-skew'
  | 'throttled'
  | 'archived'
  | 'misconfigured'
  | 'corrupt'
  | 'foreign'
  | 'not-encodable'
  | 'too-large'
  | 'compute-timeout'
  | 'circular'
  | 'not-recorded'
  | 'not-confirmed'
  | 'closed'
  | 'failed'

export interface CacheErrorOptions {
  /** What was attempted: `get`, `put`, `delete`, `clear`, `list`, `stats`, `encode`, ... */
  readonly operation: string
  /** The name of the backend, where one was involved. */
  readonly backend?: string | undefined
  readonly tenant?: string | undefined
  readonly key?: string | undefined
  /** Whether the same operation may succeed when tried again at once. Only an adapter says `true`. */
  readonly retryable?: boolean | undefined
  /** What was thrown. The error has a plain copy of it: see {@link plainCause}. */
  readonly cause?: unknown
  /** What the failure speaks of; see {@link CacheError.concerns}. Default `'tier'`. */
  readonly concerns?: 'key' | 'tier' | undefined
  /** See {@link CacheError.landsWithinMs}. */
  readonly landsWithinMs?: number | undefined
  /** Settles when the operation behind a `timeout` has really ended; see {@link CacheError.settled}. */
  readonly settled?: Promise<unknown> | undefined
}

/**
 * A failing store or an operation that could not be carried out. Mistakes in arguments are `TypeError`s instead.
 *
 * Its `cause` is another `CacheError`, or a plain `Error` with name, message, code and stack of what was thrown: nothing of a client, and
 * no secret that can be told by its looks. So it can be logged whole.
 */
export class CacheError extends Error {
  readonly code: CacheErrorCode
  readonly operation: string
  readonly backend: string | undefined
  readonly tenant: string | undefined
  readonly key: string | undefined
  readonly retryable: boolean
  /**
   * What the failure speaks of. `'key'`: of this entry alone, such as a file that may not be read; other keys of the tier are
   * not affected, and it says nothing of the tier's health. `'tier'`: of the store, as far as the adapter knows. Only an adapter
   * says `'key'`.
   */
  readonly concerns: 'key' | 'tier'
  /**
   * For `timeout`: settles when the abandoned operation has ended in the backend. Until then a write may still land,
   * which is why the manager keeps its key in doubt.
   */
  readonly settled: Promise<unknown> | undefined
  /**
   * For a change that was sent and never answered: for how many milliseconds the store may still carry it out, as a proxy or a busy server does with
   * what lies in its queue. The manager keeps the key in doubt for so long. Only an adapter says it; absent: it will not.
   */
  readonly landsWithinMs: number | undefined

  constructor(code: CacheErrorCode, message: string, options: CacheErrorOptions) {
    super(scrubbed(message), options.cause === undefined ? undefined : { cause: isCacheError(options.cause) ? options.cause : plainCause(options.cause) })
    this.name = 'CacheError'
    this.code = code
    this.operation = options.operation
    this.backend = options.backend
    this.tenant = options.tenant
    this.key = options.key
    this.retryable = options.retryable ?? false
    this.concerns = options.concerns ?? 'tier'
    this.settled = options.settled
    this.landsWithinMs = options.landsWithinMs
  }
}

/** True for a `CacheError`, also one made by another copy of this package. */
export function isCacheError(error: unknown): error is CacheError {
  try {
    return typeof error === 'object' && error !== null && (error as { name?: unknown }).name === 'CacheError' && 'code' in error
  } catch {
    return false // a revoked proxy, or one whose getters throw
  }
}

/** Wraps whatever a backend threw into a `CacheError`; one that already is passes unchanged. */
export function asCacheError(error: unknown, options: CacheErrorOptions): CacheError {
  if (isCacheError(error)) return error
  const where = options.backend === undefined ? '' : ` on ${options.backend}`
  return new CacheError('failed', `${options.operation}${where} failed: ${messageOf(error)}`, { ...options, cause: error })
}

/** What something thrown has to say, whatever it is and whichever realm it is from. Never throws itself. */
export function messageOf(thrown: unknown): string {
  try {
    return typeof thrown === 'object' && thrown !== null && 'message' in thrown ? String(thrown.message) : String(thrown)
  } catch {
    return 'something that does not say what it is' // without a prototype, or whose getters throw
  }
}
