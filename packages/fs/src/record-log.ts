import { randomBytes } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import { CacheError, messageOf, type InvalidationRecord, type RecordLog } from '@thermocline/backend'
import { sharedDisk, withFiles } from './disk.js'
import { ACCESS_ADVICE, codeOf, isDenied, isMissing } from './errors.js'
import { makeDirectory } from './make-directory.js'
import { lineOf, replay } from './record-lines.js'
import type { Store } from './store.js'

/** Rewritten when it has this many lines more than twice the live ones, or so many bytes more. */
const SLACK_LINES = 1000
const SLACK_BYTES = 1024 * 1024
/** More is neither written nor read: some hundred thousand records. */
const MOST_BYTES = 64 * 1024 * 1024
/** What nobody has paid for so long belongs to tiers that no longer exist. */
const FORGOTTEN_AFTER_MS = 30 * 24 * 3_600_000
const NAME = /^[\w-]{12}\.jsonl$/
const NO_OPTIONS = {}

interface Inherited {
  readonly mtimeMs: number
  /** Lines of records that are not paid. */
  readonly open: Set<string>
  /** Whether there is nothing in it but what this release knows. */
  readonly isUnderstood: boolean
}

/**
 * Owed invalidations on disk: one file of JSON lines per process. A process that starts reads all files, also those that
 * crashed ones left; when everything it read is paid and a file has not changed since, the file is removed. Reading a
 * record that its owner has paid meanwhile costs a superfluous delete, never a stale value. A file with lines that a newer release
 * may have written stays.
 */
export class FileRecordLog implements RecordLog {
  readonly #store: Store
  readonly #directory: string
  readonly #path: string
  readonly #live = new Set<string>()
  readonly #inherited = new Map<string, Inherited>()
  #lines = 0
  /** Of the file, and of its live lines. */
  #bytes = 0
  #liveBytes = 0
  /** The file lacks lines, or ends in part of one, because a write failed. */
  #behind = false
  #writing: Promise<void> = Promise.resolve()

  constructor(store: Store) {
    this.#store = store
    this.#directory = store.layout.records
    this.#path = path.join(this.#directory, `${randomBytes(9).toString('base64url')}.jsonl`)
  }

  load(): readonly InvalidationRecord[] {
    return this.#names().flatMap((name) => {
      const file = path.join(this.#directory, name)
      try {
        return this.#loadFile(file)
      } catch (error) {
        if (!isMissing(error)) this.#report(file, 'cannot be read', error)
        return []
      }
    })
  }

  add(record: InvalidationRecord): Promise<void> {
    const line = lineOf(record)
    if (this.#live.has(line)) return this.#writing
    this.#live.add(line)
    this.#liveBytes += bytesOf(line)
    return this.#append(`+${line}\n`)
  }

  remove(record: InvalidationRecord): void {
    const line = lineOf(record)
    if (this.#live.delete(line)) {
      this.#liveBytes -= bytesOf(line)
      void this.#append(`-${line}\n`)
    }
    for (const [file, { mtimeMs, open, isUnderstood }] of this.#inherited) {
      if (open.delete(line) && open.size === 0) {
        this.#inherited.delete(file)
        if (isUnderstood) this.#writing = this.#writing.then(() => this.#removeUnchanged(file, mtimeMs))
      }
    }
  }

  async close(): Promise<void> {
    await this.#writing
  }

  #loadFile(file: string): readonly InvalidationRecord[] {
    const stats = fs.statSync(file)
    if (!stats.isFile()) return []
    if (stats.size > MOST_BYTES) {
      this.#report(file, `was left out and stays: it has ${stats.size} bytes, no release writes more than ${MOST_BYTES}`)
      return []
    }
    const { records, isUnderstood } = replay(file)
    if (records.size > 0) this.#inherited.set(file, { mtimeMs: stats.mtimeMs, open: new Set(records.keys()), isUnderstood })
    if (isUnderstood && this.#store.hosts.clock.now() - stats.mtimeMs > FORGOTTEN_AFTER_MS) fs.unlinkSync(file)
    return [...records.values()]
  }

  #names(): string[] {
    try {
      return fs.readdirSync(this.#directory).filter((name) => NAME.test(name))
    } catch (error) {
      if (!isMissing(error)) this.#report(this.#directory, 'cannot be read', error)
      return []
    }
  }

  #append(text: string): Promise<void> {
    this.#lines++
    this.#bytes += Buffer.byteLength(text)
    const rewrite = this.#live.size === 0 || this.#lines > this.#live.size * 2 + SLACK_LINES || this.#bytes > this.#liveBytes * 2 + SLACK_BYTES
    this.#writing = this.#writing.then(async () => {
      try {
        await this.#store.writes.run(NO_OPTIONS, () => sharedDisk().turns.during(NO_OPTIONS, () => (rewrite || this.#behind ? this.#rewrite() : this.#write(text)), true))
        this.#behind = false
        this.#store.hosts.forget(this.#path)
      } catch (error) {
        // the record still holds in this process, and the next write brings it along
        this.#behind = true
        this.#report(this.#path, 'cannot be written', error)
      }
    })
    return this.#writing
  }

  async #write(text: string): Promise<void> {
    try {
      await this.#appendFile(text)
    } catch (error) {
      if (!isMissing(error)) throw error
      await this.#makeDirectory()
      await this.#appendFile(text)
    }
  }

  async #appendFile(text: string): Promise<void> {
    if (this.#bytes > MOST_BYTES) throw tooMuch()
    const { modes } = this.#store
    await withFiles(NO_OPTIONS, async () => {
      const file = await fs.promises.open(this.#path, 'a', modes.file)
      try {
        await modes.settle(file.fd)
        await file.appendFile(text)
      } finally {
        await file.close()
      }
    })
  }

  async #rewrite(): Promise<void> {
    this.#lines = this.#live.size
    this.#bytes = this.#liveBytes
    if (this.#live.size === 0) return fs.promises.rm(this.#path, { force: true })
    if (this.#liveBytes > MOST_BYTES) throw tooMuch()
    await this.#makeDirectory()
    const { modes } = this.#store
    const next = `${this.#path}.new`
    await withFiles(NO_OPTIONS, () => fs.promises.writeFile(next, [...this.#live].map((line) => `+${line}\n`).join(''), { mode: modes.file }))
    await modes.settleFile(next)
    await fs.promises.rename(next, this.#path)
  }

  async #makeDirectory(): Promise<void> {
    const { layout, modes } = this.#store
    await makeDirectory(this.#directory, { root: layout.root, modes })
  }

  async #removeUnchanged(file: string, mtimeMs: number): Promise<void> {
    const stats = await fs.promises.stat(file).catch(() => undefined)
    if (stats?.mtimeMs === mtimeMs) await fs.promises.unlink(file).catch(() => undefined)
  }

  /** Once for each file, until it can be written again. */
  #report(file: string, what: string, cause?: unknown): void {
    const why = cause === undefined ? '' : `: ${codeOf(cause) ?? messageOf(cause)}${isDenied(cause) ? ACCESS_ADVICE : ''}`
    const message = `a record of invalidations that tiers still owe ${what}${why}: ${file}`
    this.#store.hosts.reportOnceSoon(file, new CacheError(isDenied(cause) ? 'access-denied' : 'failed', message, { operation: 'record', backend: 'fs', concerns: 'key', cause }))
  }
}

function bytesOf(line: string): number {
  return Buffer.byteLength(line) + 2
}

function tooMuch(): Error {
  return Object.assign(new Error(`it would have more than ${MOST_BYTES} bytes`), { code: 'EFBIG' })
}
