import { CacheError, isCacheError, type CacheErrorCode, type CacheErrorOptions } from '@thermocline/core'

/**
 * A failure of LevelDB in the words of the contract. None is `retryable`: what a local database refuses now, it refuses
 * again some milliseconds later. An adapter of a server would say `true` for a connection that was reset.
 */
export function levelFailure(error: unknown, options: CacheErrorOptions): CacheError {
  if (isCacheError(error)) return error
  const reason = rootOf(error)
  return new CacheError(codeOf(reason), `${options.operation} on level failed: ${String(reason.message)}`, { ...options, cause: error })
}

function codeOf(reason: LevelError): CacheErrorCode {
  const message = String(reason.message)
  if (reason.code === 'LEVEL_LOCKED' || reason.code === 'LEVEL_DATABASE_NOT_OPEN') return 'unavailable'
  if (/no space left|quota exceeded/i.test(message)) return 'storage-full'
  if (/read-only file system/i.test(message)) return 'read-only'
  return 'failed'
}

interface LevelError {
  readonly code?: unknown
  readonly message?: unknown
  readonly cause?: unknown
}

/** Why a database did not open stands in the cause of what its operations say. */
function rootOf(error: unknown): LevelError {
  if (typeof error !== 'object' || error === null) return { message: error }
  const { cause } = error as LevelError
  return typeof cause === 'object' && cause !== null ? cause : error
}
