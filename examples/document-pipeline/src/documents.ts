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
  const entries = await readdir(directory, { withFileTypes: true, recursive: true })
  const names = entries
    .filter((entry) => entry.isFile() && TEXT_FILE.test(entry.name))
    .map((entry) => path.relative(directory, path.join(entry.parentPath ?? entry.path, entry.name)))
    .filter((name) => !name.split(path.sep).some((part) => SKIPPED.has(part)))
    .sort()
  return Promise.all(names.map(async (name) => ({ name, text: await readFile(path.join(directory, name), 'utf8') })))
}
