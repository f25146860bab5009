import path from 'node:path'
import { checkKnown, positiveDurationMs, type Duration } from '@thermocline/backend'
import type { Access } from './access.js'

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
  /**
   * The largest stored entry, in bytes, that a `get` takes into memory; a larger one is a miss, and reported as `too-large`. As a stream it can be
   * read all the same. Default 1 GiB.
   */
  readonly maxBufferedBytes?: number | undefined
  /**
   * Who may read and change what is kept on the disk, whatever the process's umask is. `'private'`: only the user of the process (directories 0700,
   * files 0600). `'group'`: everybody in the group of the directory too (2770, 0660), for processes of several users that share it; all of
   * them have to say so. Default `'private'`.
   */
  readonly access?: Access | undefined
  /** Whether a write or delete is on the disk, not only in the operating system, before it counts: survives power loss. Default false. */
  readonly fsync?: boolean | undefined
}

export interface CheckedOptions {
  readonly basePath: string
  readonly maxBytes: number
  readonly maxBufferedBytes: number
  readonly access: Access
  readonly cleanupIntervalMs: number
  readonly fsync: boolean
}

/** Directories and bookkeeping alone take some 30 kB. */
const LEAST_MAX_BYTES = 64 * 1024
const DEFAULT_MAX_BUFFERED_BYTES = 1024 ** 3

const KNOWN: Readonly<Record<keyof FileSystemBackendOptions, true>> = { basePath: true, maxBytes: true, cleanupInterval: true, maxBufferedBytes: true, access: true, fsync: true }

/** @throws TypeError that names the option, the value and the rule; for an unknown option, what was probably meant */
export function checkOptions(options: FileSystemBackendOptions): CheckedOptions {
  if (typeof options === 'object' && options !== null) checkKnown(options, Object.keys(KNOWN), 'new FileSystemBackend(options)')
  const { basePath, maxBytes, maxBufferedBytes = DEFAULT_MAX_BUFFERED_BYTES, access = 'private', cleanupInterval = '1h', fsync = false } = (options ?? {}) as Partial<FileSystemBackendOptions>
  if (typeof basePath !== 'string' || basePath === '' || basePath.includes('\0')) {
    throw new TypeError(`basePath must be the path of a directory, not ${typeof basePath === 'string' ? JSON.stringify(basePath) : typeof basePath}`)
  }
  if (maxBytes !== undefined && maxBytes !== Number.POSITIVE_INFINITY && !(typeof maxBytes === 'number' && Number.isInteger(maxBytes) && maxBytes >= LEAST_MAX_BYTES)) {
    throw new TypeError(`maxBytes must be a whole number of at least ${LEAST_MAX_BYTES}, not ${typeof maxBytes === 'number' ? maxBytes : typeof maxBytes}`)
  }
  if (!(typeof maxBufferedBytes === 'number' && Number.isInteger(maxBufferedBytes) && maxBufferedBytes > 0)) {
    throw new TypeError(`maxBufferedBytes must be a whole number above 0, not ${typeof maxBufferedBytes === 'number' ? maxBufferedBytes : typeof maxBufferedBytes}`)
  }
  if (access !== 'private' && access !== 'group') throw new TypeError(`access must be 'private' or 'group', not ${typeof access === 'string' ? JSON.stringify(access) : typeof access}`)
  if (typeof fsync !== 'boolean') throw new TypeError(`fsync must be true or false, not ${typeof fsync}`)
  return {
    basePath: path.resolve(basePath),
    maxBytes: maxBytes ?? Number.POSITIVE_INFINITY,
    maxBufferedBytes,
    access,
    cleanupIntervalMs: positiveDurationMs(cleanupInterval, 'cleanupInterval'),
    fsync,
  }
}
