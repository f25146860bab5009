import fs from 'node:fs'
import path from 'node:path'
import type { Superseding } from '@thermocline/core'
import { isMissing, isNotAFile } from '../errors.js'
import type { Modes } from '../access.js'
import { withFiles } from '../disk.js'
import { syncFile } from '../file-io.js'
import { linesNow } from '../lines-now.js'
import { readHeadNow } from './read-head-now.js'
import type { OwnDirectory } from './own-directory.js'

/*
 * What was invalidated while copies of other processes might still turn up: those are older and must not be uploaded, by this process or
 * by the next ones, should this one not live to see them. Lines of JSON in the directory of the process that noted them. They concern the
 * copies of others only, by their sequences: what lies in the same directory is this process's own, and newer.
 */

const NAME = 'superseded.jsonl'

type Note = Superseding & {
  /** Copies with a lower one are older. */
  readonly sequence: number
}

/** The notes of one process. */
export class Superseded {
  readonly #own: OwnDirectory
  readonly #fsync: boolean
  readonly #modes: Modes
  /** Not on the disk yet. */
  readonly #arriving = new Set<Note>()

  constructor(own: OwnDirectory, fsync: boolean, modes: Modes) {
    this.#modes = modes
    this.#own = own
    this.#fsync = fsync
  }

  /** Resolves when it holds over a restart. Rejects with the file system's error. */
  async note(what: Superseding, sequence: number): Promise<void> {
    const note: Note = { ...what, sequence }
    this.#arriving.add(note)
    try {
      await this.#own.make()
      const file = await withFiles({}, () => fs.promises.open(this.#file, 'a', this.#modes.file))
      try {
        await this.#modes.settle(file.fd)
        await file.appendFile(`${JSON.stringify(note)}\n`)
        if (this.#fsync) await syncFile(file.fd)
      } finally {
        await file.close()
      }
      await this.#own.settle()
    } finally {
      this.#arriving.delete(note)
    }
  }

  /** Reads what everybody has noted: says of a copy's file whether it is superseded. */
  readAll(directories: readonly string[]): (file: string, sequence: number) => boolean {
    const all = directories.map((directory) => ({ directory, noted: new Noted(notesIn(path.join(directory, NAME))) }))
    if (this.#arriving.size > 0) all.push({ directory: this.#own.path, noted: new Noted(this.#arriving) })
    return (file, sequence) => {
      const newer = all.filter(({ directory, noted }) => directory !== path.dirname(file) && noted.latest > sequence)
      if (newer.length === 0) return false
      const reading = readHeadNow(file)
      if (reading.status !== 'ok') return false // whoever takes it up will see
      const { tenant, key } = reading.header
      return newer.some(({ noted }) => noted.supersedes(tenant, key, sequence))
    }
  }

  /** The notes of a process that is gone: they become this one's, or are of no use any more. */
  inherit(directory: string, areNeeded: boolean): void {
    const file = path.join(directory, NAME)
    if (!fs.existsSync(file)) return
    if (areNeeded) {
      this.#own.makeNow()
      const noted = fs.openSync(this.#file, 'a', this.#modes.file)
      try {
        for (const line of linesNow(file)) if (noteOf(line).length > 0) fs.writeSync(noted, `${line}\n`)
      } finally {
        fs.closeSync(noted)
      }
      this.#modes.settleFileNow(this.#file)
    }
    fs.rmSync(file, { force: true })
  }

  /** No copies of others can turn up any more. Throws nothing: notes that stay do no harm. */
  forget(): void {
    try {
      fs.rmSync(this.#file, { force: true })
    } catch {
      // read once more at the next start
    }
  }

  get #file(): string {
    return path.join(this.#own.path, NAME)
  }
}

/** Notes to be looked up: there may be as many copies as notes. */
class Noted {
  /** The highest sequence. */
  latest = Number.NEGATIVE_INFINITY
  readonly #keys = new Map<string, number>()
  readonly #prefixes: (Note & { readonly prefix: string })[] = []

  constructor(notes: Iterable<Note>) {
    for (const note of notes) {
      this.latest = Math.max(this.latest, note.sequence)
      if ('prefix' in note) this.#prefixes.push(note)
      else this.#keys.set(idOf(note.tenant, note.key), Math.max(note.sequence, this.#keys.get(idOf(note.tenant, note.key)) ?? note.sequence))
    }
  }

  supersedes(tenant: string, key: string, sequence: number): boolean {
    if ((this.#keys.get(idOf(tenant, key)) ?? sequence) > sequence) return true
    return this.#prefixes.some((note) => note.sequence > sequence && note.tenant === tenant && key.startsWith(note.prefix))
  }
}

/** No tenant has a NUL in it. */
function idOf(tenant: string, key: string): string {
  return `${tenant}\0${key}`
}

function notesIn(file: string): Note[] {
  try {
    return [...linesNow(file)].flatMap(noteOf)
  } catch (error) {
    if (isMissing(error) || isNotAFile(error)) return []
    throw error
  }
}

/** None of a line that a crash cut off: nobody was told that it was noted. */
function noteOf(line: string): Note[] {
  try {
    const note = JSON.parse(line) as Partial<Record<'tenant' | 'key' | 'prefix' | 'sequence', unknown>> | null
    if (note === null) return []
    const { tenant, key, prefix, sequence } = note
    const isNote = typeof tenant === 'string' && typeof sequence === 'number' && (typeof key === 'string' || typeof prefix === 'string')
    return isNote ? [note as Note] : []
  } catch {
    return []
  }
}
