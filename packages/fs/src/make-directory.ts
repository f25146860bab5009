import fs from 'node:fs'
import path from 'node:path'
import { isWithin, type Modes } from './access.js'
import { codeOf, isMissing } from './errors.js'

/** Directories at or below `root` are the cache's own and get its modes; those above are made as the process makes its own. */
export interface OwnDirectories {
  readonly root: string
  readonly modes: Modes
}

/**
 * Makes a directory and those above it that are missing; returns the ones it made, outermost first. Not `mkdir` with
 * `recursive`: where a parent is there and still nothing can be made (below /proc), Node 20's tries for ever.
 */
export async function makeDirectory(directory: string, own: OwnDirectories): Promise<string[]> {
  try {
    return await makeOne(directory, own)
  } catch (error) {
    const parent = path.dirname(directory)
    if (!isMissing(error) || parent === directory) throw error
    const above = await makeDirectory(parent, own)
    return [...above, ...(await makeOne(directory, own))]
  }
}

/** The same at once, for one directory; false where it is there. */
export function makeDirectoryNow(directory: string, modes: Modes): boolean {
  try {
    fs.mkdirSync(directory, modes.directory)
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') throw error
    return false
  }
  try {
    fs.chmodSync(directory, modes.directory)
  } catch {
    // a file system without modes
  }
  return true
}

async function makeOne(directory: string, { root, modes }: OwnDirectories): Promise<string[]> {
  const isOurs = isWithin(directory, root)
  try {
    await fs.promises.mkdir(directory, isOurs ? modes.directory : undefined)
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') throw error
    await checkDirectory(directory)
    return []
  }
  // the umask has had its say in mkdir; some file systems have no modes
  if (isOurs) await fs.promises.chmod(directory, modes.directory).catch(() => undefined)
  return [directory]
}

/** @throws an error with `ENOTDIR` where something else is, also a link to nowhere; with `ENOENT` where it has gone meanwhile */
async function checkDirectory(directory: string): Promise<void> {
  const stats = await fs.promises.stat(directory).catch(() => undefined)
  if (stats?.isDirectory() === true) return
  await fs.promises.lstat(directory)
  throw Object.assign(new Error(`${directory} is not a directory`), { code: 'ENOTDIR', path: directory })
}
