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
 * - `circular`: a compute asked for a key that is being computed from what it makes itself; waiting for it would never end
 * - `not-recorded`: an invalidation could neither be applied nor recorded for later
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
  | 'circular'
  | 'not-recorded'
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
  readonly cause?: unknown
  /** Settles when the operation behind a `timeout` has really ended; see {@link CacheError.settled}. */
  readonly settled?: Promise<unknown> | undefined
}

/** A failing store or an operation that could not be carried out. Mistakes in arguments are `TypeError`s instead. */
export class CacheError extends Error {
  readonly code: CacheErrorCode
  readonly operation: string
  readonly backend: string | undefined
  readonly tenant: string | undefined
  readonly key: string | undefined
  readonly retryable: boolean
  /**
   * For `timeout`: settles when the abandoned operation has ended in the backend. Until then a write may still land,
   * which is why the manager keeps its key in doubt.
   */
  readonly settled: Promise<unknown> | undefined

  constructor(code: CacheErrorCode, message: string, options: CacheErrorOptions) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'CacheError'
    this.code = code
    this.operation = options.operation
    this.backend = options.backend
    this.tenant = options.tenant
    this.key = options.key
    this.retryable = options.retryable ?? false
    this.settled = options.settled
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

/** What something thrown has to say, whatever it is and whichever realm it is from. */
export function messageOf(thrown: unknown): string {
  try {
    return typeof thrown === 'object' && thrown !== null && 'message' in thrown ? String(thrown.message) : String(thrown)
  } catch {
    return 'something that does not say what it is' // without a prototype, or whose getters throw
  }
}
