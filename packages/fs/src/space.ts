import fs from 'node:fs'
import path from 'node:path'
import type { Clock, EvictionReason, FrameHeader, OperationOptions } from '@thermocline/core'
import { keepUntilOf, removeEntryFile, type Removed } from './entry-file.js'
import { isWholeStore } from './errors.js'
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
const NEW_DIRECTORY_BYTES = 4096

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
  /** Those that wait for room, to be told that it is being made. */
  readonly #waiting = new Set<() => void>()
  readonly #landings: (() => void)[] = []
  /** Files in the place of entries that are not ours or cannot be removed; anew with each sweep. */
  readonly #immovable = new Set<string>()
  readonly #grown = new Set<string>()
  #oldest: ScannedFile[] = []
  #entriesIn = new Map<string, number>()
  #directorySizes = new Map<string, number>()
  #known = false
  #firstScan: Promise<void> | undefined
  #turn: Promise<unknown> = Promise.resolve()
  /** Turns that wait or run. */
  #queued = 0
  /** Reserved files that have neither landed nor been dropped. */
  #writing = 0

  constructor(host: SpaceHost) {
    this.#host = host
    this.#usage = new Usage(host.layout.usage, host.maxBytes)
  }

  /** Bytes occupied; `undefined` until the first scan is done. */
  get occupied(): number | undefined {
    return this.#known ? Math.max(0, this.#usage.occupied) : undefined
  }

  /**
   * Makes room for a file of that size and counts it as there; `landed` or `dropped` follows. False when there is no room to
   * be had, because what is left is not ours to remove.
   *
   * A file that is larger than what the limit leaves for entries gets its room once nothing is left to evict.
   */
  async reserve(bytes: number, options: OperationOptions): Promise<boolean> {
    const { progress } = options
    if (progress !== undefined) this.#waiting.add(progress)
    try {
      await this.#scanOnce()
      if (this.#queued === 0 && this.#fits(bytes)) this.#usage.reserved(bytes)
      else if (!(await this.#queue(() => this.#makeRoom(bytes)))) return false
      this.#writing++
      return true
    } finally {
      if (progress !== undefined) this.#waiting.delete(progress)
    }
  }

  /** A reserved file got its name in the directory, over another of `replaced` bytes. */
  landed(bytes: number, directory: string, replaced: number): void {
    this.#usage.settled(bytes, true)
    this.#usage.removed(replaced)
    this.#grown.add(directory)
    this.#landing()
  }

  /** A reserved file was not written. */
  dropped(bytes: number): void {
    this.#usage.settled(bytes, false)
    this.#landing()
  }

  /** A file is no longer there. */
  removed(bytes: number): void {
    this.#usage.removed(bytes)
  }

  /** This process made a tenant's directory. */
  async directoryMade(directory: string): Promise<void> {
    const bytes = await sizeOf(directory)
    this.#usage.added(bytes)
    this.#directorySizes.set(directory, bytes)
  }

  /** Removes a tenant's directory if it is empty, so that tenants without entries leave nothing behind. */
  async removeDirectory(directory: string): Promise<void> {
    try {
      await fs.promises.rmdir(directory)
    } catch {
      return // not empty after all
    }
    this.#usage.removed(this.#directorySizes.get(directory) ?? 0)
    this.#directorySizes.delete(directory)
    this.#entriesIn.delete(directory)
  }

  /** Scans anew, and forgets what stale processes told. */
  async sweep(): Promise<void> {
    this.#immovable.clear()
    await this.#rescan()
    await this.#queue(() => this.#usage.exchange()) // says that this process lives
    await this.#usage.dropStale(this.#host.clock().now())
  }

  async close(): Promise<void> {
    if (this.#known) await this.#queue(() => this.#usage.close())
  }

  #fits(bytes: number): boolean {
    return !this.#usage.mustExchange(bytes) && this.#usage.occupied + bytes <= this.#host.maxBytes
  }

  #scanOnce(): Promise<void> {
    if (this.#known) return Promise.resolve()
    this.#firstScan ??= this.#rescan().finally(() => {
      this.#firstScan = undefined
    })
    return this.#firstScan
  }

  /** One at a time: two that evict at once would evict for each other too. */
  #queue<T>(work: () => Promise<T>): Promise<T> {
    this.#queued++
    const turn = this.#turn.then(work).finally(() => this.#queued--)
    this.#turn = turn.catch(() => undefined)
    return turn
  }

  async #makeRoom(bytes: number): Promise<boolean> {
    this.#usage.reserved(bytes)
    try {
      if (this.#usage.mustExchange(0)) {
        await this.#measureGrowth()
        await this.#usage.exchange()
      }
      while (this.#usage.occupied > this.#host.maxBytes) {
        const victim = this.#oldest.shift() ?? (await this.#findOldest())
        if (victim !== undefined) await this.#evict(victim)
        else if (this.#writing > 0) await this.#nextLanding()
        else if (this.#usage.occupied - bytes <= this.#host.maxBytes) return true
        else {
          this.#usage.settled(bytes, false)
          return false
        }
        this.#progress()
      }
      return true
    } catch (error) {
      this.#usage.settled(bytes, false)
      throw error
    }
  }

  /** The budgets of all that wait are renewed by the one who works. */
  #progress(): void {
    for (const renew of this.#waiting) renew()
  }

  #nextLanding(): Promise<void> {
    return new Promise((resolve) => this.#landings.push(resolve))
  }

  #landing(): void {
    this.#writing--
    for (const resume of this.#landings.splice(0)) resume()
  }

  async #findOldest(): Promise<ScannedFile | undefined> {
    await this.#rescan()
    return this.#usage.occupied > this.#host.maxBytes ? this.#oldest.shift() : undefined
  }

  async #evict(victim: ScannedFile): Promise<void> {
    const { recency } = this.#host
    if ((recency.usedAt(victim.path) ?? 0) > victim.usedAt) return
    const present = await fs.promises.stat(victim.path).catch(() => undefined)
    if (present === undefined || present.atimeMs > victim.usedAt) return
    const over = keepUntilOf(victim.mtimeMs) <= this.#host.clock().now()
    const removed = await this.#removeVictim(victim.path)
    if (removed === undefined) return
    this.#usage.removed(removed.bytes)
    recency.forget(victim.path)
    if (removed.header !== undefined) this.#host.evicted(removed.header, over ? 'expired' : 'space')
    const directory = path.dirname(victim.path)
    const left = (this.#entriesIn.get(directory) ?? 0) - 1
    this.#entriesIn.set(directory, left)
    if (left <= 0) await this.removeDirectory(directory)
  }

  /** What cannot be removed is remembered, or the next scan would list it again, for ever. */
  async #removeVictim(file: string): Promise<Removed | undefined> {
    try {
      const removed = await removeEntryFile(file)
      if (removed === undefined && (await exists(file))) this.#immovable.add(file) // not ours
      return removed
    } catch (error) {
      if (isWholeStore(error)) throw error
      this.#immovable.add(file)
      return undefined
    }
  }

  async #measureGrowth(): Promise<void> {
    const { tmp, tenants } = this.#host.layout
    const grown = [tmp, tenants, ...this.#grown]
    this.#grown.clear()
    for (const directory of grown) {
      const bytes = await sizeOf(directory)
      // another process made it and has counted it as it was when it was new
      this.#usage.added(Math.max(0, bytes - (this.#directorySizes.get(directory) ?? Math.min(bytes, NEW_DIRECTORY_BYTES))))
      this.#directorySizes.set(directory, bytes)
    }
  }

  async #rescan(): Promise<void> {
    const found: ScannedFile[] = []
    const entriesIn = new Map<string, number>()
    const directorySizes = new Map<string, number>()
    const empty: string[] = []
    const { layout, recency } = this.#host
    const now = this.#host.clock().now()
    await this.#usage.rebase(now, () =>
      scan(layout, {
        entry: (file, directory) => {
          entriesIn.set(directory, (entriesIn.get(directory) ?? 0) + 1)
          if (!this.#immovable.has(file.path)) found.push({ ...file, usedAt: Math.max(file.usedAt, recency.usedAt(file.path) ?? 0) })
        },
        directory: (directory, bytes, isEmpty) => {
          directorySizes.set(directory, bytes)
          if (isEmpty) empty.push(directory)
        },
        progress: () => this.#progress(),
      }),
    )
    for (const directory of [layout.tmp, layout.tenants]) directorySizes.set(directory, await sizeOf(directory))
    this.#known = true
    this.#entriesIn = entriesIn
    this.#directorySizes = directorySizes
    for (const directory of empty) await this.removeDirectory(directory)
    const rank = (file: ScannedFile): number => (keepUntilOf(file.mtimeMs) <= now ? 0 : file.usedAt)
    found.sort((a, b) => rank(a) - rank(b))
    const listed = Math.min(MOST_LISTED, Math.max(LEAST_LISTED, Math.ceil(found.length * LISTED_PART)))
    this.#oldest = found.slice(0, listed)
  }
}

function exists(file: string): Promise<boolean> {
  return fs.promises.lstat(file).then(
    () => true,
    () => false,
  )
}
