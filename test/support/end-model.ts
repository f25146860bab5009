import type { TieredCacheManager } from '@thermocline/core'
import type { FakeClock, Faults } from '@thermocline/testkit'

/** What a cache may still wait for when it is closed, in the clock's time. */
const ENOUGH_MS = 5000

/** Ends the cache of a random program: nothing fails or hangs any more, and what it waits for comes. */
export async function endModel({ cache, clock, faults }: { readonly cache: TieredCacheManager; readonly clock: Pick<FakeClock, 'advance'>; readonly faults: readonly Faults[] }): Promise<void> {
  for (const fault of faults) {
    fault.heal()
    fault.release()
  }
  const closing = cache.close()
  await clock.advance(ENOUGH_MS)
  await closing
}
