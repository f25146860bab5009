import { CacheError, isCacheError, type CacheErrorCode, type CacheErrorOptions } from '@thermocline/backend'

/**
 * A failure of LevelDB in the words of the contract. None is `retryable`: what a local database refuses now, it refuses
 * again some milliseconds later. An adapter of a server would say `true` for a connection that was reset.
 */
export function levelFailure(error: unknown, options: CacheErrorOptions): CacheError {
  if (isCacheError(error)) return error
  const given = error as { readonly code?: string; readonly message?: string; readonly cause?: { readonly message?: string } }
  const reason = given.cause?.message ?? given.message ?? String(error) // why a database did not open is in the cause
  return new CacheError(codeOf(given.code, reason), `${options.operation} on level failed: ${reason}`, { ...options, cause: error })
}

function codeOf(code: string | undefined, reason: string): CacheErrorCode {
  if (code === 'LEVEL_DATABASE_NOT_OPEN') return 'unavailable'
  if (/no space left|quota exceeded/i.test(reason)) return 'storage-full'
  if (/read-only file system/i.test(reason)) return 'read-only'
  return 'failed'
}
