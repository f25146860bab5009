import fs from 'node:fs'
import { randomBytes } from 'node:crypto'
import { CacheError, isCacheError, systemClock, type LoggedMessage } from '@thermocline/backend'
import { asFsError, isFull } from '../errors.js'
import { readAt } from '../file-io.js'
import { DirectoryWatch } from './directory-watch.js'
import { Lines, type Outcome } from './lines.js'
import { LogFiles, type LogFile, type LogFilesOptions } from './log-files.js'
import { Messages, positionOf } from './messages.js'
import { decodeRecord, encodeRecord, LineCutter } from './records.js'

/*
 * A file to which all processes that share the directory append, and that each of them reads: the order in which records stand there is the order in which they
 * count. What was written is read back before it counts, together with what others have written before it; so everybody comes to the same.
 *
 * Records of one moment are written together. When the file has become long, a record seals it and another one follows, which begins with what stands in all
 * lines. What was written behind the seal counts for nothing, and is written once more into the next file. So is what was written into a file that does not
 * have its name any more when it has been read: somebody has removed the log, and another one begins without lines and messages.
 *
 * A log that is new may follow one that was lost, in which something was granted that others do not know of. So nothing is written into it until somebody has
 * removed all files that may get an entry's name by that, and said so.
 */

/** Beyond it another file follows: so long, or this part of what the cache may hold. */
const LONGEST_FILE_BYTES = 4 * 1024 * 1024
const PART_OF_LIMIT = 1 / 64
const SHORTEST_FILE_BYTES = 64 * 1024
const PIECE = 64 * 1024
/** What a write has left that was broken off stands on a line of its own. */
const NEWLINE = Buffer.from('\n')
/** A record that does not come back so often cannot be written. */
const MOST_ATTEMPTS = 10
/** Files that are read or begun one after the other without coming to an end of them. */
const MOST_FILES = 50
/** What this process writes it reads itself: a notice of that costs nothing more. */
const NOTICED_MS = 1

/** What has become of a record, and where it stands. */
export interface Appended extends Outcome {
  readonly position: string
}

interface Waiting<T> {
  readonly resolve: (outcome: T) => void
  readonly reject: (error: unknown) => void
}

interface WaitingRecord extends Waiting<Appended> {
  readonly kind: string
  readonly rest: readonly string[]
  /** How often it was written. */
  attempts: number
}

/** The file that is read and appended to. */
interface Reading {
  readonly file: LogFile
  readonly cutter: LineCutter
  offset: number
  /** With what it begins is not what makes it long. */
  begunBytes: number
  /** Whether anything may be written into it. */
  isReady: boolean
  isToBeSealed: boolean
  isSealed: boolean
}

/** What a read has come to: all there is; or another file is to be read, as this one is sealed, has lost its name, or is shorter than it was. */
type Read = 'all' | 'sealed' | 'gone' | 'cut'

export interface SharedLogOptions extends LogFilesOptions {
  /** What the cache may hold, in bytes. */
  readonly maxBytes: number
}

export class SharedLog {
  readonly lines = new Lines(() => systemClock.monotonic())
  readonly #options: SharedLogOptions
  readonly #files: LogFiles
  readonly #messages = new Messages()
  readonly #watch: DirectoryWatch
  readonly #by = randomBytes(6).toString('base64url')
  #marks = 0
  /** Written and not read back yet, or still to be written; by their marks. */
  readonly #waiting = new Map<string, WaitingRecord>()
  #unwritten: string[] = []
  /** Those who wait until all that stands there was read. */
  #readers: Waiting<void>[] = []
  #reading: Reading | undefined
  /** The file that was read last and is gone. */
  #lost: LogFile | undefined
  #running: Promise<void> | undefined
  readonly #listeners = new Set<() => void>()
  readonly #askers = new Set<() => void>()
  #isToBeRead = false
  #isClosed = false

