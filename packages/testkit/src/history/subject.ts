import type { TieredCacheManager } from '@thermocline/core'
import type { HistoryFault } from './weather.js'

/** Stores to run a history on. */
export interface HistorySubject {
  /** Opens a manager on them. */
  readonly open: () => TieredCacheManager
  /** Tiers that each manager has for itself, by name: no other can invalidate them. */
  readonly ownTiers: readonly string[]
  readonly faults?: readonly HistoryFault[] | undefined
  readonly cleanUp: () => unknown
}
