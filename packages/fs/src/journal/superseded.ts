import fs from 'node:fs'
import path from 'node:path'
import { Invalidation, type Superseding } from '@thermocline/backend'
import type { Modes } from '../access.js'
import { sharedDisk, withFiles } from '../disk.js'
import { codeOf, isMissing, isNotAFile } from '../errors.js'
import { syncFile } from '../file-io.js'
import { linesNow } from '../lines-now.js'
import type { OwnDirectories } from './own-directories.js'

/*
 * What was invalidated while copies of other processes might still turn up: those are older and must not be uploaded, by this process or
 * by the next ones, should this one not live to see them. Lines of JSON in the directory of the process that noted them.
 *
 * A note names what is older than it: for each directory that may be taken up later the highest sequence that was seen in it when the
 * call was made. What its process makes afterwards, should it live, is newer. So no clock is compared with another's.
 */

const NAME = 'superseded.jsonl'
const NO_OPTIONS = {}

/** By the id of a directory: copies in it with this sequence or a lower one are older. */
export type Bounds = Readonly<Record<string, number>>

type Note = Superseding & { readonly in: Bounds }

/** Whether the copy of a key with this sequence, in the directory with this id, is older than what was noted. */
export type IsSuperseded = (id: string, sequence: number, tenant: string, key: string) => boolean

interface Waiting {
  readonly what: Superseding
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

export interface SupersededOptions {
  readonly own: OwnDirectories
  readonly fsync: boolean
  readonly modes: Modes
  /** What lies now in the directories that may be taken up later. Rejects with the file system's error. */
  readonly bounds: () => Promise<Bounds>
}

/** The notes of one process. */
export class Superseded {
  readonly #own: OwnDirectories
  readonly #fsync: boolean
  readonly #modes: Modes
  readonly #bounds: () => Promise<Bounds>
  #noted = new Noted()
  /** What was called and is not noted yet: all that turns up meanwhile is older. */
  readonly #arriving = new Map<Superseding, Invalidation>()
  #waiting: Waiting[] = []
  #isWriting = false

  constructor({ own, fsync, modes, bounds }: SupersededOptions) {
    this.#own = own
    this.#fsync = fsync
    this.#modes = modes
    this.#bounds = bounds
  }

