import fs from 'node:fs'
import path from 'node:path'
import { CacheError, systemClock } from '@thermocline/backend'
import type { Modes } from '../access.js'
import { withFiles } from '../disk.js'
import { codeOf, isMissing, NO_HARD_LINKS } from '../errors.js'
import { openToAppend, readAt, readFirst, type CloseFile } from '../file-io.js'
import { makeDirectory } from '../make-directory.js'
import type { Temporaries } from '../temporaries.js'
import { decodeRecord, encodeRecord, LineCutter, type LogRecord } from './records.js'

/*
 * The files of a log: `log.1`, then `log.2` when the first is sealed, and so on. Whoever comes first makes the next one, by a hard link of a file that is
 * written whole; so no number is given twice. The file before the newest stays, for those who have not read it yet.
 *
 * Several processes look and link at once, and each may stand still between the two. So whoever has linked a file looks once more before anybody believes
 * it, as everybody does who opens one. A directory shows one log where all files begin with its id, and the newest is the first or has the one
 * before it beside it. A file that came late is none of the newest two, or is alone, or of another log. What is not one log is removed, and begun anew:
 * whoever reads it finds that its name is gone, and believes nothing that was agreed before.
 */

const NAME = /^log\.([1-9]\d{0,14})$/
/** Files may come and go between two looks; what does not fit so often does not fit. */
const LOOKS = 5
/** What is between two such looks, in milliseconds. */
const BETWEEN_LOOKS_MS = 2
/** Longer than the record with which a file begins. */
const HEAD_BYTES = 1024
const NO_OPTIONS = {}

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
  /** Whether there was none after it. Else it is sealed, or came late and counts for nothing. */
  readonly isNewest: boolean
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

  /** Removes the log: whoever reads it notices, and believes nothing that was agreed. @throws the file system's error */
  async remove(): Promise<void> {
    for (const number of await this.#numbers()) await this.#unlink(number)
  }

  /** @param choose one of the files that are there @param make makes one where none is chosen: then they are looked at once more */
  async #openOne(choose: (heads: readonly Head[]) => Head | undefined, make: (heads: readonly Head[]) => Promise<unknown>): Promise<LogFile> {
    for (;;) {
      const heads = await this.#look()
      const chosen = choose(heads)
      if (chosen === undefined) {
        await make(heads)
        continue
      }
      const opened = await this.#openHead(chosen)
      this.#stepped()
      if (opened !== undefined) return { ...chosen, ...opened, isNewest: chosen === heads.at(-1) }
    }
  }

  /** `undefined`: it is gone, or another file has its name. */
  async #openHead({ number, log }: Head): Promise<Pick<LogFile, 'fd' | 'identity'> | undefined> {
    const { close } = this.#options
    let fd: number
    try {
      fd = await openToAppend(this.#pathOf(number))
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
  async sizeOf({ number, identity: { dev, ino } }: LogFile): Promise<number | undefined> {
    try {
      const stats = await fs.promises.stat(this.#pathOf(number), { bigint: true })
      return stats.dev === dev && stats.ino === ino ? Number(stats.size) : undefined
    } catch (error) {
      if (isMissing(error)) return undefined
      throw error
    }
  }

  /** The files of the one log there is, oldest first. */
  async #look(): Promise<readonly Head[]> {
    for (let looks = 1; ; looks++) {
      const numbers = await this.#numbers()
      const newest = numbers.at(-1)
      if (newest === undefined) return []
      const heads = await Promise.all(numbers.map((number) => this.#headOf(number)))
      this.#stepped()
      const isOne = heads.every((head) => head !== undefined && head.log === heads[0]?.log)
      if (isOne && (newest === 1 || numbers.includes(newest - 1))) {
        for (const number of numbers) if (number < newest - 1) await this.#unlink(number).catch(() => undefined) // its maker was to
        return heads as Head[]
      }
      if (looks < LOOKS) await pause()
      else await this.remove()
    }
  }

  async #begin(): Promise<void> {
    const log = path.basename(this.#options.temporaries.next())
    if (!(await this.#link({ number: 1, log }, { last: '', lines: '[]' }))) return
    const heads = await Promise.all((await this.#numbers()).map((number) => this.#headOf(number)))
    if (heads.some((head) => head !== undefined && head.log !== log)) await this.#unlink(1) // there was one by then
  }

  /** Whether it was made here: another process may have been faster. */
  async #link({ number, log }: Head, { last, lines }: Carried): Promise<boolean> {
    const { directory, root, modes, temporaries } = this.#options
    await makeDirectory(directory, { root, modes })
    const draft = temporaries.next()
    await makeDirectory(path.dirname(draft), { root, modes })
    try {
      const records: LogRecord[] = [['begin', '', log, last], ['lines', '', lines]]
      if (number > 1) records.push(['ready', ''])
      const bytes = Buffer.concat(records.map(encodeRecord))
      await withFiles(NO_OPTIONS, () => fs.promises.writeFile(draft, bytes, { mode: modes.file }))
      this.#stepped()
      await modes.settleFile(draft)
      await fs.promises.link(draft, this.#pathOf(number))
      this.#stepped()
      return true
    } catch (error) {
      const code = codeOf(error) ?? ''
      if (NO_HARD_LINKS.has(code)) throw new CacheError('misconfigured', 'processes cannot be coordinated over a file system without hard links', { operation: 'coordinate', backend: 'fs', cause: error })
      if (code !== 'EEXIST' && code !== 'ENOENT') throw error // with ENOENT the directory or the draft was removed meanwhile
      return false
    } finally {
      await fs.promises.unlink(draft).catch(() => undefined)
    }
  }

  /** `undefined`: it is gone, or no file of a log. */
  async #headOf(number: number): Promise<Head | undefined> {
    try {
      return headIn(await withFiles(NO_OPTIONS, () => readFirst(this.#pathOf(number), HEAD_BYTES, NO_OPTIONS, this.#options.close)), number)
    } catch (error) {
      if (isMissing(error)) return undefined
      throw error
    }
  }

  async #numbers(): Promise<readonly number[]> {
    const names = await fs.promises.readdir(this.#options.directory).catch((error: unknown) => {
      if (isMissing(error)) return [] as string[]
      throw error
    })
    return names.map((name) => Number(NAME.exec(name)?.[1])).filter((number) => !Number.isNaN(number)).sort((one, other) => one - other)
  }

  async #unlink(number: number): Promise<void> {
    try {
      await fs.promises.unlink(this.#pathOf(number))
    } catch (error) {
      if (!isMissing(error)) throw error
    }
  }

  #pathOf(number: number): string {
    return path.join(this.#options.directory, `log.${number}`)
  }
}

function headIn(bytes: Buffer, number: number): Head | undefined {
  const [first] = new LineCutter().cut(bytes)
  const [kind, , log = ''] = (first && decodeRecord(first[0])) ?? ['']
  return kind === 'begin' && log !== '' ? { number, log } : undefined
}

function identityOf(fd: number): Promise<Identity> {
  return new Promise((resolve, reject) => {
    fs.fstat(fd, { bigint: true }, (error, { dev, ino }) => (error === null ? resolve({ dev, ino }) : reject(error)))
  })
}

function pause(): Promise<void> {
  return new Promise((resolve) => void systemClock.schedule(BETWEEN_LOOKS_MS, resolve))
}
