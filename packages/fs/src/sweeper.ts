import path from 'node:path'
import { isCacheError, type EpochMs, type FrameHeader } from '@thermocline/backend'
import { sharedDisk } from './disk.js'
import { removeLeftover, type Removed } from './entry-file.js'
import { asFsError } from './errors.js'
import { isEntryName, isTemporaryName } from './layout.js'
import { removeEntry, removeIfEmpty, settleRemovals } from './removal.js'
import { namesIn, statAll } from './scan.js'
import type { Store } from './store.js'
import { adjustMode } from './tighten.js'

const FIRST_SWEEP_MS = 10_000
const LEFTOVER_AFTER_MS = 15 * 60_000
/** A look at the beginning and at the end, for processes that do not live until the first sweep: so long, in milliseconds, and at so many files. */
const GLANCE_MS = 200
const GLANCE_FILES = 4096
const FIRST_GLANCE_MS = 50
const NO_OPTIONS = {}

/** What was removed because its life was over. */
export interface Pruned {
  readonly entries: number
  /** Of the removed entries' files. */
  readonly bytes: number
}

/** Removes expired entries and leftovers of crashed writes from time to time, while a manager uses the backend. */
export class Sweeper {
  readonly #store: Store
  readonly #intervalMs: number
  /** Set from when a sweep is scheduled until it is done. */
  #cancel: (() => void) | undefined
  #cancelGlance: (() => void) | undefined
  #sweeping: Promise<void> = Promise.resolve()
  #glancing: Promise<void> = Promise.resolve()

  constructor(store: Store, intervalMs: number) {
    this.#store = store
    this.#intervalMs = intervalMs
  }

  start(): void {
    const { hosts } = this.#store
    this.#schedule(Math.min(FIRST_SWEEP_MS, this.#intervalMs))
    this.#cancelGlance ??= hosts.clock.schedule(
      FIRST_GLANCE_MS,
      () => {
        this.#glancing = this.#glance(() => !hosts.isEmpty)
      },
      { background: true },
    )
  }

  /** Looks once more at some files, and resolves when nothing is being swept any more. */
  async stop(): Promise<void> {
    this.#cancel?.()
    this.#cancelGlance?.()
    this.#cancel = undefined
    this.#cancelGlance = undefined
    await this.#sweeping
    await this.#glancing
    await this.#glance(() => true)
  }

  /**
   * Removes every entry whose life is over.
   *
   * @param step called before each step; what it throws ends the work
   * @throws CacheError when the disk fails
   */
  async prune(step: () => void): Promise<Pruned> {
    const { layout, hosts } = this.#store
    const pruned = { entries: 0, bytes: 0 }
    const goOn = (): boolean => {
      step()
      return true
    }
    for (const tenant of await this.#tenants('prune')) {
      const directory = path.join(layout.tenants, tenant)
      await this.#removeExpired(directory, await entriesIn(directory), hosts.clock.now(), goOn, (removed) => {
        pruned.entries++
        pruned.bytes += removed.bytes
      })
      await removeIfEmpty(this.#store, directory)
      await settleRemovals(this.#store, directory, 'prune')
    }
    return pruned
  }

  #schedule(waitMs: number): void {
    const { hosts } = this.#store
    this.#cancel ??= hosts.clock.schedule(
      waitMs,
      () => {
        this.#sweeping = this.#sweep()
          .catch((error: unknown) => hosts.report(asFsError(error, 'sweep', undefined)))
          .then(() => {
            this.#cancel = undefined
            if (!hosts.isEmpty) this.#schedule(this.#intervalMs)
          })
      },
      { background: true },
    )
  }

  /** Removes what is over and left over, and brings the count of bytes up to date. */
  async #sweep(): Promise<void> {
    const { layout, hosts, space } = this.#store
    await this.#removeLeftovers()
    // closing waits for the sweep: it ends at the next step once nobody uses the backend
    const goOn = (): boolean => !hosts.isEmpty
    for (const tenant of await namesIn(layout.tenants)) {
      if (!goOn()) return
      const directory = path.join(layout.tenants, tenant)
      await adjustMode(this.#store, directory)
      await this.#removeExpired(directory, await entriesIn(directory), hosts.clock.now(), goOn)
      if (goOn()) await removeIfEmpty(this.#store, directory)
    }
    if (!hosts.isEmpty) await space?.sweep()
  }

  /**
   * Removes what is over among some files, others each time: processes that are done before the first sweep, one after the other, leave
   * nothing behind either. Never rejects.
   */
  async #glance(isWanted: () => boolean): Promise<void> {
    const { layout, hosts } = this.#store
    const until = hosts.clock.monotonic() + GLANCE_MS
    let files = GLANCE_FILES
    const goOn = (): boolean => isWanted() && files > 0 && hosts.clock.monotonic() < until
    try {
      for (const tenant of turned(await namesIn(layout.tenants))) {
        if (!goOn()) return
        const directory = path.join(layout.tenants, tenant)
        const names = turned(await entriesIn(directory)).slice(0, files)
        if (await this.#removeExpired(directory, names, hosts.clock.now(), () => goOn() && files-- > 0)) await removeIfEmpty(this.#store, directory)
      }
    } catch {
      // the sweep reports what is wrong
    }
  }

  async #tenants(operation: string): Promise<string[]> {
    try {
      return await namesIn(this.#store.layout.tenants)
    } catch (error) {
      throw asFsError(error, operation, undefined, true)
    }
  }

  /** Whether anything was removed. A file that cannot be is passed over; where `removed` is told, a disk that fails ends it. */
  async #removeExpired(directory: string, names: readonly string[], now: EpochMs, goOn: () => boolean, removed?: (what: Removed) => void): Promise<boolean> {
    const { hosts } = this.#store
    // the instants in the entry decide: a file's time can be missing, coarse, or changed by a tool
    const onlyIf = (header: FrameHeader | undefined): boolean => header !== undefined && header.keepUntil <= now
    let isAnyGone = false
    for await (const file of statAll(directory, names)) {
      if (!goOn()) break
      if (!file.isFile || (file.times.keepUntil ?? 0) > now) continue
      const gone = await this.#store.writes.run(NO_OPTIONS, () => removeEntry(this.#store, file.path, 'sweep', undefined, { onlyIf, yields: true })).catch((error: unknown) => {
        if (removed !== undefined && isCacheError(error) && error.concerns === 'tier') throw error
      })
      if (gone?.header === undefined) continue
      isAnyGone = true
      removed?.(gone)
      hosts.evicted(gone.header, 'expired')
    }
    return isAnyGone
  }

  /** By age, never by process id: processes may run in different containers. */
  async #removeLeftovers(): Promise<void> {
    const { layout, hosts, space } = this.#store
    const before = hosts.clock.now() - LEFTOVER_AFTER_MS
    for (const name of (await namesIn(layout.tmp)).filter(isTemporaryName)) {
      const bytes = await this.#store.writes.run(NO_OPTIONS, () => sharedDisk().turns.during(NO_OPTIONS, () => removeLeftover(path.join(layout.tmp, name), before), true))
      space?.removed(bytes)
    }
  }
}

async function entriesIn(directory: string): Promise<string[]> {
  return (await namesIn(directory).catch(() => [])).filter(isEntryName)
}

/** The same, beginning somewhere else. */
function turned(names: readonly string[]): string[] {
  const at = Math.floor(Math.random() * names.length)
  return [...names.slice(at), ...names.slice(0, at)]
}
