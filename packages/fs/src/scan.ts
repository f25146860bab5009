import fs from 'node:fs'
import path from 'node:path'
import type { OperationOptions } from '@thermocline/backend'
import { sharedDisk } from './disk.js'
import { timesOf, type FileTimes } from './entry-file.js'
import { isMissing } from './errors.js'
import { namesIfThere } from './file-io.js'
import { isEntryName, type Layout } from './layout.js'

/** One entry's file as a scan sees it, without opening it. */
export interface ScannedFile {
  readonly path: string
  readonly bytes: number
  readonly times: FileTimes
  /** False for a directory, a link or anything else that is not ours. */
  readonly isFile: boolean
}

/** Told of what a scan meets. */
export interface ScanVisitor {
  entry(file: ScannedFile, directory: string): void
  /** A tenant's directory, after its entries; `empty`: nothing at all is in it. */
  directory(directory: string, bytes: number, empty: boolean): void
  progress(): void
}

const STATS_AT_ONCE = 32
const NO_OPTIONS: OperationOptions = {}

/** The names in a directory, in a turn of the disk; none when it does not exist. */
export function namesIn(directory: string): Promise<string[]> {
  return sharedDisk().turns.during(NO_OPTIONS, () => namesIfThere(directory), true)
}

/** Stats files a few at a time; those that are gone meanwhile are left out. */
export async function* statAll(directory: string, names: readonly string[]): AsyncIterable<ScannedFile> {
  for (let at = 0; at < names.length; at += STATS_AT_ONCE) {
    const paths = names.slice(at, at + STATS_AT_ONCE).map((name) => path.join(directory, name))
    const stats = await sharedDisk().turns.during(NO_OPTIONS, () => Promise.all(paths.map((file) => statFile(file, fs.promises.lstat))), true)
    for (const [place, file] of paths.entries()) {
      const stat = stats[place]
      if (stat !== undefined) yield { path: file, bytes: stat.size, times: timesOf(stat), isFile: stat.isFile() }
    }
  }
}

/** Visits every entry's file and returns what `du -sb basePath` would say of our part: files and directories. */
export async function scan(layout: Layout, visitor: ScanVisitor): Promise<number> {
  let bytes = (await sizeOf(layout.basePath)) + (await sizeOf(layout.root)) + (await sizeOf(layout.tenants)) + (await sizeOf(layout.marker))
  for (const directory of [layout.tmp, layout.usage, layout.records]) {
    bytes += await sizeOf(directory)
    for await (const file of statAll(directory, await namesIn(directory))) bytes += file.bytes
  }
  for (const tenant of await namesIn(layout.tenants)) {
    const directory = path.join(layout.tenants, tenant)
    const names = await filesIn(directory)
    let looked = 0
    for await (const file of statAll(directory, names ?? [])) {
      bytes += file.bytes
      if (file.isFile && isEntryName(path.basename(file.path))) visitor.entry(file, directory)
      if (++looked % STATS_AT_ONCE === 0) visitor.progress()
    }
    const own = await sizeOf(directory)
    bytes += own
    if (names !== undefined) visitor.directory(directory, own, names.length === 0)
    visitor.progress()
  }
  return bytes
}

/** The size of a file or directory itself; 0 when it does not exist. */
export async function sizeOf(file: string): Promise<number> {
  return (await statFile(file))?.size ?? 0
}

async function filesIn(directory: string): Promise<string[] | undefined> {
  try {
    return await namesIn(directory)
  } catch {
    return undefined // not a directory: somebody else's, left alone
  }
}

async function statFile(file: string, stat: (file: string) => Promise<fs.Stats> = fs.promises.stat): Promise<fs.Stats | undefined> {
  try {
    return await stat(file)
  } catch (error) {
    if (isMissing(error)) return undefined
    throw error
  }
}
