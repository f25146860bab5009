import path from 'node:path'
import { decodeEscaped, encodeCaseFolded, fitOrHash, isHashedName, type TenantScope } from '@thermocline/backend'

/*
 * The directory:
 *
 *   <basePath>/thermocline/
 *     THERMOCLINE            the marker: whose directory this is
 *     tenants/<tenant>/      one directory per tenant
 *       <key>.tc             one frame per entry; for its times see entry-file.ts
 *     tmp/                   files being written
 *     usage/                 one small file per process: what it added and removed (see usage.ts)
 *     records/               invalidations that tiers still owe (see record-log.ts)
 *     agreed/                what processes that share the directory agree about (see coordination/shared-log.ts); not counted either
 *     journal/               what is to be written back to other tiers (see journal/journal.ts); not counted in any limit
 *
 * Tenants and keys are encoded so that names stay distinct where case is folded. A name that would pass 143 bytes is
 * hashed; the frame's header holds the real one. 143 is what an encrypted home directory (eCryptfs) takes; other file systems take 255.
 * The limit is the same everywhere, so that processes that reach the directory by different mounts look for an entry under one name.
 *
 * Earlier releases hashed beyond 255 bytes. What they wrote under a name between the two is still read, replaced and removed.
 */

const SUFFIX = '.tc'
const LONGEST_NAME = 143
const LONGEST_EARLIER_NAME = 255
const LONGEST_PATH = 4095
/** `~` and a hash. */
const HASHED_LENGTH = 65
const HASHED_NAME = /^~[0-9a-f]{64}$/
/** What ends the name of a file that may get its entry's name at any moment, if other processes allow it; the log in which they do stands before it. */
const OFFERED = '.offered'
const TEMPORARY_NAME = /^[0-9a-f]{12}-[0-9a-z]+(?:\.[0-9a-f]{12}-[0-9a-z]+\.offered)?$/

export interface Layout {
  readonly basePath: string
  readonly root: string
  readonly marker: string
  readonly tenants: string
  readonly tmp: string
  readonly usage: string
  readonly records: string
  readonly journal: string
  readonly agreed: string
  /** Of a tenant's directory, and of an entry's file with its suffix: longer ones are hashed. */
  readonly longestName: number
}

export function layoutOf(basePath: string): Layout {
  const root = path.join(basePath, 'thermocline')
  const inRoot = (name: string): string => path.join(root, name)
  const tenants = inRoot('tenants')
  const fits = Buffer.byteLength(tenants) + 2 * (LONGEST_NAME + 1) <= LONGEST_PATH
  const longestName = fits ? LONGEST_NAME : HASHED_LENGTH + SUFFIX.length
  return { basePath, root, marker: inRoot('THERMOCLINE'), tenants, tmp: inRoot('tmp'), usage: inRoot('usage'), records: inRoot('records'), journal: inRoot('journal'), agreed: inRoot('agreed'), longestName }
}

export function tenantDirectory(layout: Layout, scope: TenantScope, longestName = layout.longestName): string {
  return path.join(layout.tenants, fitOrHash(scope.tenant, encodeCaseFolded(scope.tenant), longestName))
}

export function fileName(key: string, longestName = LONGEST_NAME): string {
  return fitOrHash(key, encodeCaseFolded(key), longestName - SUFFIX.length) + SUFFIX
}

/** Where an earlier release kept the tenant's entries, where that is another directory. */
export function earlierDirectory(layout: Layout, scope: TenantScope): string | undefined {
  const earlier = tenantDirectory(layout, scope, LONGEST_EARLIER_NAME)
  return earlier === tenantDirectory(layout, scope) ? undefined : earlier
}

/** Where an earlier release kept the entry, where that is another file. */
export function earlierFile(layout: Layout, scope: TenantScope, key: string): string | undefined {
  const directory = earlierDirectory(layout, scope)
  const name = fileName(key, LONGEST_EARLIER_NAME)
  if (directory !== undefined) return path.join(directory, name)
  return name === fileName(key, layout.longestName) ? undefined : path.join(tenantDirectory(layout, scope), name)
}

/** Whether a file in a tenant's directory has a name of ours: one that some key is encoded to, here or by an earlier release. */
export function isEntryName(name: string): boolean {
  if (!name.endsWith(SUFFIX)) return false
  const encoded = name.slice(0, -SUFFIX.length)
  if (isHashedName(encoded)) return HASHED_NAME.test(encoded)
  const key = decodeEscaped(encoded)
  return key !== undefined && key !== '' && !key.includes('\0') && fileName(key, LONGEST_EARLIER_NAME) === name
}

/** A name for a file being written. */
export function temporaryName(process: Buffer, count: number): string {
  return `${process.toString('hex')}-${count.toString(36)}`
}

/** Its name once other processes may allow it to get its entry's. @param log the id of the log in which they do: itself a temporary name */
export function offeredName(name: string, log: string): string {
  return `${name}.${log}${OFFERED}`
}

/** @param log of this one it is none */
export function isOfferedName(name: string, log: string): boolean {
  return isTemporaryName(name) && name.endsWith(OFFERED) && !name.endsWith(`.${log}${OFFERED}`)
}

/** Whether a file in `tmp/` has a name of ours. */
export function isTemporaryName(name: string): boolean {
  return TEMPORARY_NAME.test(name)
}

/** The key of a file name; `undefined` when only the file's header knows it. */
export function keyOfName(name: string): string | undefined {
  const encoded = name.slice(0, -SUFFIX.length)
  return isHashedName(encoded) ? undefined : decodeEscaped(encoded)
}
