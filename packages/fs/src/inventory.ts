import fs from 'node:fs'
import path from 'node:path'
import { keepUntilOf, removeEntryFile, type Removed } from './entry-file.js'
import { isWholeStore } from './errors.js'
import type { Hosts } from './hosts.js'
import type { Layout } from './layout.js'
import type { Recency } from './recency.js'
import { scan, sizeOf, type ScannedFile } from './scan.js'
import type { Usage } from './usage.js'

/*
 * What is there, and who has to go.
 *
 * This is found without an index in memory: a scan lists the quarter of the entries that were not used for the longest time,
 * and evictions take from that list, each checked against the file's present access time. An entry used since then is
 * skipped, and entries written since then are younger than everything on the list, so the order is exactly "least recently
 * used first". The next scan comes when the list is used up: four stats for one eviction.
 *
 * Rejected: an index of all entries in memory (150 MB for a million files, and blind to other processes).
 */

const LISTED_PART = 0.25
const LEAST_LISTED = 64
const MOST_LISTED = 50_000
const NEW_DIRECTORY_BYTES = 4096

export interface InventoryHost {
  readonly layout: Layout
  readonly maxBytes: number
  readonly hosts: Hosts
  readonly recency: Recency
  readonly usage: Usage
  /** Called again and again while a scan goes on. */
  progress(): void
}

export class Inventory {
  readonly #host: InventoryHost
  /** Files in the place of entries that are not ours or cannot be removed; anew with each sweep. */
  readonly #immovable = new Set<string>()
  readonly #grown = new Set<string>()
  #oldest: ScannedFile[] = []
  #entriesIn = new Map<string, number>()
  #directorySizes = new Map<string, number>()
  #known = false

  constructor(host: InventoryHost) {
    this.#host = host
  }

  /** Whether a scan has been done. */
  get isKnown(): boolean {
    return this.#known
  }

  /** Scans; the bytes found are the new beginning of the count. */
  async take(): Promise<void> {
    const found: ScannedFile[] = []
    const entriesIn = new Map<string, number>()
    const directorySizes = new Map<string, number>()
    const empty: string[] = []
    const { layout, hosts, recency, usage } = this.#host
    const now = hosts.clock.now()
    await usage.rebase(now, () =>
      scan(layout, {
        entry: (file, directory) => {
          entriesIn.set(directory, (entriesIn.get(directory) ?? 0) + 1)
          if (!this.#immovable.has(file.path)) found.push({ ...file, usedAt: Math.max(file.usedAt, recency.usedAt(file.path) ?? 0) })
        },
        directory: (directory, bytes, isEmpty) => {
          directorySizes.set(directory, bytes)
          if (isEmpty) empty.push(directory)
        },
        progress: () => this.#host.progress(),
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

  /** Scans, and tries once more what could not be removed before. */
  async takeAnew(): Promise<void> {
    this.#immovable.clear()
    await this.take()
  }

  /** Evicts the entry not used for the longest time, unless it was used since it was listed. False when none is left to try. */
  async evictOldest(): Promise<boolean> {
    const victim = this.#oldest.shift() ?? (await this.#findOldest())
    if (victim === undefined) return false
    await this.#evict(victim)
    return true
  }

  /** This process made a tenant's directory. */
  async directoryMade(directory: string): Promise<void> {
    const bytes = await sizeOf(directory)
    this.#host.usage.added(bytes)
    this.#directorySizes.set(directory, bytes)
  }

  /** A file got its name in the directory, which may have grown with it. */
  fileAdded(directory: string): void {
    this.#grown.add(directory)
  }

  /** Counts by how much directories have grown. */
  async measureGrowth(): Promise<void> {
    const { layout, usage } = this.#host
    const grown = [layout.tmp, layout.tenants, ...this.#grown]
    this.#grown.clear()
    for (const directory of grown) {
      const bytes = await sizeOf(directory)
      // another process made it and has counted it as it was when it was new
      usage.added(Math.max(0, bytes - (this.#directorySizes.get(directory) ?? Math.min(bytes, NEW_DIRECTORY_BYTES))))
      this.#directorySizes.set(directory, bytes)
    }
  }

  /** Removes a tenant's directory if it is empty, so that tenants without entries leave nothing behind. */
  async removeDirectory(directory: string): Promise<void> {
    try {
      await fs.promises.rmdir(directory)
    } catch {
      return // not empty after all
    }
    this.#host.usage.removed(this.#directorySizes.get(directory) ?? 0)
    this.#directorySizes.delete(directory)
    this.#entriesIn.delete(directory)
  }

  /** None when the scan shows that there is room after all. */
  async #findOldest(): Promise<ScannedFile | undefined> {
    await this.take()
    return this.#host.usage.occupied > this.#host.maxBytes ? this.#oldest.shift() : undefined
  }

  async #evict(victim: ScannedFile): Promise<void> {
    const { hosts, recency, usage } = this.#host
    if ((recency.usedAt(victim.path) ?? 0) > victim.usedAt) return
    const present = await fs.promises.stat(victim.path).catch(() => undefined)
    if (present === undefined || present.atimeMs > victim.usedAt) return
    const over = keepUntilOf(victim.mtimeMs) <= hosts.clock.now()
    const removed = await this.#removeVictim(victim.path)
    if (removed === undefined) return
    usage.removed(removed.bytes)
    recency.forget(victim.path)
    if (removed.header !== undefined) hosts.evicted(removed.header, over ? 'expired' : 'space')
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
}

function exists(file: string): Promise<boolean> {
  return fs.promises.lstat(file).then(
    () => true,
    () => false,
  )
}
