import { CacheError, isCacheError, type CacheErrorCode } from '@thermocline/core'

/** Operating system errors that say the whole directory cannot be written now. */
const FULL: ReadonlySet<string> = new Set(['ENOSPC', 'EDQUOT'])
const READ_ONLY: ReadonlySet<string> = new Set(['EROFS'])
/** Denied: the directory's matter when a new file is refused, one file's matter otherwise. */
const DENIED: ReadonlySet<string> = new Set(['EACCES', 'EPERM'])
/** Something that is not a file stands where an entry's file or a tenant's directory belongs. */
const NOT_A_FILE: ReadonlySet<string> = new Set(['EISDIR', 'ENOTDIR', 'ESPIPE', 'ENXIO', 'ELOOP'])
/** What `link` says on FAT and some network mounts. */
export const NO_HARD_LINKS: ReadonlySet<string> = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS'])
/** Over soon: worth one more attempt. */
const PASSING: ReadonlySet<string> = new Set(['EMFILE', 'ENFILE', 'EAGAIN', 'EBUSY', 'EINTR'])

export function codeOf(error: unknown): string | undefined {
  return typeof error === 'object' && error !== null && 'code' in error ? String(error.code) : undefined
}

export function isMissing(error: unknown): boolean {
  return codeOf(error) === 'ENOENT'
}

/** Whether nothing at all can be changed now: trying the next file is of no use. */
export function isWholeStore(error: unknown): boolean {
  return READ_ONLY.has(codeOf(error) ?? '')
}

export function isNotAFile(error: unknown): boolean {
  return NOT_A_FILE.has(codeOf(error) ?? '')
}

/**
 * What a file system error means for the cache.
 *
 * @param wholeDirectory whether being denied concerns every write, not one file
 */
export function asFsError(error: unknown, operation: string, key: string | undefined, wholeDirectory = false): CacheError {
  if (isCacheError(error)) return error
  const code = codeOf(error) ?? 'unknown error'
  return new CacheError(meaning(code, wholeDirectory), `${operation} on the cache directory failed: ${code}${pathOf(error)}${advice(code, wholeDirectory)}`, {
    operation,
    backend: 'fs',
    key,
    retryable: PASSING.has(code),
    cause: error,
  })
}

/** Where it happened, as the file system says. */
function pathOf(error: unknown): string {
  const path = (error as { readonly path?: unknown } | null)?.path
  return typeof path === 'string' ? ` at ${path}` : ''
}

function meaning(code: string, wholeDirectory: boolean): CacheErrorCode {
  if (FULL.has(code)) return 'storage-full'
  if (wholeDirectory && (NOT_A_FILE.has(code) || code === 'ENOENT')) return 'unavailable'
  if (READ_ONLY.has(code) || (wholeDirectory && DENIED.has(code))) return 'read-only'
  return NOT_A_FILE.has(code) ? 'foreign' : 'failed'
}

function advice(code: string, wholeDirectory: boolean): string {
  if (wholeDirectory && (NOT_A_FILE.has(code) || code === 'ENOENT')) return ' (the directory cannot be made there: check basePath)'
  if (FULL.has(code)) return ' (no space left: free some, or give the fs tier a smaller maxBytes)'
  if (READ_ONLY.has(code)) return ' (the file system is mounted read-only)'
  if (DENIED.has(code)) return ' (check the owner and mode of the directory)'
  return ''
}
