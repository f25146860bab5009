import path from 'node:path'
import { decodeEscaped, encodeCaseFolded, fitOrHash, isHashedName, type TenantScope } from '@thermocline/core'

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
 *     journal/               what is to be written back to other tiers (see journal/journal.ts); not counted in any limit
 *
 * Tenants and keys are encoded so that names stay distinct where case is folded. A name that would pass 255 bytes is
 * hashed; the frame's header holds the real one.
 */

const SUFFIX = '.tc'
const LONGEST_NAME = 255
const HASHED_NAME = /^~[0-9a-f]{64}$/
const TEMPORARY_NAME = /^[0-9a-f]{12}-[0-9a-z]+$/

export interface Layout {
  readonly basePath: string
  readonly root: string
  readonly marker: string
  readonly tenants: string
  readonly tmp: string
  readonly usage: string
  readonly records: string
  readonly journal: string
}

export function layoutOf(basePath: string): Layout {
  const root = path.join(basePath, 'thermocline')
  const inRoot = (name: string): string => path.join(root, name)
  return { basePath, root, marker: inRoot('THERMOCLINE'), tenants: inRoot('tenants'), tmp: inRoot('tmp'), usage: inRoot('usage'), records: inRoot('records'), journal: inRoot('journal') }
}

export function tenantDirectory(layout: Layout, scope: TenantScope): string {
  return path.join(layout.tenants, fitOrHash(scope.tenant, encodeCaseFolded(scope.tenant), LONGEST_NAME))
}

export function fileName(key: string): string {
  return fitOrHash(key, encodeCaseFolded(key), LONGEST_NAME - SUFFIX.length) + SUFFIX
}

/** Whether a file in a tenant's directory has a name of ours: one that some key is encoded to. */
export function isEntryName(name: string): boolean {
  if (!name.endsWith(SUFFIX)) return false
  const encoded = name.slice(0, -SUFFIX.length)
  if (isHashedName(encoded)) return HASHED_NAME.test(encoded)
  const key = decodeEscaped(encoded)
  return key !== undefined && key !== '' && !key.includes('\0') && fileName(key) === name
}

/** A name for a file being written. */
export function temporaryName(process: Buffer, count: number): string {
  return `${process.toString('hex')}-${count.toString(36)}`
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
