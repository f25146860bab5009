import { randomBytes } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'

/*
 * How many bytes the directory occupies, known to every process that shares it.
 *
 * Problem. The limit holds for all processes together, within 5%, and a scan of the directory takes up to a second.
 *
 * Approach. Each process counts the bytes it has added and removed since it started and publishes both in a file of its
 * own. Occupied is then: what the last scan found, plus what everybody added since the scan began, minus what everybody
 * removed since it ended. Files written or removed during the scan may be counted too high, never too low; the next scan
 * sets it right, and also what a crashed process did not publish. A process publishes before it reads the others' files, so
 * of two that write at the same moment at least one sees the other; and it does so before it has added 2% of the
 * limit, shared out among the processes, without telling.
 *
 * Rejected: one shared file with a lock (a crashed holder stops everybody), an append-only log of all files (must be
 * compacted while others append), and a budget fixed per process (most of it unused).
 */

/** The part of the limit that all processes together may have added without telling. */
const UNTOLD_PART = 0.02
const STALE_AFTER_MS = 24 * 3_600_000

interface Published {
  added: number
  removed: number
}

/** Counts as they were at some instant, by process. */
type Mark = ReadonlyMap<string, Readonly<Published>>

export class Usage {
  readonly #directory: string
  readonly #maxBytes: number
  readonly #id = randomBytes(9).toString('base64url')
  readonly #own: Published = { added: 0, removed: 0 }
  #others: Map<string, Published> = new Map()
  #untold = 0
  #scanned = 0
  #addedBefore: Mark = new Map()
  #removedBefore: Mark = new Map()

  constructor(directory: string, maxBytes: number) {
    this.#directory = directory
    this.#maxBytes = maxBytes
  }

  added(bytes: number): void {
    this.#own.added += bytes
    this.#untold += bytes
  }

  removed(bytes: number): void {
    this.#own.removed += bytes
  }

  /** Bytes occupied, as far as is known; never too low by more than what others have not told yet. */
  get occupied(): number {
    let occupied = this.#scanned
    for (const [id, { added, removed }] of this.#all()) {
      occupied += added - (this.#addedBefore.get(id)?.added ?? 0) - (removed - (this.#removedBefore.get(id)?.removed ?? 0))
    }
    return occupied
  }

  /** Whether enough was added to tell the others, and to ask what they did. */
  get mustExchange(): boolean {
    return this.#untold > (this.#maxBytes * UNTOLD_PART) / (this.#others.size + 1)
  }

  /** Publishes the own counts, then reads everybody else's. */
  async exchange(): Promise<void> {
    this.#untold = 0
    await fs.promises.mkdir(this.#directory, { recursive: true })
    await fs.promises.writeFile(path.join(this.#directory, this.#id), `${this.#own.added} ${this.#own.removed}\n`)
    await this.#readOthers()
  }

  /** Runs a scan and takes its result as the new beginning. */
  async rebase(scan: () => Promise<number>): Promise<void> {
    await this.#readOthers()
    const before = this.#mark()
    const scanned = await scan()
    await this.#readOthers()
    this.#scanned = scanned
    this.#addedBefore = before
    this.#removedBefore = this.#mark()
  }

  /** Leaves the final counts for the others, or nothing when there are none. */
  async close(): Promise<void> {
    await this.exchange()
    if (this.#others.size === 0) await fs.promises.unlink(path.join(this.#directory, this.#id))
  }

  #mark(): Mark {
    return new Map([...this.#all()].map(([id, counts]) => [id, { ...counts }]))
  }

  *#all(): Iterable<readonly [string, Readonly<Published>]> {
    yield [this.#id, this.#own]
    yield* this.#others
  }

  async #readOthers(): Promise<void> {
    const names = await fs.promises.readdir(this.#directory).catch(() => [])
    await Promise.all(names.filter((name) => name !== this.#id).map((name) => this.#readOther(name)))
  }

  async #readOther(name: string): Promise<void> {
    const file = path.join(this.#directory, name)
    const text = await fs.promises.readFile(file, 'utf8').catch(() => '')
    const counts = /^(\d+) (\d+)\n$/.exec(text)
    // half-written or gone: what is known of it still holds
    if (counts !== null) this.#others.set(name, { added: Number(counts[1]), removed: Number(counts[2]) })
  }

  /** Removes the counts of processes that have not told anything for a day: every scan since has them included. */
  async dropStale(now: number): Promise<void> {
    for (const name of this.#others.keys()) {
      const file = path.join(this.#directory, name)
      const stats = await fs.promises.stat(file).catch(() => undefined)
      if (stats !== undefined && now - stats.mtimeMs > STALE_AFTER_MS) await fs.promises.unlink(file).catch(() => undefined)
    }
  }
}
