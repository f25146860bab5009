import path from 'node:path'
import { positiveDurationMs, type Duration } from '@thermocline/core'

export interface FileSystemBackendOptions {
  /** An existing or new directory. The backend owns only `<basePath>/thermocline/` in it. */
  readonly basePath: string
  /**
   * The most bytes of `du -sb basePath`, for all processes that share the directory together: entries, directories,
   * temporary files and the backend's own files, but not the journal of write-back, which has a limit of its own. Least
   * recently used out first. Default: no limit.
   */
  readonly maxBytes?: number | undefined
  /** How often expired entries and leftovers of crashed writes are removed. Default `'1h'`. */
  readonly cleanupInterval?: Duration | undefined
  /** Whether a write or delete is on the disk, not only in the operating system, before it counts: survives power loss. Default false. */
  readonly fsync?: boolean | undefined
}

export interface CheckedOptions {
  readonly basePath: string
  readonly maxBytes: number
  readonly cleanupIntervalMs: number
  readonly fsync: boolean
}

/** Directories and bookkeeping alone take some 30 kB. */
const LEAST_MAX_BYTES = 64 * 1024

/** @throws TypeError that names the option, the value and the rule */
export function checkOptions(options: FileSystemBackendOptions): CheckedOptions {
  const { basePath, maxBytes, cleanupInterval = '1h', fsync = false } = (options ?? {}) as Partial<FileSystemBackendOptions>
  if (typeof basePath !== 'string' || basePath === '' || basePath.includes('\0')) {
    throw new TypeError(`basePath must be the path of a directory, not ${typeof basePath === 'string' ? JSON.stringify(basePath) : typeof basePath}`)
  }
  if (maxBytes !== undefined && maxBytes !== Number.POSITIVE_INFINITY && !(typeof maxBytes === 'number' && Number.isInteger(maxBytes) && maxBytes >= LEAST_MAX_BYTES)) {
    throw new TypeError(`maxBytes must be a whole number of at least ${LEAST_MAX_BYTES}, not ${typeof maxBytes === 'number' ? maxBytes : typeof maxBytes}`)
  }
  if (typeof fsync !== 'boolean') throw new TypeError(`fsync must be true or false, not ${typeof fsync}`)
  return {
    basePath: path.resolve(basePath),
    maxBytes: maxBytes ?? Number.POSITIVE_INFINITY,
    cleanupIntervalMs: positiveDurationMs(cleanupInterval, 'cleanupInterval'),
    fsync,
  }
}