  /** Resolves when it holds over a restart. Rejects with the file system's error: then it holds for this process only. */
  note(what: Superseding): Promise<void> {
    this.#arriving.set(what, Invalidation.of(what))
    const noted = new Promise<void>((resolve, reject) => this.#waiting.push({ what, resolve, reject }))
    if (!this.#isWriting) void this.#writeAll()
    return noted
  }

  /** Reads what everybody has noted: says of a copy whether it is superseded. Throws the file system's error. */
  readAll(directories: readonly string[]): IsSuperseded {
    const others = new Noted()
    for (const directory of directories) for (const note of notesIn(path.join(directory, NAME))) others.add(note)
    return (id, sequence, tenant, key) => {
      if (others.supersedes(id, sequence, tenant, key) || this.#noted.supersedes(id, sequence, tenant, key)) return true
      return [...this.#arriving].some(([what, invalidation]) => what.tenant === tenant && invalidation.covers(key))
    }
  }

  /** No copies of others can turn up any more. Throws nothing: notes that stay do no harm. */
  forget(): void {
    this.#noted = new Noted()
    for (const directory of this.#own.kept) {
      try {
        fs.rmSync(path.join(directory.path, NAME), { force: true })
      } catch {
        // read once more at the next start
      }
    }
  }

  async #writeAll(): Promise<void> {
    this.#isWriting = true
    while (this.#waiting.length > 0) {
      const batch = this.#waiting
      this.#waiting = []
      try {
        await this.#write(batch)
        for (const { resolve } of batch) resolve()
      } catch (error) {
        for (const { reject } of batch) reject(error)
      } finally {
        for (const { what } of batch) this.#arriving.delete(what)
      }
    }
    this.#isWriting = false
  }

  async #write(batch: readonly Waiting[]): Promise<void> {
    let bounds: Bounds
    try {
      bounds = await sharedDisk().turns.during(NO_OPTIONS, () => this.#bounds())
    } catch (error) {
      for (const { what } of batch) this.#noted.addForAll(what)
      throw error
    }
    if (Object.keys(bounds).length === 0) return
    const notes = batch.map(({ what }): Note => ({ ...what, in: bounds }))
    for (const note of notes) this.#noted.add(note)
    await sharedDisk().turns.during(NO_OPTIONS, () => this.#append(notes))
  }

  async #append(notes: readonly Note[]): Promise<void> {
    const directory = await this.#own.make()
    const file = await withFiles(NO_OPTIONS, () => fs.promises.open(path.join(directory.path, NAME), 'a', this.#modes.file))
    try {
      await this.#modes.settle(file.fd)
      await file.appendFile(notes.map((note) => `${JSON.stringify(note)}\n`).join(''))
      if (this.#fsync) await syncFile(file.fd)
    } finally {
      await file.close()
    }
    await this.#own.settle(directory)
  }
}

/** What is noted of one invalidation. */
interface Noting {
  readonly tenant: string
  readonly invalidation: Invalidation
  /** `undefined`: everything that turns up is older. */
  readonly in: Bounds | undefined
}

/** Notes to be looked up: there may be as many copies as notes. */
class Noted {
  readonly #keys = new Map<string, Noting[]>()
  readonly #others: Noting[] = []

  add(note: Note): void {
    this.#add({ tenant: note.tenant, invalidation: Invalidation.of(note), in: note.in })
  }

  /** Everything that turns up is older. */
  addForAll(what: Superseding): void {
    this.#add({ tenant: what.tenant, invalidation: Invalidation.of(what), in: undefined })
  }

  supersedes(id: string, sequence: number, tenant: string, key: string): boolean {
    const isOlder = (note: Noting): boolean => note.in === undefined || sequence <= (note.in[id] ?? -1)
    if (this.#keys.get(idOf(tenant, key))?.some(isOlder) === true) return true
    return this.#others.some((note) => note.tenant === tenant && note.invalidation.covers(key) && isOlder(note))
  }

  #add(noting: Noting): void {
    const { key } = noting.invalidation
    if (key === undefined) return void this.#others.push(noting)
    const id = idOf(noting.tenant, key)
    const ofKey = this.#keys.get(id)
    if (ofKey === undefined) this.#keys.set(id, [noting])
    else if (!isSame(ofKey.at(-1)?.in, noting.in)) ofKey.push(noting)
  }
}

function isSame(a: Bounds | undefined, b: Bounds | undefined): boolean {
  return JSON.stringify(a) === JSON.stringify(b)
}

/** No tenant has a NUL in it. */
function idOf(tenant: string, key: string): string {
  return `${tenant}\0${key}`
}

function* notesIn(file: string): Generator<Note, void, undefined> {
  try {
    if (fs.statSync(file, { throwIfNoEntry: false })?.isFile() !== true) return
    for (const line of linesNow(file)) yield* noteOf(line)
  } catch (error) {
    if (!isMissing(error) && !isNotAFile(error) && codeOf(error) !== 'EACCES') throw error
  }
}

/** None of a line that a crash cut off: nobody was told that it was noted. */
function noteOf(line: string): Note[] {
  try {
    const note = JSON.parse(line) as Partial<Record<'tenant' | 'key' | 'prefix' | 'in', unknown>> | null
    if (note === null) return []
    const { tenant, key, prefix, in: bounds } = note
    const isNote = typeof tenant === 'string' && typeof bounds === 'object' && bounds !== null && (typeof key === 'string' || typeof prefix === 'string')
    return isNote ? [note as Note] : []
  } catch {
    return []
  }
}
