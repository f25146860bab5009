import fs from 'node:fs'
import path from 'node:path'
import { withFiles } from '../disk.js'
import { isMissing, isNotAFile } from '../errors.js'
import { isUnfinished, parseCopyName, type CopyName } from './copy-name.js'
import type { OwnDirectories, OwnDirectory } from './own-directories.js'
import { ownerOf, type Owner } from './owner.js'

/** A directory of a process in the journal. */
export interface Found extends Owner {
  readonly name: string
  /** Changes for as long as its process lives. To be compared with itself only: whose clock it is of nobody knows. */
  readonly beat: number
}

/** A copy that has been taken up and is not read yet. */
export interface Unread extends CopyName {
  readonly directory: OwnDirectory
  readonly name: string
}

/** The directories in the journal. Throws the file system's error. */
export function directoriesIn(root: string): Found[] {
  return namesIn(root).flatMap((name) => {
    const owner = ownerOf(name)
    const stats = owner && fs.lstatSync(path.join(root, name), { throwIfNoEntry: false })
    return owner !== undefined && stats?.isDirectory() === true ? [{ ...owner, name, beat: stats.mtimeMs }] : []
  })
}

/**
 * Takes up what a process left that is gone, as a whole: of several that try at the same moment one gets it. Whoever lived after all
 * finds its directory gone, not half empty. `undefined`: another was faster. Throws the file system's error.
 */
export function takeUp(own: OwnDirectories, { name, id }: Found): Unread[] | undefined {
  let directory: OwnDirectory
  try {
    directory = own.adopt(name, id)
  } catch (error) {
    if (isMissing(error)) return undefined
    throw error
  }
  const copies: Unread[] = []
  for (const file of namesIn(directory.path)) {
    const copy = parseCopyName(file)
    if (copy !== undefined) copies.push({ ...copy, directory, name: file })
    else if (isUnfinished(file)) fs.rmSync(path.join(directory.path, file), { force: true })
  }
  return copies
}

/** The highest sequence of a copy in a directory; `undefined`: there is none. Rejects with the file system's error. */
export async function highestIn(directory: string): Promise<number | undefined> {
  let names: string[]
  try {
    names = await withFiles({}, () => fs.promises.readdir(directory))
  } catch (error) {
    if (isMissing(error) || isNotAFile(error)) return undefined
    throw error
  }
  return highestOf(names)
}

/** The same at once. */
export function highestNow(directory: string): number | undefined {
  return highestOf(namesIn(directory))
}

function highestOf(names: readonly string[]): number | undefined {
  let highest: number | undefined
  for (const name of names) {
    const sequence = parseCopyName(name)?.sequence
    if (sequence !== undefined && sequence > (highest ?? -1)) highest = sequence
  }
  return highest
}

function namesIn(directory: string): string[] {
  try {
    return fs.readdirSync(directory)
  } catch (error) {
    if (isMissing(error) || isNotAFile(error)) return []
    throw error
  }
}
