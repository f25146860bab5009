import { CacheError, isCacheError, type CacheErrorCode } from '@thermocline/backend'

/** Operating system errors that say the whole directory cannot be written now. */
const FULL: ReadonlySet<string> = new Set(['ENOSPC', 'EDQUOT'])
const READ_ONLY: ReadonlySet<string> = new Set(['EROFS'])
/** The disk itself fails, or whatever is mounted there does not answer. */
const BROKEN: ReadonlySet<string> = new Set(['EIO', 'ENODEV', 'ENXIO', 'ESTALE', 'ENOTCONN', 'ENOMEDIUM', 'EHOSTDOWN', 'EHOSTUNREACH', 'ETIMEDOUT', 'ECONNREFUSED', 'ECONNRESET', 'EREMOTEIO'])
/** Denied: the directory's matter when a new file is refused, one file's matter otherwise. */
const DENIED: ReadonlySet<string> = new Set(['EACCES', 'EPERM'])
/** Something that is not a file stands where an entry's file or a tenant's directory belongs. */
const NOT_A_FILE: ReadonlySet<string> = new Set(['EISDIR', 'ENOTDIR', 'ESPIPE', 'ENXIO', 'ELOOP'])
/** No file can have such a name there. */
const NO_NAME: ReadonlySet<string> = new Set(['ENAMETOOLONG'])
/** What `link` says on FAT and some network mounts. */
export const NO_HARD_LINKS: ReadonlySet<string> = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS'])
/** The process, or the machine, has no descriptors left. */
const OUT_OF_FILES: ReadonlySet<string> = new Set(['EMFILE', 'ENFILE'])
/** Over soon: worth one more attempt. */
const PASSING: ReadonlySet<string> = new Set(['EAGAIN', 'EBUSY', 'EINTR'])
/** Not the directory's matter even where everything else is. */
const OF_THIS_ENTRY: ReadonlySet<string> = new Set(['EFBIG', 'EOVERFLOW', ...OUT_OF_FILES, ...PASSING])

export function codeOf(error: unknown): string | undefined {
  return typeof error === 'object' && error !== null && 'code' in error ? String(error.code) : undefined
}

export function isMissing(error: unknown): boolean {
  return codeOf(error) === 'ENOENT'
}

export function isFull(error: unknown): boolean {
  return FULL.has(codeOf(error) ?? '')
}

/** Whether there cannot be a file of that name. */
export function isNoName(error: unknown): boolean {
  return NO_NAME.has(codeOf(error) ?? '')
}

export function isOutOfFiles(error: unknown): boolean {
  return OUT_OF_FILES.has(codeOf(error) ?? '')
}

/** Whether nothing at all can be changed now: trying the next file is of no use. */
export function isWholeStore(error: unknown): boolean {
  return READ_ONLY.has(codeOf(error) ?? '')
}

export function isNotAFile(error: unknown): boolean {
  return NOT_A_FILE.has(codeOf(error) ?? '')
}

export function isDenied(error: unknown): boolean {
  return DENIED.has(codeOf(error) ?? '')
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
    concerns: concernsTier(code, wholeDirectory) ? 'tier' : 'key',
    cause: error,
  })
}

/** Few failures say anything of other entries; what is not known to, does not. */
function concernsTier(code: string, wholeDirectory: boolean): boolean {
  if (FULL.has(code) || READ_ONLY.has(code)) return true
  if (BROKEN.has(code)) return wholeDirectory || !NOT_A_FILE.has(code)
  return wholeDirectory && !OF_THIS_ENTRY.has(code)
}

/** Where it happened, as the file system says. */
function pathOf(error: unknown): string {
  const path = (error as { readonly path?: unknown } | null)?.path
  return typeof path === 'string' ? ` at ${path}` : ''
}

function meaning(code: string, wholeDirectory: boolean): CacheErrorCode {
  if (FULL.has(code)) return 'storage-full'
  if (wholeDirectory && cannotBeMade(code)) return 'unavailable'
  if (READ_ONLY.has(code) || (wholeDirectory && DENIED.has(code))) return 'read-only'
  if (code === 'EACCES') return 'access-denied'
  if (code === 'EFBIG') return 'too-large'
  return NOT_A_FILE.has(code) ? 'foreign' : 'failed'
}

function cannotBeMade(code: string): boolean {
  return NOT_A_FILE.has(code) || NO_NAME.has(code) || code === 'ENOENT'
}

function advice(code: string, wholeDirectory: boolean): string {
  if (wholeDirectory && NO_NAME.has(code)) return ' (its path is too long: give the fs tier a shorter basePath)'
  if (wholeDirectory && cannotBeMade(code)) return ' (the directory cannot be made there: check basePath)'
  if (FULL.has(code)) return ' (no space left: free some, or give the fs tier a smaller maxBytes)'
  if (READ_ONLY.has(code)) return ' (the file system is mounted read-only)'
  if (DENIED.has(code)) return ACCESS_ADVICE
  if (OUT_OF_FILES.has(code)) return ' (no file could be opened for seconds: raise the limit of open files, ulimit -n, or close what the process does not need)'
  return ''
}

/** What to do where something may not be read or written. */
export const ACCESS_ADVICE = " (check its owner and mode; where several users share the directory, all of them need access: 'group')"
