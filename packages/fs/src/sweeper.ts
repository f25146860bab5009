import path from 'node:path'
import { removeLeftover } from './entry-file.js'
import { asFsError } from './errors.js'
import { isEntryName, isTemporaryName } from './layout.js'
import { removeEntry, removeIfEmpty } from './removal.js'
import { namesIn, statAll } from './scan.js'
import type { Store } from './store.js'

const FIRST_SWEEP_MS = 10_000
const LEFTOVER_AFTER_MS = 15 * 60_000

/** Removes expired entries and leftovers of crashed writes from time to time, while a manager uses the backend. */
export class Sweeper {
  readonly #store: Store
  readonly #intervalMs: number
  /** Set from when a sweep is scheduled until it is done. */
  #cancel: (() => void) | undefined
  #sweeping: Promise<void> = Promise.resolve()

  constructor(store: Store, intervalMs: number) {
    this.#store = store
    this.#intervalMs = intervalMs
  }

  start(): void {
    this.#schedule(Math.min(FIRST_SWEEP_MS, this.#intervalMs))
  }

  /** Resolves when nothing is being swept any more. */
  async stop(): Promise<void> {
    this.#cancel?.()
    this.#cancel = undefined
    await this.#sweeping
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
    for (const tenant of await namesIn(layout.tenants)) await this.#removeExpired(path.join(layout.tenants, tenant))
    if (!hosts.isEmpty) await space?.sweep()
  }

  async #removeExpired(directory: string): Promise<void> {
    const { hosts } = this.#store
    const now = hosts.clock.now()
    for await (const file of statAll(directory, (await namesIn(directory).catch(() => [])).filter(isEntryName))) {
      if (hosts.isEmpty) return
      if (!file.isFile || (file.times.keepUntil ?? 0) > now) continue
      // the instants in the entry decide: a file's time can be missing, coarse, or changed by a tool
      const removed = await removeEntry(this.#store, file.path, 'sweep', undefined, (header) => header !== undefined && header.keepUntil <= now).catch(() => undefined)
      if (removed?.header !== undefined) hosts.evicted(removed.header, 'expired')
    }
    await removeIfEmpty(this.#store, directory)
  }

  /** By age, never by process id: processes may run in different containers. */
  async #removeLeftovers(): Promise<void> {
    const { layout, hosts, space } = this.#store
    const before = hosts.clock.now() - LEFTOVER_AFTER_MS
    for (const name of (await namesIn(layout.tmp)).filter(isTemporaryName)) {
      const bytes = await removeLeftover(path.join(layout.tmp, name), before)
      space?.removed(bytes)
    }
  }
}
