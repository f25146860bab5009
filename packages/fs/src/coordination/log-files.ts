import fs from 'node:fs'
import path from 'node:path'
import { CacheError, systemClock } from '@thermocline/backend'
import type { Modes } from '../access.js'
import { withFiles } from '../disk.js'
import { codeOf, isMissing, NO_HARD_LINKS } from '../errors.js'
import { namesIfThere, openToAppend, readAt, readFirst, unlinkIfThere, type CloseFile } from '../file-io.js'
import { makeDirectory } from '../make-directory.js'
import type { Temporaries } from '../temporaries.js'
import { decodeRecord, encodeRecord, LineCutter, type LogRecord } from './records.js'

/*
 * The files of a log: `log.1`, then `log.2.<id of the log>` when the first is sealed, and so on. Whoever comes first makes the next one, by a hard link of a file that is
 * written whole; so no number is given twice. The file before the newest stays, for those who have not read it yet.
 *
 * Several processes look and link at once, and each may stand still between the two. So whoever has linked a file looks once more before anybody believes
 * it, as everybody does who opens one. A directory shows one log where all files begin with its id, and the newest is the first or has the one
 * before it beside it. A file that came late is none of the newest two, or is alone, or of another log. What is not one log is removed, and begun anew:
 * whoever reads it finds that its name is gone, and believes nothing that was agreed before.
 */

const NAME = /^log\.([1-9]\d{0,14})(?:\.([0-9a-z-]+))?$/
/** Files may come and go between two looks; what does not fit so often does not fit. */
const LOOKS = 5
/** Where a file could not be opened or made so often, it cannot. */
const MOST_LOOKS = 100
/** What is between two such looks, in milliseconds. */
const BETWEEN_LOOKS_MS = 2
/** Longer than the record with which a file begins. */
const HEAD_BYTES = 1024
const NO_OPTIONS = {}

/** What a file's name says. */
interface Named {
  readonly number: number
  readonly name: string
}

/** What a file of a log says of itself. */
interface Head {
  readonly number: number
  /** The log's id. */
  readonly log: string
}

/** A file of the log, open to be read from its beginning and to be appended to. */
export interface LogFile extends Head {
  readonly fd: number
  /** Which file it is, whatever its name is by now. */
  readonly identity: Identity
  /** The number of the newest one. Those before it are sealed, or came late and count for nothing. */
  readonly newest: number
}

/** A file on the machine, for as long as it is open. */
export interface Identity {
  readonly dev: bigint
  readonly ino: bigint
}

/** With what a file begins. */
export interface Carried {
  /** The id of the message before. */
  readonly last: string
  /** All lines, as they are saved. */
  readonly lines: string
}

export interface LogFilesOptions {
  readonly directory: string
  /** The cache's own directory. */
  readonly root: string
  readonly modes: Modes
  readonly temporaries: Temporaries
  readonly close: CloseFile
}

/** Told of each step that the disk has done. */
export type Stepped = () => void

export class LogFiles {
  readonly #options: LogFilesOptions
  readonly #stepped: Stepped

  constructor(options: LogFilesOptions, stepped: Stepped) {
    this.#options = options
    this.#stepped = stepped
  }

  /**
   * Opens the oldest file of the log; where there is no log, it is begun.
   *
   * @throws CacheError with `misconfigured` on a file system without hard links; the file system's error
   */
  open(): Promise<LogFile> {
    return this.#openOne((heads) => heads[0], () => this.#begin())
  }

  /**
   * Opens the file after that one, which is sealed or counts for nothing.
   *
   * @param carried with what it begins, where it is to be made; `undefined`: the file is not sealed, and has none after it
   */
  openAfter(file: LogFile, carried: Carried | undefined): Promise<LogFile> {
    const { log, number } = file
    return this.#openOne(
      (heads) => {
        if (heads[0]?.log !== log) return heads[0]
        const isToBeMade = carried !== undefined && heads.at(-1)?.number === number
        return heads.find((head) => head.number > number) ?? (isToBeMade ? undefined : heads[0])
      },
      (heads) => (heads.length === 0 || carried === undefined ? this.#begin() : this.#link({ number: number + 1, log }, carried)),
    )
  }

  /** Removes the log: whoever reads it notices, and believes nothing that was agreed. @throws the file system's error, and CacheError where there is always another file */
  async remove(): Promise<void> {
    for (let looks = 0; looks < MOST_LOOKS; looks++) {
      const files = await this.#named()
      if (files.length === 0) return
      for (const { name } of files) await unlinkIfThere(this.#at(name))
    }
    throw new CacheError('failed', 'the log of the processes cannot be removed: others begin it again and again', { operation: 'coordinate', backend: 'fs' })
  }

  /** @param choose one of the files that are there @param make makes one where none is chosen: then they are looked at once more */
  async #openOne(choose: (heads: readonly Head[]) => Head | undefined, make: (heads: readonly Head[]) => Promise<unknown>): Promise<LogFile> {
    for (let looks = 0; looks < MOST_LOOKS; looks++) {
      if (looks > LOOKS) await pause()
      const heads = await this.#look()
      const chosen = choose(heads)
      if (chosen === undefined) {
        await make(heads)
        continue
      }
      const opened = await this.#openHead(chosen)
      this.#stepped()
      if (opened !== undefined) return { ...chosen, ...opened, newest: (heads.at(-1) as Head).number }
    }
    throw new CacheError('failed', `the log of the processes could not be opened or made ${MOST_LOOKS} times`, { operation: 'coordinate', backend: 'fs' })
  }

