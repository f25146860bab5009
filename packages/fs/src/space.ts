import type { OperationOptions } from '@thermocline/backend'
import { GrowingRoom } from './growing-room.js'
import { Inventory, type InventoryHost } from './inventory.js'
import { Usage } from './usage.js'

/*
 * Keeping the directory under its limit.
 *
 * Room is made before a file is written, so temporary files count and the limit holds at every moment. A writer seldom waits
 * for that: once the directory is nearly full, room for the next file or two is made while this one is written. How much
 * is occupied: see usage.ts. Who has to go: see inventory.ts.
 */

/** Room is made ahead for so many files like the last one, but never more than this part of the limit. */
const FILES_AHEAD = 2
const MOST_AHEAD_PART = 1 / 64

export type SpaceHost = Omit<InventoryHost, 'usage' | 'progress'>

export class Space {
  readonly #host: SpaceHost
  readonly #usage: Usage
  readonly #inventory: Inventory
  /** Those that wait for room, to be told that it is being made. */
  readonly #waiting = new Set<() => void>()
  readonly #landings: (() => void)[] = []
  #firstScan: Promise<void> | undefined
  #turn: Promise<unknown> = Promise.resolve()
  /** Turns that wait or run. */
  #queued = 0
  /** Whether room is being made ahead. */
  #isAhead = false
  /** Reserved files that have neither landed nor been dropped. */
  #writing = 0
  /** Bytes of files that grow while they are written. */
  #growing = 0

  constructor(host: SpaceHost) {
    this.#host = host
    this.#usage = new Usage(host.layout, host.modes, host.maxBytes)
    this.#inventory = new Inventory({ ...host, usage: this.#usage, progress: () => this.#progress() })
  }

  /** Bytes occupied; `undefined` until the first scan is done. */
  get occupied(): number | undefined {
    return this.#inventory.isKnown ? Math.max(0, this.#usage.occupied) : undefined
  }

  /**
   * Makes room for a file of that size and counts it as there; `landed` or `dropped` follows. False when there is no room to
   * be had, because what is left is not ours to remove.
   *
   * A file that is larger than what the limit leaves for entries gets its room once nothing is left to evict.
   */
  async reserve(bytes: number, options: OperationOptions): Promise<boolean> {
    if (!(await this.#take(bytes, undefined, options))) return false
    this.#writing++
    this.#makeRoomAhead(bytes)
    return true
  }

  /** The room of a file that grows while it is written. */
  growingRoom(): GrowingRoom {
    return new GrowingRoom(this.#usage, {
      take: async (bytes, held, options) => {
        if (!(await this.#take(bytes, held, options))) return false
        this.#growing += bytes
        return true
      },
      give: (bytes) => (this.#growing -= bytes),
      landed: (directory) => this.#inventory.fileAdded(directory),
    })
  }

  /** A reserved file got its name in the directory, over another of `replaced` bytes. */
  landed(bytes: number, directory: string, replaced: number): void {
    this.#usage.settled(bytes, true)
    this.#usage.removed(replaced)
    this.#inventory.fileAdded(directory)
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
  directoryMade(directory: string): Promise<void> {
    return this.#inventory.directoryMade(directory)
  }

  /** Removes a tenant's directory if it is empty. */
  removeDirectory(directory: string): Promise<void> {
    return this.#inventory.removeDirectory(directory)
  }

  /** Scans anew, and forgets what stale processes told. */
  async sweep(): Promise<void> {
    await this.#inventory.takeAnew()
    await this.#queue(() => this.#usage.exchange()) // says that this process lives
    await this.#usage.dropStale(this.#host.hosts.clock.now())
  }

  async close(): Promise<void> {
    if (this.#inventory.isKnown) await this.#queue(() => this.#usage.close())
  }

  /** @param held what a growing file has already; `undefined` for one that is written at once */
  async #take(bytes: number, held: number | undefined, { progress }: OperationOptions): Promise<boolean> {
    if (progress !== undefined) this.#waiting.add(progress)
    try {
      await this.#scanOnce()
      if (this.#queued > 0 || !this.#fits(bytes)) return await this.#queue(() => this.#makeRoom(bytes, held))
      this.#usage.reserved(bytes)
      return true
    } finally {
      if (progress !== undefined) this.#waiting.delete(progress)
    }
  }

  #fits(bytes: number): boolean {
    return !this.#usage.mustExchange(bytes) && this.#usage.occupied + bytes <= this.#host.maxBytes
  }

  #scanOnce(): Promise<void> {
    if (this.#inventory.isKnown) return Promise.resolve()
    this.#firstScan ??= this.#inventory.take().finally(() => {
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

  /**
   * A file that is written at once waits for others of its kind, which land soon and can then be evicted. Nobody waits for a
   * growing file, which takes as long as its source does, and growing files do not wait: each could wait for the other.
   */
  async #makeRoom(bytes: number, held: number | undefined): Promise<boolean> {
    this.#usage.reserved(bytes)
    try {
      if (this.#usage.mustExchange(0)) {
        await this.#inventory.measureGrowth()
        await this.#usage.exchange()
      }
      for (; this.#usage.occupied > this.#host.maxBytes; this.#progress()) {
        if (await this.#inventory.evictTowards(this.#host.maxBytes)) continue
        const own = bytes + (held ?? 0)
        if (this.#writing > 0 && held === undefined) await this.#nextLanding()
        else if (this.#writing === 0 && this.#growing === (held ?? 0) && this.#usage.occupied - own <= this.#host.maxBytes) return true
        else {
          this.#usage.settled(bytes, false)
          return false
        }
      }
      return true
    } catch (error) {
      this.#usage.settled(bytes, false)
      throw error
    }
  }

  /** For the next files, while others are written. What goes wrong is met again by the one who needs the room. */
  #makeRoomAhead(bytes: number): void {
    const target = this.#host.maxBytes - Math.min(FILES_AHEAD * bytes, this.#host.maxBytes * MOST_AHEAD_PART)
    if (this.#isAhead || this.#usage.occupied <= target) return
    this.#isAhead = true
    const work = async (): Promise<void> => {
      while (this.#usage.occupied > target && (await this.#inventory.evictTowards(target)));
    }
    this.#turn = this.#turn
      .then(work)
      .catch(() => undefined)
      .finally(() => (this.#isAhead = false))
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
}
