import fs from 'node:fs'
import path from 'node:path'
import { codeOf, isMissing } from './errors.js'

/**
 * Makes a directory and those above it that are missing; returns the ones it made, outermost first. Not `mkdir` with
 * `recursive`: where a parent is there and still nothing can be made (below /proc), Node 20's tries for ever.
 */
export async function makeDirectory(directory: string): Promise<string[]> {
  try {
    return await makeOne(directory)
  } catch (error) {
    const parent = path.dirname(directory)
    if (!isMissing(error) || parent === directory) throw error
    const above = await makeDirectory(parent)
    return [...above, ...(await makeOne(directory))]
  }
}

async function makeOne(directory: string): Promise<string[]> {
  try {
    await fs.promises.mkdir(directory)
    return [directory]
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') throw error
    if ((await fs.promises.stat(directory)).isDirectory()) return []
    throw Object.assign(new Error(`${directory} is not a directory`), { code: 'ENOTDIR' })
  }
}