  /** `undefined`: it is gone, or another file has its name. */
  async #openHead({ number, log }: Head): Promise<Pick<LogFile, 'fd' | 'identity'> | undefined> {
    const { close } = this.#options
    let fd: number
    try {
      fd = await openToAppend(this.#pathOf({ number, log }))
    } catch (error) {
      if (isMissing(error)) return undefined
      throw error
    }
    this.#stepped()
    try {
      if (headIn(await readAt(fd, HEAD_BYTES, 0), number)?.log === log) return { fd, identity: await identityOf(fd) }
    } catch (error) {
      close(fd)
      throw error
    }
    close(fd)
    return undefined
  }

  /** The size of a file of the log; `undefined`: it has its name no more. */
  async sizeOf({ number, log, identity: { dev, ino } }: LogFile): Promise<number | undefined> {
    try {
      const stats = await fs.promises.stat(this.#pathOf({ number, log }), { bigint: true })
      return stats.dev === dev && stats.ino === ino ? Number(stats.size) : undefined
    } catch (error) {
      if (isMissing(error)) return undefined
      throw error
    }
  }

  /** The files of the one log there is, oldest first. */
  async #look(): Promise<readonly Head[]> {
    for (let looks = 1; ; looks++) {
      const files = await this.#named()
      const newest = files.at(-1)?.number
      if (newest === undefined) return []
      const heads = await Promise.all(files.map((file) => this.#headOf(file)))
      this.#stepped()
      const isOne = heads.every((head) => head !== undefined && head.log === heads[0]?.log)
      if (isOne && (newest === 1 || files.some(({ number }) => number === newest - 1))) {
        for (const { number, name } of files) if (number < newest - 1) await unlinkIfThere(this.#at(name)).catch(() => undefined) // its maker was to
        return heads as Head[]
      }
      if (looks < LOOKS) await pause()
      else await this.remove()
    }
  }

  async #begin(): Promise<void> {
    const log = path.basename(this.#options.temporaries.next())
    if (!(await this.#link({ number: 1, log }, { last: '', lines: '[]' }))) return
    const heads = await Promise.all((await this.#named()).map((file) => this.#headOf(file)))
    if (heads.some((head) => head !== undefined && head.log !== log)) await unlinkIfThere(this.#pathOf({ number: 1, log })) // there was one by then
  }

  /** Whether it was made here: another process may have been faster. */
  async #link({ number, log }: Head, { last, lines }: Carried): Promise<boolean> {
    const { directory, root, modes, temporaries } = this.#options
    await makeDirectory(directory, { root, modes })
    const draft = temporaries.next()
    await makeDirectory(path.dirname(draft), { root, modes })
    const records: LogRecord[] = [['begin', '', log, last], ['lines', '', lines]]
    if (number > 1) records.push(['ready', ''])
    try {
      await withFiles(NO_OPTIONS, () => fs.promises.writeFile(draft, Buffer.concat(records.map(encodeRecord)), { mode: modes.file }))
      this.#stepped()
      await modes.settleFile(draft)
      return await this.#linkTo(draft, this.#pathOf({ number, log }))
    } catch (error) {
      if (isMissing(error)) return false // the directory was removed meanwhile
      throw error
    } finally {
      await fs.promises.unlink(draft).catch(() => undefined)
    }
  }

  /** False: there is one, or somebody has removed the draft or the directory. */
  async #linkTo(draft: string, file: string): Promise<boolean> {
    try {
      await fs.promises.link(draft, file)
      this.#stepped()
      return true
    } catch (error) {
      const code = codeOf(error) ?? ''
      if (NO_HARD_LINKS.has(code)) throw new CacheError('misconfigured', 'processes cannot be coordinated over a file system without hard links', { operation: 'coordinate', backend: 'fs', cause: error })
      if (code !== 'EEXIST' && code !== 'ENOENT') throw error
      return false
    }
  }

  /** `undefined`: it is gone, or no file of a log. */
  async #headOf({ number, name }: Named): Promise<Head | undefined> {
    try {
      const head = headIn(await withFiles(NO_OPTIONS, () => readFirst(this.#at(name), HEAD_BYTES, NO_OPTIONS, this.#options.close)), number)
      return head !== undefined && nameOf(head) === name ? head : undefined
    } catch (error) {
      if (isMissing(error)) return undefined
      throw error
    }
  }

  /** Lowest number first. */
  async #named(): Promise<readonly Named[]> {
    const names = await namesIfThere(this.#options.directory)
    return names.map((name) => ({ name, number: Number(NAME.exec(name)?.[1]) })).filter(({ number }) => !Number.isNaN(number)).sort((one, other) => one.number - other.number)
  }

  #pathOf(head: Head): string {
    return this.#at(nameOf(head))
  }

  #at(name: string): string {
    return path.join(this.#options.directory, name)
  }
}

/** The first has the same name in every log, so that only one is begun. The others are not taken for those of another log by who removes that late. */
function nameOf({ number, log }: Head): string {
  return number === 1 ? 'log.1' : `log.${number}.${log}`
}

function headIn(bytes: Buffer, number: number): Head | undefined {
  const [first] = new LineCutter().cut(bytes)
  const [kind, , log = ''] = (first && decodeRecord(first[0])) ?? ['']
  return kind === 'begin' && log !== '' ? { number, log } : undefined
}

function identityOf(fd: number): Promise<Identity> {
  return new Promise((resolve, reject) => {
    fs.fstat(fd, { bigint: true }, (error, stats) => (error === null ? resolve({ dev: stats.dev, ino: stats.ino }) : reject(error)))
  })
}

function pause(): Promise<void> {
  return new Promise((resolve) => void systemClock.schedule(BETWEEN_LOOKS_MS, resolve))
}
