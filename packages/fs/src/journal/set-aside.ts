import { randomBytes } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import type { Modes } from '../access.js'
import { makeDirectoryNow } from '../make-directory.js'

const MOST_KEPT = 100

/** Moves a copy that cannot be read to `damaged/`, where people may look at it: the latest hundred stay. Never throws. */
export function setAside(root: string, file: string, modes: Modes): void {
  const directory = path.join(root, 'damaged')
  try {
    makeDirectoryNow(directory, modes)
    fs.renameSync(file, path.join(directory, `${path.basename(file)}.${randomBytes(3).toString('hex')}`))
    const names = fs.readdirSync(directory).sort() // they begin with their sequence: the oldest first
    for (const name of names.slice(0, -MOST_KEPT)) fs.unlinkSync(path.join(directory, name))
  } catch {
    // a disk that takes no change: it stays where it is, and is met again
  }
}
