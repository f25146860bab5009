import fs from 'node:fs'
import path from 'node:path'
import { isMissing } from './errors.js'
import { isEntryName, type Layout } from './layout.js'

/** One entry's file as a scan sees it, without opening it. */
export interface ScannedFile {
  readonly path: string
  readonly bytes: number
  /** Last use, in epoch milliseconds. */
  readonly usedAt: number
  readonly mtimeMs: number
}

const STATS_AT_ONCE = 64

/** The names in a directory; none when it does not exist. */
export async function namesIn(directory: string): Promise<string[]> {
  try {
    return await fs.promises.readdir(directory)
  } catch (error) {
    if (isMissing(error)) return []
    throw error
  }
}

/** Stats files a few at a time; those that are gone meanwhile are left out. */
export async function* statAll(directory: string, names: readonly string[]): AsyncIterable<ScannedFile> {
  for (let at = 0; at < names.length; at += STATS_AT_ONCE) {
    const paths = names.slice(at, at + STATS_AT_ONCE).map((name) => path.join(directory, name))
    const stats = await Promise.all(paths.map((file) => statFile(file)))
    for (const [place, file] of paths.entries()) {
      const stat = stats[place]
      if (stat !== undefined) yield { path: file, bytes: stat.size, usedAt: stat.atimeMs, mtimeMs: stat.mtimeMs }
    }
  }
}

/** Visits every entry's file and returns what `du -sb basePath` would say of our part: files and directories. */
export async function scan(layout: Layout, onEntry: (file: ScannedFile, directory: string) => void, onProgress: () => void): Promise<number> {
  let bytes = (await sizeOf(layout.basePath)) + (await sizeOf(layout.root)) + (await sizeOf(layout.tenants)) + (await sizeOf(layout.marker))
  for (const directory of [layout.tmp, layout.usage, layout.records]) {
    bytes += await sizeOf(directory)
    for await (const file of statAll(directory, await namesIn(directory))) bytes += file.bytes
  }
  for (const tenant of await namesIn(layout.tenants)) {
    const directory = path.join(layout.tenants, tenant)
    bytes += await sizeOf(directory)
    let looked = 0
    for await (const file of statAll(directory, await filesIn(directory))) {
      bytes += file.bytes
      if (isEntryName(path.basename(file.path))) onEntry(file, directory)
      if (++looked % STATS_AT_ONCE === 0) onProgress()
    }
  }
  return bytes
}

/** The size of a file or directory itself; 0 when it does not exist. */
export async function sizeOf(file: string): Promise<number> {
  return (await statFile(file))?.size ?? 0
}

async function filesIn(directory: string): Promise<string[]> {
  try {
    return await namesIn(directory)
  } catch {
    return [] // not a directory: somebody else's, left alone
  }
}

async function statFile(file: string): Promise<fs.Stats | undefined> {
  try {
    return await fs.promises.stat(file)
  } catch (error) {
    if (isMissing(error)) return undefined
    throw error
  }
}
