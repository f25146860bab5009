import { randomBytes } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import { CacheError, isCacheError, systemClock, type LoggedMessage } from '@thermocline/backend'
import type { Modes } from '../access.js'
import { withFiles } from '../disk.js'
import { asFsError, codeOf, isFull, isMissing, NO_HARD_LINKS } from '../errors.js'
import { openToAppend, readAt } from '../file-io.js'
import { makeDirectory } from '../make-directory.js'
import { Lines, type Outcome } from './lines.js'
import { decodeRecord, encodeRecord, LineCutter } from './records.js'

/*
 * A file to which all processes that share the directory append, and that each of them reads: the order in which records stand there is the order in which they
 * count. What was written is read back before it counts, together with what others have written before it; so everybody comes to the same.
 *
 * Records of one moment are written together. When the file has become long, a record seals it and another one follows, which begins with what stands in all
 * lines. What was written behind the seal counts for nothing, and is written once more into the next file.
 */

/** Beyond it another file follows: so long, or this part of what the cache may hold. */
const LONGEST_FILE_BYTES = 4 * 1024 * 1024
const PART_OF_LIMIT = 1 / 64
const SHORTEST_FILE_BYTES = 64 * 1024
const PIECE = 64 * 1024
/** Messages that are kept for who reads on from an earlier one. */
const MOST_MESSAGES = 100_000
const NAME = /^log\.([1-9]\d{0,14})$/
/** A record that does not come back so often cannot be written. */
const MOST_ATTEMPTS = 5
/** How often the file is looked at where the system does not tell of changes. */
const POLL_MS = 50
/** What this process writes it reads itself: a notice of that costs nothing more. */
const NOTICED_MS = 1
const NO_OPTIONS = {}

/** What has become of a record, and where it stands. */
export interface Appended extends Outcome {
  readonly position: string
}

interface Waiting {
  readonly kind: string
  readonly rest: readonly string[]
  /** How often it was written. */
  attempts: number
  /** Called when it was written; what has become of it is not waited for. */
  readonly written: (() => void) | undefined
  readonly resolve: (outcome: Appended) => void
  readonly reject: (error: unknown) => void
}

interface DatedMessage extends LoggedMessage {
  /** When it was written, by the machine's clock. */
  readonly at: number
}

/** The file that is read and appended to. */
interface OpenFile {
  readonly fd: number
  readonly number: number
  readonly cutter: LineCutter
  offset: number
  /** The id of the log, and of the message that was appended last. */
  log: string
  last: string
  isToBeSealed: boolean
  isSealed: boolean
}

export interface SharedLogOptions {
  readonly directory: string
  /** The cache's own directory. */
  readonly root: string
  readonly modes: Modes
  /** What the cache may hold, in bytes. */
  readonly maxBytes: number
}

export class SharedLog {
  readonly lines = new Lines(() => systemClock.monotonic())
  readonly #options: SharedLogOptions
  readonly #by = randomBytes(6).toString('base64url')
  #marks = 0
  /** Written and not read back yet, or still to be written; by their marks. */
  readonly #waiting = new Map<string, Waiting>()
  #unwritten: string[] = []
  #messages: DatedMessage[] = []
  #file: OpenFile | undefined
  /** What is read and written now; the next round follows it. */
  #round: Promise<void> | undefined
  #next: Promise<void> | undefined
  readonly #listeners = new Set<() => void>()
  #watcher: fs.FSWatcher | undefined
  #isToBeRead = false
  #cancelPoll = (): void => undefined
  #isClosed = false

