import { randomBytes } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import type { EpochMs } from '@thermocline/backend'
import type { Modes } from './access.js'
import { sharedDisk, withFiles } from './disk.js'
import { closeInBackground, readFirst } from './file-io.js'
import type { Layout } from './layout.js'
import { makeDirectory, type OwnDirectories } from './make-directory.js'

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
 * Two things would make the sum too low. Bytes are counted as added before they are written, so a scan may miss a file that
 * was counted before it began: what is pending is told too, and does not count as added before. And what
 * another process tells after the scan includes removals from before, which the scan has seen already: the first
 * removals it tells are where counting begins.
 *
 * Rejected: one shared file with a lock (a crashed holder stops everybody), an append-only log of all files (must be
 * compacted while others append), and a budget fixed per process (most of it unused).
 */

/** The part of the limit that all processes together may have added without telling. */
const UNTOLD_PART = 0.02
const STALE_AFTER_MS = 24 * 3_600_000
/** What was pending when a process last told anything, longer ago than this, has been written or never will be. */
const PENDING_FOR_MS = 60_000
const NAME = /^[\w-]{12}$/
const TOLD = /^(\d+) (\d+) (\d+)\n$/
/** More than the longest line there can be. */
const LONGEST_TOLD = 128
const NO_OPTIONS = {}

interface Counts {
  readonly added: number
  /** The part of `added` that may not be on the disk yet. */
  readonly pending: number
  readonly removed: number
}

interface Told extends Counts {
  readonly toldAt: EpochMs
}

export class Usage {
  readonly #directory: string
  readonly #own: OwnDirectories
  readonly #maxBytes: number
  readonly #id = randomBytes(9).toString('base64url')
  #added = 0
  #pending = 0
  #removed = 0
  #untold = 0
  #others: ReadonlyMap<string, Told> = new Map()
  #scanned = 0
  /** What this process and the others had added when the last scan began, and removed when it ended. */
  #ownAddedBefore = 0
  #ownRemovedBefore = 0
  #addedBefore: ReadonlyMap<string, number> = new Map()
  #toldAtScan: ReadonlyMap<string, Counts> = new Map()
  /** By process: from which number on its removals came after the scan; absent until it tells something new. */
  readonly #removedBefore = new Map<string, number>()

  constructor({ root, usage }: Layout, modes: Modes, maxBytes: number) {
    this.#directory = usage
    this.#own = { root, modes }
    this.#maxBytes = maxBytes
  }

  /** Bytes that are about to be written; {@link settled} follows. */
  reserved(bytes: number): void {
    this.added(bytes)
    this.#pending += bytes
  }

  /** Reserved bytes were written, or not. */
  settled(bytes: number, written: boolean): void {
    this.#pending -= bytes
    if (!written) this.#added -= bytes
  }

  added(bytes: number): void {
    this.#added += bytes
    this.#untold += bytes
  }

  removed(bytes: number): void {
    this.#removed += bytes
  }

  /** Bytes occupied, as far as is known; never too low by more than what others have not told yet. */
  get occupied(): number {
    let occupied = this.#scanned + (this.#added - this.#ownAddedBefore) - (this.#removed - this.#ownRemovedBefore)
    for (const [id, { added, removed }] of this.#others) {
      occupied += added - (this.#addedBefore.get(id) ?? 0) - (removed - (this.#removedBefore.get(id) ?? removed))
    }
    return occupied
  }

  /** Whether, with so many bytes more, enough is added to tell the others, and to ask what they did. */
  mustExchange(more: number): boolean {
    return this.#untold + more > (this.#maxBytes * UNTOLD_PART) / (this.#others.size + 1)
  }

  /** Publishes the own counts, then reads everybody else's. */
  async exchange(): Promise<void> {
    this.#untold = 0
    const { modes } = this.#own
    const file = path.join(this.#directory, this.#id)
    await inTurn(async () => {
      await makeDirectory(this.#directory, this.#own)
      // renamed, so that nobody reads half of it
      await fs.promises.writeFile(`${file}.new`, `${this.#added} ${this.#pending} ${this.#removed}\n`, { mode: modes.file })
      await modes.settleFile(`${file}.new`)
      await fs.promises.rename(`${file}.new`, file)
    })
    this.#hear(await this.#readOthers())
  }

  /** Runs a scan and takes its result as the new beginning. */
  async rebase(now: EpochMs, scan: () => Promise<number>): Promise<void> {
    const before = await this.#readOthers()
    const ownAddedBefore = this.#added - this.#pending
    const scanned = await scan()
    const after = await this.#readOthers()
    this.#scanned = scanned
    this.#ownAddedBefore = ownAddedBefore
    this.#ownRemovedBefore = this.#removed
    this.#addedBefore = new Map([...before].map(([id, { added, pending, toldAt }]) => [id, now - toldAt > PENDING_FOR_MS ? added : added - pending]))
    this.#toldAtScan = after
    this.#others = after
    this.#removedBefore.clear()
  }

  /** Leaves the final counts for the others, or nothing when there are none. */
  async close(): Promise<void> {
    await this.exchange()
    if (this.#others.size === 0) await fs.promises.unlink(path.join(this.#directory, this.#id))
  }

  /** Removes the counts of processes that have not told anything for a day: every scan since has them included. */
  async dropStale(now: EpochMs): Promise<void> {
    for (const name of await this.#names()) {
      const file = path.join(this.#directory, name)
      const stats = await fs.promises.stat(file).catch(() => undefined)
      if (stats !== undefined && now - stats.mtimeMs > STALE_AFTER_MS) await fs.promises.unlink(file).catch(() => undefined)
    }
  }

  #hear(told: ReadonlyMap<string, Told>): void {
    // one whose file has gone still counts, until the next scan
    this.#others = new Map([...this.#others, ...told])
    for (const [id, { added, removed }] of told) {
      if (this.#removedBefore.has(id)) continue
      const then = this.#toldAtScan.get(id)
      if (then?.added !== added || then.removed !== removed) this.#removedBefore.set(id, removed)
    }
  }

  async #readOthers(): Promise<Map<string, Told>> {
    const names = (await this.#names()).filter((name) => name !== this.#id)
    const told = await Promise.all(names.map((name) => this.#readOther(name)))
    return new Map(names.flatMap((name, at) => (told[at] === undefined ? [] : [[name, told[at]] as const])))
  }

  async #readOther(name: string): Promise<Told | undefined> {
    const file = path.join(this.#directory, name)
    try {
      const [text, { mtimeMs }] = await inTurn(() => Promise.all([readFirst(file, LONGEST_TOLD, NO_OPTIONS, closeInBackground), fs.promises.stat(file)]))
      const counts = TOLD.exec(text.toString('latin1'))
      return counts === null ? undefined : { added: Number(counts[1]), pending: Number(counts[2]), removed: Number(counts[3]), toldAt: mtimeMs }
    } catch {
      return undefined // gone meanwhile
    }
  }

  async #names(): Promise<string[]> {
    const names = await inTurn(() => fs.promises.readdir(this.#directory)).catch(() => [])
    return names.filter((name) => NAME.test(name))
  }
}

/** Within a turn, also while descriptors are short. */
function inTurn<T>(step: () => Promise<T>): Promise<T> {
  return sharedDisk().turns.during(NO_OPTIONS, () => withFiles(NO_OPTIONS, step), true)
}
