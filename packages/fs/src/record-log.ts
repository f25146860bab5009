import { randomBytes } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import type { InvalidationRecord, RecordLog } from '@thermocline/core'
import { isMissing } from './errors.js'
import { makeDirectory } from './make-directory.js'

/** Rewritten when it has this many lines more than twice the live ones. */
const SLACK_LINES = 1000
/** What nobody has paid for so long belongs to tiers that no longer exist. */
const FORGOTTEN_AFTER_MS = 30 * 24 * 3_600_000
const NAME = /^[\w-]{12}\.jsonl$/

/**
 * Owed invalidations on disk: one file of JSON lines per process. A process that starts reads all files, also those that
 * crashed ones left; when everything it read is paid and a file has not changed since, the file is removed. Reading a
 * record that its owner has paid meanwhile costs a superfluous delete, never a stale value.
 */
export class FileRecordLog implements RecordLog {
  readonly #directory: string
  readonly #path: string
  readonly #live = new Set<string>()
  readonly #inherited = new Map<string, { readonly mtimeMs: number; readonly open: Set<string> }>()
  #lines = 0
  /** The file lacks lines, or ends in part of one, because a write failed. */
  #behind = false
  #writing: Promise<void> = Promise.resolve()

  constructor(directory: string) {
    this.#directory = directory
    this.#path = path.join(directory, `${randomBytes(9).toString('base64url')}.jsonl`)
  }

  load(): readonly InvalidationRecord[] {
    const records: InvalidationRecord[] = []
    for (const name of readNames(this.#directory)) {
      const file = path.join(this.#directory, name)
      try {
        const { mtimeMs } = fs.statSync(file)
        const lines = replay(fs.readFileSync(file, 'utf8'))
        if (lines.size > 0) this.#inherited.set(file, { mtimeMs, open: lines })
        if (Date.now() - mtimeMs > FORGOTTEN_AFTER_MS) fs.unlinkSync(file)
        for (const line of lines) {
          const record = parse(line)
          if (record !== undefined) records.push(record)
        }
      } catch {
        continue // gone meanwhile
      }
    }
    return records
  }

  add(record: InvalidationRecord): Promise<void> {
    const line = lineOf(record)
    if (this.#live.has(line)) return this.#writing
    this.#live.add(line)
    return this.#append(`+${line}\n`)
  }

  remove(record: InvalidationRecord): void {
    const line = lineOf(record)
    if (this.#live.delete(line)) void this.#append(`-${line}\n`)
    for (const [file, { mtimeMs, open }] of this.#inherited) {
      if (open.delete(line) && open.size === 0) {
        this.#inherited.delete(file)
        this.#writing = this.#writing.then(() => this.#removeUnchanged(file, mtimeMs))
      }
    }
  }

  async close(): Promise<void> {
    await this.#writing
  }

  #append(text: string): Promise<void> {
    this.#lines++
    const rewrite = this.#live.size === 0 || this.#lines > this.#live.size * 2 + SLACK_LINES
    this.#writing = this.#writing.then(async () => {
      try {
        await (rewrite || this.#behind ? this.#rewrite() : this.#write(text))
        this.#behind = false
      } catch {
        // the record still holds in this process, and the next write brings it along; a disk that fails is reported by the tier itself
        this.#behind = true
      }
    })
    return this.#writing
  }

  async #write(text: string): Promise<void> {
    try {
      await fs.promises.appendFile(this.#path, text)
    } catch (error) {
      if (!isMissing(error)) throw error
      await makeDirectory(this.#directory)
      await fs.promises.appendFile(this.#path, text)
    }
  }

  async #rewrite(): Promise<void> {
    this.#lines = this.#live.size
    if (this.#live.size === 0) return fs.promises.rm(this.#path, { force: true })
    await makeDirectory(this.#directory)
    const next = `${this.#path}.new`
    await fs.promises.writeFile(next, [...this.#live].map((line) => `+${line}\n`).join(''))
    await fs.promises.rename(next, this.#path)
  }

  async #removeUnchanged(file: string, mtimeMs: number): Promise<void> {
    const stats = await fs.promises.stat(file).catch(() => undefined)
    if (stats?.mtimeMs === mtimeMs) await fs.promises.unlink(file).catch(() => undefined)
  }
}

function readNames(directory: string): string[] {
  try {
    return fs.readdirSync(directory).filter((name) => NAME.test(name))
  } catch {
    return []
  }
}

/** The lines added and not removed; a last line that was cut off in a crash is left out. */
function replay(text: string): Set<string> {
  const live = new Set<string>()
  for (const line of text.split('\n').slice(0, -1)) {
    if (line.startsWith('+')) live.add(line.slice(1))
    else live.delete(line.slice(1))
  }
  return live
}

/** The record of a line; `undefined` for one that a broken write mangled. */
function parse(line: string): InvalidationRecord | undefined {
  try {
    return JSON.parse(line) as InvalidationRecord
  } catch {
    return undefined
  }
}

/** One spelling per record, so that it can be found again. */
function lineOf({ tier, tenant, key, prefix }: InvalidationRecord): string {
  return JSON.stringify(key === undefined ? { tier, tenant, prefix } : { tier, tenant, key })
}