  constructor(options: SharedLogOptions) {
    this.#options = options
    this.#files = new LogFiles(options, () => this.#stepped())
    this.#watch = new DirectoryWatch(options.directory, () => this.#changed())
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  /** The last message; `undefined`: there is none. */
  get end(): LoggedMessage | undefined {
    return this.#messages.end
  }

  /** Appends a record. Resolves with what has become of it, when it counts. */
  append(kind: string, ...rest: readonly string[]): Promise<Appended> {
    return new Promise((resolve, reject) => {
      if (this.#isClosed) return reject(closedError())
      const mark = `${this.#by}${(this.#marks++).toString(36)}.${systemClock.now().toString(36)}`
      this.#waiting.set(mark, { kind, rest, attempts: 0, resolve, reject })
      this.#unwritten.push(mark)
      this.#start()
    })
  }

  /** The id of the log in which may be asked; `undefined`: there is none yet. */
  get ready(): string | undefined {
    return this.#reading?.isReady === true ? this.#reading.file.log : undefined
  }

  /** Resolves when everything was read that stood there when this was called. */
  refresh(): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#isClosed) return reject(closedError())
      this.#readers.push({ resolve, reject })
      this.#start()
    })
  }

  /** Messages after the position, as far as they are known. */
  messagesAfter(position: string): readonly LoggedMessage[] {
    return this.#messages.after(position)
  }

  /** A position before all messages of the last so many milliseconds before that one. */
  before(position: string, ms: number): string {
    return this.#messages.before(position, ms)
  }

  /** Calls the listener whenever there is a message, until the returned function is called. */
  onMessage(listener: () => void): () => void {
    if (!this.#isClosed) this.#watch.start()
    this.#listeners.add(listener)
    return () => {
      this.#listeners.delete(listener)
    }
  }

  /** Calls `progress` with each step that the disk has done, until the returned function is called: who asks waits for several. */
  onStep(progress: () => void): () => void {
    this.#askers.add(progress)
    return () => {
      this.#askers.delete(progress)
    }
  }

  /** Removes the log, also when this one is closed: whoever reads it notices, and believes nothing that was agreed. @throws CacheError when that fails */
  async remove(): Promise<void> {
    try {
      await this.#files.remove()
    } catch (error) {
      throw asFsError(error, 'coordinate', undefined, true)
    }
  }

  /** What is to be written still is. */
  async close(): Promise<void> {
    this.#isClosed = true
    this.#watch.stop()
    this.#tellListeners()
    while (this.#running !== undefined) await this.#running
    this.#leaveFile()
  }

  get #longestBytes(): number {
    return Math.max(SHORTEST_FILE_BYTES, Math.min(LONGEST_FILE_BYTES, this.#options.maxBytes * PART_OF_LIMIT))
  }

  get #isAsked(): boolean {
    return this.#unwritten.length + this.#readers.length > 0
  }

  #start(): void {
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined
      if (this.#isAsked) this.#start()
    })
  }

  /** Goes on as long as somebody wants something. Never rejects. */
  async #run(): Promise<void> {
    await Promise.resolve() // what is called in the same moment is written with it
    let isFreed = false
    let files = 0
    while (this.#isAsked) {
      const readers = this.#readers.splice(0)
      let isAtEnd = false
      try {
        isAtEnd = await this.#exchange()
      } catch (thrown) {
        this.#readers.unshift(...readers.splice(0))
        if (!isFull(thrown) || isFreed) return this.#fail(isCacheError(thrown) ? thrown : asFsError(thrown, 'coordinate', undefined, true))
        // on a full disk the log begins anew: what is lost by that is believed by nobody
        isFreed = true
        await this.#files.remove().catch(() => undefined)
        this.#leaveFile()
      }
      if (isAtEnd) for (const { resolve } of readers) resolve()
      else this.#readers.unshift(...readers)
      files = isAtEnd ? 0 : files + 1
      if (files > MOST_FILES) return this.#fail(new CacheError('failed', `the log of the processes was lost or sealed ${MOST_FILES} times before its end was read`, { operation: 'coordinate', backend: 'fs' }))
    }
  }

  /** Writes what is to be written, and reads all that has come. False: there is more in another file. */
  async #exchange(): Promise<boolean> {
    this.#isToBeRead = false
    const reading = (this.#reading ??= this.#begin(await this.#open(), false))
    const written = isNewest(reading.file) && reading.isReady ? await this.#write(reading.file) : []
    const read = await this.#readOn(reading)
    const missing = written.filter((mark) => this.#waiting.has(mark))
    this.#unwritten.unshift(...missing)
    const isCut = read === 'cut' || (read === 'all' && missing.length > 0)
    if (isCut) await this.#files.remove() // somebody has cut it off: others may have read what is not there any more
    if (isCut || read === 'gone') {
      this.#leaveFile()
      this.#lost = reading.file
      return false
    }
    if (read === 'sealed' || !isNewest(reading.file)) {
      const next = await this.#files.openAfter(reading.file, read === 'sealed' ? { last: this.#messages.last, lines: this.lines.save() } : undefined)
      this.#leaveFile()
      this.#reading = this.#begin(next, next.log === reading.file.log)
      return false
    }
    if (!reading.isReady) {
      await this.#options.temporaries.removeOffered(reading.file.log)
      this.#stepped()
      await appendTo(reading.file.fd, Buffer.concat([NEWLINE, encodeRecord(['ready', ''])]))
      return false
    }
    if (reading.offset - reading.begunBytes > this.#longestBytes && !reading.isToBeSealed) {
      reading.isToBeSealed = true
      this.append('seal', String(reading.file.number)).catch(() => undefined)
    }
    return true
  }

  async #open(): Promise<LogFile> {
    const file = await this.#files.open()
    const lost = this.#lost
    if (lost?.log !== file.log || file.newest > lost.number) return file
    // somebody has removed the newest files only: what was agreed in them is lost, and nobody else would notice
    this.#options.close(file.fd)
    await this.#files.remove()
    return this.#files.open()
  }

  /** Reads a file from its beginning. @param goesOn whether it follows the one that was read; else what is known counts for nothing */
  #begin(file: LogFile, goesOn: boolean): Reading {
    if (file.log !== this.#messages.log) this.lines.restore('[]')
    if (!goesOn) this.#messages.begin(file.log)
    this.#watch.renew()
    return { file, cutter: new LineCutter(), offset: 0, begunBytes: 0, isReady: false, isToBeSealed: false, isSealed: false }
  }

  async #write({ fd }: LogFile): Promise<readonly string[]> {
    const marks = this.#unwritten.splice(0)
    if (marks.length === 0) return marks
    const parts: Buffer[] = [NEWLINE]
    try {
      for (const mark of marks) {
        const waiting = this.#waiting.get(mark) as WaitingRecord
        if (++waiting.attempts > MOST_ATTEMPTS) throw new CacheError('failed', `a record was written ${MOST_ATTEMPTS} times and cannot be read back`, { operation: 'coordinate', backend: 'fs' })
        parts.push(encodeRecord([waiting.kind, mark, ...waiting.rest]))
      }
      await appendTo(fd, Buffer.concat(parts))
      this.#stepped()
    } catch (error) {
      this.#unwritten.unshift(...marks)
      throw error
    }
    return marks
  }

  /** Applies what has come. */
  async #readOn(reading: Reading): Promise<Read> {
    const { fd } = reading.file
    const before = this.#messages.count
    for (;;) {
      const piece = await readAt(fd, PIECE, reading.offset)
      this.#stepped()
      const size = await this.#files.sizeOf(reading.file) // afterwards: what was read counts if the file had its name then
      this.#stepped()
      if (size === undefined) return 'gone'
      if (size < reading.offset) return 'cut'
      reading.offset += piece.byteLength
      for (const [line, at] of reading.cutter.cut(piece)) if (!reading.isSealed) this.#take(reading, line, at)
      if (piece.byteLength < PIECE || reading.isSealed) break
    }
    if (this.#messages.count > before) this.#tellListeners()
    return reading.isSealed ? 'sealed' : 'all'
  }

  #take(reading: Reading, line: Buffer, at: number): void {
    const record = decodeRecord(line)
    if (record === undefined) return
    const { number, log } = reading.file
    const [kind, mark] = record
    if (kind === 'begin') return this.#messages.goOn(record[3] ?? '', positionOf(number, 0, log))
    if (kind === 'ready') {
      reading.isReady = true
      return
    }
    if (kind === 'lines') {
      reading.begunBytes = at + line.byteLength
      return this.lines.restore(record[2] ?? '[]')
    }
    if (kind === 'seal') reading.isSealed = record[2] === String(number) // one that came too late for another file is none
    const position = positionOf(number, at, log)
    const outcome = kind === 'seal' ? { isGranted: true, victims: [] } : this.lines.apply(record)
    if (outcome?.message !== undefined) this.#messages.add(outcome.message, position, mark)
    const waiting = this.#waiting.get(mark)
    if (waiting === undefined) return
    this.#waiting.delete(mark)
    waiting.resolve({ ...(outcome ?? { isGranted: false, victims: [] }), position })
  }

  #leaveFile(): void {
    if (this.#reading !== undefined) this.#options.close(this.#reading.file.fd)
    this.#reading = undefined
  }

  #fail(error: CacheError): void {
    this.#leaveFile() // it is opened anew
    const waiting = [...this.#waiting.values(), ...this.#readers]
    this.#waiting.clear()
    this.#unwritten = []
    this.#readers = []
    for (const { reject } of waiting) reject(error)
  }

  #stepped(): void {
    for (const progress of this.#askers) progress()
  }

  #tellListeners(): void {
    for (const listener of [...this.#listeners]) listener()
  }

  /** Somebody has appended something: perhaps this process, which reads on anyhow. */
  #changed(): void {
    if (this.#isClosed || this.#isToBeRead) return
    this.#isToBeRead = true
    systemClock.schedule(
      NOTICED_MS,
      () => {
        if (this.#isToBeRead && !this.#isClosed) this.refresh().catch(() => undefined) // who asks next is told
      },
      { background: true },
    )
  }
}

export function closedError(): CacheError {
  return new CacheError('closed', 'coordination is closed', { operation: 'coordinate', backend: 'fs' })
}

function isNewest({ number, newest }: LogFile): boolean {
  return number >= newest
}

/** All of it, or it fails: what was written in part does not count. */
function appendTo(fd: number, bytes: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    fs.write(fd, bytes, 0, bytes.byteLength, null, (error, written) => {
      if (error !== null) reject(error)
      else if (written < bytes.byteLength) reject(Object.assign(new Error('ENOSPC: part of a record was written'), { code: 'ENOSPC' }))
      else resolve()
    })
  })
}