  constructor(options: SharedLogOptions) {
    this.#options = options
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  /** The last message; `undefined`: there is none. */
  get end(): LoggedMessage | undefined {
    return this.#messages.at(-1)
  }

  /** Appends a record. Resolves with what has become of it, when it counts. */
  append(kind: string, ...rest: readonly string[]): Promise<Appended> {
    return new Promise((resolve, reject) => this.#submit({ kind, rest, attempts: 0, written: undefined, resolve, reject }))
  }

  /** The same for a record that is granted in any case: resolves when it is written. Behind a seal it is written once more. */
  tell(kind: string, ...rest: readonly string[]): Promise<void> {
    return new Promise((resolve, reject) => this.#submit({ kind, rest, attempts: 0, written: resolve, resolve: () => resolve(), reject }))
  }

  #submit(waiting: Waiting): void {
    if (this.#isClosed) return waiting.reject(closedError())
    const mark = `${this.#by}${(this.#marks++).toString(36)}.${systemClock.now().toString(36)}`
    this.#waiting.set(mark, waiting)
    this.#unwritten.push(mark)
    if (this.#round === undefined) this.#start().catch(() => undefined) // told to all that wait
  }

  /** Resolves when everything was read that stood there when this was called. */
  refresh(): Promise<void> {
    if (this.#round === undefined) return this.#start()
    // the round under way may have read already
    return (this.#next ??= this.#round.catch(() => undefined).then(() => {
      this.#next = undefined
      return this.#round ?? this.#start()
    }))
  }

  /** Messages after the position, as far as they are known. */
  messagesAfter(position: string): readonly LoggedMessage[] {
    const at = this.#messages.findLastIndex((message) => !isBefore(position, message.position))
    return this.#messages.slice(at + 1)
  }

  /** A position before all messages of the last so many milliseconds before that one. */
  before(position: string, ms: number): string {
    const last = this.#messages.find((message) => message.position === position)
    if (last === undefined) return BEGINNING
    const first = this.#messages.findIndex(({ at }) => at >= last.at - ms)
    return this.#messages[first - 1]?.position ?? BEGINNING
  }

  /** Calls the listener whenever there is a message, until the returned function is called. */
  onMessage(listener: () => void): () => void {
    this.#listeners.add(listener)
    this.#watch()
    return () => {
      this.#listeners.delete(listener)
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true
    this.#unwatch()
    this.#cancelPoll()
    for (const listener of [...this.#listeners]) listener()
    await this.#round?.catch(() => undefined)
    this.#fail(closedError())
    this.#leaveFile()
  }

  get #longestBytes(): number {
    return Math.max(SHORTEST_FILE_BYTES, Math.min(LONGEST_FILE_BYTES, this.#options.maxBytes * PART_OF_LIMIT))
  }

  #start(): Promise<void> {
    const round = this.#run().finally(() => {
      this.#round = undefined
      if (this.#unwritten.length > 0) this.#start().catch(() => undefined)
    })
    this.#round = round
    return round
  }

  async #run(): Promise<void> {
    try {
      await Promise.resolve() // what is called in the same moment is written with it
      this.#file ??= await this.#open()
      await this.#exchange()
      while (this.#unwritten.length > 0 && !this.#isClosed) await this.#exchange()
    } catch (thrown) {
      const error = isCacheError(thrown) ? thrown : asFsError(thrown, 'coordinate', undefined, true)
      this.#fail(error)
      throw error
    }
  }

  /** Writes what is to be written, and reads all that has come. */
  async #exchange(): Promise<void> {
    this.#isToBeRead = false
    const written = await this.#write()
    const file = this.#file as OpenFile
    const isThere = await this.#readOn(file)
    for (const mark of written) {
      const waiting = this.#waiting.get(mark)
      if (waiting === undefined) continue
      if (!isThere || file.isSealed) waiting.attempts = 0
      this.#unwritten.push(mark)
    }
    if (!isThere) {
      await this.#openAnew() // somebody has removed it
    } else if (file.isSealed) {
      this.#leaveFile()
      this.#file = await this.#following(file)
    } else if (file.offset > this.#longestBytes && !file.isToBeSealed) {
      file.isToBeSealed = true
      this.append('seal', String(file.number)).catch(() => undefined)
    }
  }

  async #write(): Promise<readonly string[]> {
    const marks = this.#unwritten.splice(0)
    if (marks.length === 0) return marks
    const parts: Buffer[] = [Buffer.from('\n')] // what a write before it has left stands on a line of its own
    for (const mark of marks) {
      const waiting = this.#waiting.get(mark)
      if (waiting === undefined) continue
      if (++waiting.attempts > MOST_ATTEMPTS) throw new CacheError('failed', `a record was written ${MOST_ATTEMPTS} times and cannot be read back`, { operation: 'coordinate', backend: 'fs' })
      parts.push(encodeRecord([waiting.kind, mark, ...waiting.rest]))
    }
    const bytes = Buffer.concat(parts)
    try {
      await appendTo((this.#file as OpenFile).fd, bytes)
    } catch (error) {
      if (!isFull(error)) throw error
      await this.#makeRoom()
      await appendTo((this.#file as OpenFile).fd, bytes)
    }
    for (const mark of marks) this.#waiting.get(mark)?.written?.()
    return marks
  }

  /** On a full disk the log begins anew: what is lost by that is believed by nobody, and a removal can be told of. */
  async #makeRoom(): Promise<void> {
    const { directory } = this.#options
    for (const { name } of await this.#files()) await fs.promises.unlink(path.join(directory, name)).catch(() => undefined)
    await this.#openAnew()
  }

  /** Whatever stood in a line stands there no more. */
  async #openAnew(): Promise<void> {
    this.#leaveFile()
    this.#unwatch()
    this.lines.restore('[]')
    this.#messages = []
    this.#file = await this.#open()
  }

  /** Applies what has come. False: the file has no name any more, and what it says counts for nothing. */
  async #readOn(file: OpenFile): Promise<boolean> {
    const before = this.#messages.length
    for (;;) {
      const [piece, { nlink }] = await Promise.all([readAt(file.fd, PIECE, file.offset), statOf(file.fd)])
      if (nlink === 0) return false
      file.offset += piece.byteLength
      for (const [line, at] of file.cutter.cut(piece)) if (!file.isSealed) this.#take(file, line, at)
      if (piece.byteLength < PIECE || file.isSealed) break
    }
    if (this.#messages.length === before) return true
    if (this.#messages.length > MOST_MESSAGES) this.#messages = this.#messages.slice(-MOST_MESSAGES / 2)
    for (const listener of [...this.#listeners]) listener()
    return true
  }

  #take(file: OpenFile, line: Buffer, at: number): void {
    const record = decodeRecord(line)
    if (record === undefined) return
    const [kind, mark] = record
    const position = `${file.number}.${at}`
    if (kind === 'begin') {
      const [, , log = '', last = '', saved = '[]'] = record
      file.log = log
      file.last = last
      this.lines.restore(saved)
      return
    }
    if (kind === 'seal') file.isSealed = record[2] === String(file.number) // one that came too late for another file is none
    const outcome = kind === 'seal' ? { isGranted: true, victims: [] } : this.lines.apply(record)
    if (outcome?.message !== undefined) {
      const { id, text } = outcome.message
      this.#messages.push({ id, text, position, previous: file.last, log: file.log, at: dateIn(mark) })
      file.last = id
    }
    const waiting = this.#waiting.get(mark)
    if (waiting === undefined) return
    this.#waiting.delete(mark)
    waiting.resolve({ ...(outcome ?? { isGranted: false, victims: [] }), position })
  }

  /** The newest file there is; where there is none, a new log. */
  async #open(): Promise<OpenFile> {
    const newest = (await this.#files()).at(-1)
    if (newest !== undefined) {
      const file = await this.#openNumber(newest.number)
      if (file !== undefined) return file
    }
    // positions come after those of a log that was lost, as far as the clock tells
    return this.#create(Math.max(1, Math.floor(systemClock.now() / 1000)), randomBytes(9).toString('base64url'), '')
  }

  async #following({ number, log, last }: OpenFile): Promise<OpenFile> {
    const file = await this.#openNumber(number + 1)
    if (file !== undefined) return file
    const later = (await this.#files()).at(-1)
    if (later !== undefined && later.number > number) return (await this.#openNumber(later.number)) ?? this.#open()
    const made = await this.#create(number + 1, log, last)
    // the one before stays for those who have not read it yet
    for (const earlier of await this.#files()) if (earlier.number < number) await fs.promises.unlink(this.#pathOf(earlier.number)).catch(() => undefined)
    return made
  }

  /** @param last the id of the message before */
  async #create(number: number, log: string, last: string): Promise<OpenFile> {
    const { directory, root, modes } = this.#options
    await makeDirectory(directory, { root, modes })
    const draft = path.join(directory, `draft-${this.#by}`)
    await withFiles(NO_OPTIONS, () => fs.promises.writeFile(draft, encodeRecord(['begin', '', log, last, this.lines.save()]), { mode: modes.file }))
    await modes.settleFile(draft)
    try {
      await fs.promises.link(draft, this.#pathOf(number))
    } catch (error) {
      const code = codeOf(error) ?? ''
      if (NO_HARD_LINKS.has(code)) throw new CacheError('misconfigured', 'processes cannot be coordinated over a file system without hard links', { operation: 'coordinate', backend: 'fs', cause: error })
      if (code !== 'EEXIST') throw error // else another process was faster
    } finally {
      await fs.promises.unlink(draft).catch(() => undefined)
    }
    return (await this.#openNumber(number)) ?? this.#open()
  }

  async #openNumber(number: number): Promise<OpenFile | undefined> {
    try {
      const fd = await openToAppend(this.#pathOf(number))
      const file = { fd, number, cutter: new LineCutter(0), offset: 0, log: '', last: '', isToBeSealed: false, isSealed: false }
      const isThere = await this.#readOn(file)
      this.#watch()
      if (isThere) return file
      fs.close(fd, () => undefined)
      return undefined
    } catch (error) {
      if (isMissing(error)) return undefined
      throw error
    }
  }

  async #files(): Promise<{ readonly name: string; readonly number: number }[]> {
    const names = await fs.promises.readdir(this.#options.directory).catch((error: unknown) => {
      if (isMissing(error)) return [] as string[]
      throw error
    })
    return names.flatMap((name) => {
      const number = Number(NAME.exec(name)?.[1])
      return Number.isNaN(number) ? [] : [{ name, number }]
    }).sort((one, other) => one.number - other.number)
  }

  #pathOf(number: number): string {
    return path.join(this.#options.directory, `log.${number}`)
  }

  #leaveFile(): void {
    if (this.#file !== undefined) fs.close(this.#file.fd, () => undefined)
    this.#file = undefined
  }

  #fail(error: CacheError): void {
    const waiting = [...this.#waiting.values()]
    this.#waiting.clear()
    this.#unwritten = []
    for (const { reject } of waiting) reject(error)
  }

  /** Reads on whenever somebody has appended something. */
  #watch(): void {
    if (this.#watcher !== undefined || this.#isClosed || this.#listeners.size === 0) return
    try {
      const watcher = fs.watch(this.#options.directory, { persistent: false }, () => this.#changed())
      watcher.on('error', () => {
        watcher.close()
        if (this.#watcher === watcher) this.#watcher = undefined
        this.#poll()
      })
      this.#watcher = watcher
    } catch {
      this.#poll() // no directory yet, or the system watches no more
    }
  }

  #unwatch(): void {
    this.#watcher?.close()
    this.#watcher = undefined
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

  #poll(): void {
    this.#cancelPoll()
    this.#cancelPoll = systemClock.schedule(
      POLL_MS,
      () => {
        if (this.#isClosed || this.#listeners.size === 0) return
        this.#changed()
        this.#watch()
      },
      { background: true },
    )
  }
}

/** Where the log begins: before any message. */
export const BEGINNING = '0.0'

export function isBefore(position: string, other: string): boolean {
  const [file, at] = numbersOf(position)
  const [otherFile, otherAt] = numbersOf(other)
  return file < otherFile || (file === otherFile && at < otherAt)
}

/** A mark ends with when it was made. */
function dateIn(mark: string): number {
  return Number.parseInt(mark.slice(mark.indexOf('.') + 1), 36)
}

function numbersOf(position: string): readonly [file: number, at: number] {
  const [file, at] = position.split('.')
  return [Number(file), Number(at)]
}

export function closedError(): CacheError {
  return new CacheError('closed', 'coordination is closed', { operation: 'coordinate', backend: 'fs' })
}

function statOf(fd: number): Promise<fs.Stats> {
  return new Promise((resolve, reject) => {
    fs.fstat(fd, (error, stats) => (error === null ? resolve(stats) : reject(error)))
  })
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
