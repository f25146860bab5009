import { readdir, readFile } from 'node:fs/promises'
import path from 'node:path'

export interface Document {
  /** Relative to the directory that was read. */
  readonly name: string
  readonly text: string
}

const TEXT_FILE = /\.(?:md|mdx|txt|rst|adoc)$/i
const SKIPPED = new Set(['node_modules', 'dist', '.git', '.turbo', '.cache', '.thermocline'])

/** All text documents below a directory, in the order of their names. */
export async function readDocuments(directory: string): Promise<Document[]> {
  const names = (await namesBelow(directory)).sort()
  return Promise.all(names.map(async (name) => ({ name: path.relative(directory, name), text: await readFile(name, 'utf8') })))
}

async function namesBelow(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { withFileTypes: true })
  const files = entries.filter((entry) => entry.isFile() && TEXT_FILE.test(entry.name)).map((entry) => path.join(directory, entry.name))
  const folders = entries.filter((entry) => entry.isDirectory() && !SKIPPED.has(entry.name))
  const nested = await Promise.all(folders.map((folder) => namesBelow(path.join(directory, folder.name))))
  return [...files, ...nested.flat()]
}
