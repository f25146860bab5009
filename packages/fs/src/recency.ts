import type { Clock, EpochMs } from '@thermocline/backend'
import { sharedDisk } from './disk.js'
import type { Stuck } from './stuck.js'
import { touchFile } from './file-io.js'

/** File times keep whole microseconds, cut off: stamps a step apart stay apart in them. */
const STAMP_STEP_MS = 0.002
const FLUSH_INTERVAL_MS = 2000
/** A file used again within this time is not written again: its access time is recent enough for after a restart. */
const REWRITE_AFTER_MS = 60_000
const MAX_REMEMBERED = 10_000
const WRITES_AT_ONCE = 8
const NO_OPTIONS = {}

interface Use {
  usedAt: EpochMs
  /** When the file's access time was last written; 0: not by us. */
  writtenAt: EpochMs
  dirty: boolean
}

/**
 * When files were last used. Kept in memory for this process's own evictions and written to the files' access times in the
 * background, so that the order survives a restart and other processes see it. A file used again within a minute is not
 * written again, so a `kill -9` loses up to about a minute of recency.
 */
export class Recency {
  readonly #uses = new Map<string, Use>()
  readonly #clock: () => Clock
  readonly #writes: Stuck
  #last: EpochMs = 0
  #cancel: (() => void) | undefined

  constructor(clock: () => Clock, writes: Stuck) {
    this.#clock = clock
    this.#writes = writes
  }

  /** An instant for "used now", later than any given before, so that uses within a millisecond keep their order. */
  stamp(): EpochMs {
    this.#last = Math.max(this.#clock().now(), this.#last + STAMP_STEP_MS)
    return this.#last
  }

  used(path: string): void {
    const usedAt = this.stamp()
    const use = this.#uses.get(path)
    this.#uses.delete(path) // the map's order is the order of use
    this.#uses.set(path, { usedAt, writtenAt: use?.writtenAt ?? 0, dirty: true })
    if (this.#uses.size > MAX_REMEMBERED) this.#forgetOldest()
    this.#cancel ??= this.#clock().schedule(FLUSH_INTERVAL_MS, () => void this.#flushDue(), { background: true })
  }

  /** The file was replaced or removed. */
  forget(path: string): void {
    this.#uses.delete(path)
  }

  /** The last use known here, if any. */
  usedAt(path: string): EpochMs | undefined {
    return this.#uses.get(path)?.usedAt
  }

  /** Writes what is not yet on the disk. */
  async flush(): Promise<void> {
    this.#cancel?.()
    this.#cancel = undefined
    await this.#write([...this.#uses].filter(([, use]) => use.dirty))
  }

  async #flushDue(): Promise<void> {
    this.#cancel = undefined
    const now = this.#clock().now()
    await this.#write([...this.#uses].filter(([, use]) => use.dirty && now - use.writtenAt >= REWRITE_AFTER_MS))
  }

  async #write(uses: [string, Use][]): Promise<void> {
    while (uses.length > 0) {
      await Promise.all(
        uses.splice(0, WRITES_AT_ONCE).map(async ([path, use]) => {
          use.dirty = false
          use.writtenAt = use.usedAt
          // gone, or not ours to touch: recency is a hint
          await this.#writes.run(NO_OPTIONS, () => sharedDisk().turns.during(NO_OPTIONS, () => touchFile(path, use.usedAt), true)).catch(() => undefined)
        }),
      )
    }
  }

  #forgetOldest(): void {
    for (const [path, use] of this.#uses) {
      this.#uses.delete(path)
      if (use.dirty && use.writtenAt === 0) void this.#write([[path, use]])
      return
    }
  }
}
