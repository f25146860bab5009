import fs from 'node:fs'
import path from 'node:path'
import { fileName, layoutOf, tenantDirectory } from '../../src/layout.js'
import { scopeOf } from './shelf.js'

/** Where a backend on the directory keeps an entry. */
export function entryFile(basePath: string, tenant: string, key: string): string {
  const layout = layoutOf(basePath)
  return path.join(tenantDirectory(layout, scopeOf(tenant)), fileName(key, layout.longestName))
}

/** Changes a byte of an entry's payload, and leaves the file's times as they were. */
export function damageFile(file: string): void {
  const { size, atime, mtime } = fs.statSync(file)
  const bytes = fs.readFileSync(file)
  const at = size > 10_000 ? Math.floor(size / 2) : size - 1 // a streamed entry ends with a trailer
  bytes[at] = (bytes[at] as number) ^ 1
  fs.writeFileSync(file, bytes)
  fs.utimesSync(file, atime, mtime)
}
