import fs from 'node:fs'
import path from 'node:path'
import type { Clock, EvictionReason, FrameHeader, OperationOptions } from '@thermocline/core'
import { keepUntilOf, removeEntryFile } from './entry-file.js'
import type { Layout } from './layout.js'
import type { Recency } from './recency.js'
import { scan, sizeOf, type ScannedFile } from './scan.js'
import { Usage } from './usage.js'

/*
 * Keeping the directory under its limit.
 *
 * Room is made before a file is written, so temporary files count and the limit holds at every moment. Who has to go is
 * found without an index in memory: a scan lists the quarter of the entries that were not used for the longest time, and
 * evictions take from that list, each checked against the file's present access time. An entry used since then is
 * skipped, and entries written since then are younger than everything on the list, so the order is exactly "least recently
 * used first". The next scan comes when the list is used up: four stats for one eviction.
 *
 * Rejected: an index of all entries in memory (150 MB for a million files, and blind to other processes).
 */

const LISTED_PART = 0.25
const LEAST_LISTED = 64
const MOST_LISTED = 50_000

export interface SpaceHost {
  readonly layout: Layout
  readonly maxBytes: number
  readonly clock: () => Clock
  readonly recency: Recency
  evicted(header: FrameHeader, reason: EvictionReason): void
}

export class Space {
  readonly #host: SpaceHost
  readonly #usage: Usage
  readonly #directorySizes = new Map<string, number>()
  readonly #grown = new Set<string>()
  #oldest: ScannedFile[] = []
  #entriesIn = new Map<string, number>()
  #firstScan: Promise<void> | undefined
  #makingRoom: Promise<void> = Promise.resolve()

  constructor(host: SpaceHost) {
    this.#host = host
    this.#usage = new Usage(host.layout.usage, host.maxBytes)
  }

  /** Bytes occupied, once the first scan is done. */
  get occupied(): number {
    return this.#usage.occupied
  }

  /** Whether the occupied bytes are known. */
  get known(): boolean {
    return this.#firstScan !== undefined
  }

  /**
   * Makes room for a file of that size and counts it as there. `release` gives it back.
   *
   * Resolves also when nothing is left to evict: then the file is larger than what the limit leaves for entries.
   */
  async reserve(bytes: number, options: OperationOptions): Promise<void> {
    this.#firstScan ??= this.#rescan(options).catch((error: unknown) => {
      this.#firstScan = undefined
      throw error
    })
    await this.#firstScan
    this.#usage.added(bytes)
    if (!this.#usage.mustExchange && this.#usage.occupied <= this.#host.maxBytes) return
    const turn = this.#makingRoom.then(() => this.#makeRoom(options))
    this.#makingRoom = turn.catch(() => undefined)
    try {
      await turn
    } catch (error) {
      this.#usage.removed(bytes)
      throw error
    }
  }

  /** Bytes that are no longer there. */
  release(bytes: number): void {
    this.#usage.removed(bytes)
  }

  /** A file was put into a tenant's directory, which may have grown. */
  filed(directory: string): void {
    this.#grown.add(directory)
  }

  /** A tenant's directory was made. */
  async directoryMade(directory: string): Promise<void> {
    this.#count(directory, await sizeOf(directory))
  }

  /** Scans anew, removes what is over, and forgets what stale processes told. */
  async sweep(): Promise<void> {
    await this.#rescan({})
    this.#firstScan ??= Promise.resolve()
    await this.#usage.dropStale(this.#host.clock().now())
  }

  async close(): Promise<void> {
    if (this.#firstScan !== undefined) await this.#usage.close()
  }

  async #makeRoom(options: OperationOptions): Promise<void> {
    if (this.#usage.mustExchange) {
      await this.#measureGrowth()
      await this.#usage.exchange()
    }
    while (this.#usage.occupied > this.#host.maxBytes) {
      const victim = this.#oldest.shift() ?? (await this.#findOldest(options))
      if (victim === undefined) return
      await this.#evict(victim)
      options.progress?.()
    }
  }

  async #findOldest(options: OperationOptions): Promise<ScannedFile | undefined> {
    await this.#rescan(options)
    return this.#usage.occupied > this.#host.maxBytes ? this.#oldest.shift() : undefined
  }

  async #evict(victim: ScannedFile): Promise<void> {
    const { recency } = this.#host
    if ((recency.usedAt(victim.path) ?? 0) > victim.usedAt) return
    const present = await fs.promises.stat(victim.path).catch(() => undefined)
    if (present === undefined || present.atimeMs > victim.usedAt) return
    const over = keepUntilOf(victim.mtimeMs) <= this.#host.clock().now()
    const removed = await removeEntryFile(victim.path)
    if (removed === undefined) return
    this.#usage.removed(removed.bytes)
    recency.forget(victim.path)
    if (removed.header !== undefined) this.#host.evicted(removed.header, over ? 'expired' : 'space')
    await this.#removeIfEmpty(path.dirname(victim.path))
  }

  /** Removes a tenant's directory after its last entry, so that tenants without entries leave nothing behind. */
  async #removeIfEmpty(directory: string): Promise<void> {
    const left = (this.#entriesIn.get(directory) ?? 0) - 1
    this.#entriesIn.set(directory, left)
    if (left > 0) return
    try {
      await fs.promises.rmdir(directory)
    } catch {
      return // not empty after all
    }
    this.#usage.removed(this.#directorySizes.get(directory) ?? 0)
    this.#directorySizes.delete(directory)
    this.#entriesIn.delete(directory)
  }

  async #measureGrowth(): Promise<void> {
    const grown = [...this.#grown]
    this.#grown.clear()
    for (const directory of grown) this.#count(directory, await sizeOf(directory))
  }

  #count(directory: string, bytes: number): void {
    this.#usage.added(Math.max(0, bytes - (this.#directorySizes.get(directory) ?? 0)))
    this.#directorySizes.set(directory, bytes)
  }

  async #rescan(options: OperationOptions): Promise<void> {
    const found: ScannedFile[] = []
    const entriesIn = new Map<string, number>()
    const now = this.#host.clock().now()
    await this.#usage.rebase(() =>
      scan(
        this.#host.layout,
        (file, directory) => {
          entriesIn.set(directory, (entriesIn.get(directory) ?? 0) + 1)
          found.push({ ...file, usedAt: Math.max(file.usedAt, this.#host.recency.usedAt(file.path) ?? 0) })
        },
        () => options.progress?.(),
      ),
    )
    this.#entriesIn = entriesIn
    for (const directory of entriesIn.keys()) this.#directorySizes.set(directory, await sizeOf(directory))
    const rank = (file: ScannedFile): number => (keepUntilOf(file.mtimeMs) <= now ? 0 : file.usedAt)
    found.sort((a, b) => rank(a) - rank(b))
    const listed = Math.min(MOST_LISTED, Math.max(LEAST_LISTED, Math.ceil(found.length * LISTED_PART)))
    this.#oldest = found.slice(0, listed)
  }
}
