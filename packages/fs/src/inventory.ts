import fs from 'node:fs'
import path from 'node:path'
import type { FrameHeader } from '@thermocline/backend'
import { Demotion, type Offers } from './demotion.js'
import type { PathsInUse } from './paths-in-use.js'
import { removeEntryFile, type FileTimes, type Removed } from './entry-file.js'
import { isWholeStore } from './errors.js'
import { EvictionOrder, type Candidate } from './eviction-order.js'
import type { CloseFile } from './file-io.js'
import type { FileHosts } from './hosts.js'
import type { Modes } from './access.js'
import { sharedDisk } from './disk.js'
import type { Layout } from './layout.js'
import type { Recency } from './recency.js'
import { scan, sizeOf } from './scan.js'
import type { Temporaries } from './temporaries.js'
import type { Usage } from './usage.js'

/* What is there, and who has to go: see eviction-order.ts. */

const NEW_DIRECTORY_BYTES = 4096
/** Evictions at once: each is three trips to the thread pool, which has four threads by default. */
const EVICTIONS_AT_ONCE = 4
const NO_OPTIONS = {}

export interface InventoryHost {
  readonly layout: Layout
  readonly temporaries: Temporaries
  readonly modes: Modes
  readonly maxBytes: number
  readonly hosts: FileHosts
  readonly recency: Recency
  readonly paths: PathsInUse
  readonly usage: Usage
  readonly close: CloseFile
  /** Called again and again while a scan goes on. */
  progress(): void
}

export class Inventory {
  readonly #host: InventoryHost
  readonly #demotion: Demotion
  /** Files in the place of entries that are not ours or cannot be removed; anew with each sweep. */
  readonly #immovable = new Set<string>()
  readonly #grown = new Set<string>()
  readonly #order = new EvictionOrder()
  #entriesIn = new Map<string, number>()
  #directorySizes = new Map<string, number>()
  #known = false

  constructor(host: InventoryHost) {
    this.#host = host
    this.#demotion = new Demotion(host)
  }

  /** Whether a scan has been done. */
  get isKnown(): boolean {
    return this.#known
  }

  /** Scans; the bytes found are the new beginning of the count. */
  async take(): Promise<void> {
    const found: Candidate[] = []
    const entriesIn = new Map<string, number>()
    const directorySizes = new Map<string, number>()
    const empty: string[] = []
    const { layout, hosts, recency, usage } = this.#host
    const now = hosts.clock.now()
    await usage.rebase(now, () =>
      scan(layout, {
        entry: (file, directory) => {
          entriesIn.set(directory, (entriesIn.get(directory) ?? 0) + 1)
          if (this.#immovable.has(file.path)) return
          const { usedAt, keepUntil } = file.times
          found.push({ path: file.path, bytes: file.bytes, usedAt: Math.max(usedAt, recency.usedAt(file.path) ?? 0), keepUntil: keepUntil ?? Number.POSITIVE_INFINITY })
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
    this.#order.list(found, now)
  }

  /** Scans, and tries once more what could not be removed before. */
  async takeAnew(): Promise<void> {
    this.#immovable.clear()
    await this.take()
  }

  /**
   * Takes a step towards no more than so many occupied bytes: evicts entries whose life is over, then those not used for the
   * longest time, except the ones that were used since they were listed. False when more is occupied and none is left to try.
   */
  async evictTowards(target: number): Promise<boolean> {
    if (this.#order.isUsedUp) await this.take()
    const victims: Candidate[] = []
    for (let excess = this.#host.usage.occupied - target; excess > 0 && victims.length < EVICTIONS_AT_ONCE && !this.#order.isUsedUp; ) {
      const victim = this.#order.next(this.#host.hosts.clock.now())
      victims.push(victim)
      excess -= victim.bytes
    }
    await Promise.all(victims.map((victim) => this.#evict(victim)))
    return victims.length > 0 || this.#host.usage.occupied <= target
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

  async #evict(victim: Candidate): Promise<void> {
    const { hosts, recency, usage } = this.#host
    if ((recency.usedAt(victim.path) ?? 0) > victim.usedAt) return
    const removed = await this.#removeVictim(victim)
    if (removed === undefined) return
    usage.removed(removed.bytes)
    recency.forget(victim.path)
    hosts.forget(victim.path)
    const { header } = removed
    if (header !== undefined) hosts.evicted(header, header.keepUntil <= hosts.clock.now() ? 'expired' : 'space', (host) => removed.offers?.get(host))
    const directory = path.dirname(victim.path)
    const left = (this.#entriesIn.get(directory) ?? 0) - 1
    this.#entriesIn.set(directory, left)
    if (left <= 0) await this.removeDirectory(directory)
  }

  /** What cannot be removed is remembered, or the next scan would list it again, for ever. */
  async #removeVictim({ path: file, usedAt }: Candidate): Promise<(Removed & { readonly offers: Offers | undefined }) | undefined> {
    let wasUsed = true // as long as nobody has looked: it is being written anew
    let offers: Offers | undefined
    const notUsedSince = (_: unknown, times: FileTimes): boolean => {
      wasUsed = times.usedAt > usedAt
      return !wasUsed
    }
    try {
      const unlink = async (header: FrameHeader | undefined): Promise<void> => {
        if (this.#demotion.wants(header)) offers = await this.#demotion.unlink(file, header)
        else await fs.promises.unlink(file)
      }
      const remove = (): Promise<Removed | undefined> => {
        wasUsed = false
        return removeEntryFile(file, this.#host.close, notUsedSince, unlink)
      }
      const removed = await sharedDisk().turns.during(NO_OPTIONS, () => this.#host.paths.removing(file, remove), true)
      if (removed !== undefined) return { ...removed, offers }
      if (!wasUsed && (await exists(file))) this.#immovable.add(file) // not ours
      return undefined
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
