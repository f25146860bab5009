import { systemClock, type OperationOptions } from '@thermocline/backend'
import { isOutOfFiles } from './errors.js'
import { HeldFiles } from './held-files.js'
import { openFileLimit, openLimits, threadPoolSize } from './open-limit.js'
import { Turns } from './turns.js'

/** Waits for descriptors that others hold, in milliseconds: the first, doubling to the longest, and all together. */
const FIRST_WAIT_MS = 5
const LONGEST_WAIT_MS = 200
const WAITED_FOR_MS = 5000

/** What all backends of the process share: its thread pool and its descriptors. */
export interface Disk {
  readonly turns: Turns
  readonly held: HeldFiles
}

let shared: Disk | undefined

export function sharedDisk(): Disk {
  if (shared === undefined) {
    const { turns, held } = openLimits(openFileLimit(), threadPoolSize())
    shared = { turns: new Turns(turns), held: new HeldFiles(held) }
  }
  return shared
}

/**
 * Runs a step that opens files, again and again while the process or the machine has none left: that somebody else
 * holds them is no failure of this disk. Rejects with the system's error when that does not end within seconds, or nobody waits any more.
 */
export async function withFiles<T>(options: OperationOptions, step: () => Promise<T>): Promise<T> {
  const { turns, held } = sharedDisk()
  let until = 0
  for (let waitMs = FIRST_WAIT_MS; ; waitMs = Math.min(2 * waitMs, LONGEST_WAIT_MS)) {
    try {
      return await step()
    } catch (error) {
      if (!isOutOfFiles(error)) throw error
      const now = systemClock.monotonic()
      if (until === 0) until = now + WAITED_FOR_MS
      if (now >= until || options.signal?.aborted === true) throw error
      held.parkAll()
    }
    await new Promise<void>((resolve) => {
      systemClock.schedule(waitMs, resolve)
    })
    options.progress?.()
    turns.renew()
  }
}
