import type { CacheEntry, EpochMs } from '@thermocline/backend'
import type { Slot } from '../policies/policy.js'

/** An entry that may be served, and where it was found. */
export class Found {
  readonly entry: CacheEntry
  readonly slot: Slot
  /** The slot's place in the plan. */
  readonly position: number
  /** When it was found. */
  readonly at: EpochMs

  constructor(entry: CacheEntry, slot: Slot, position: number, at: EpochMs) {
    this.entry = entry
    this.slot = slot
    this.position = position
    this.at = at
  }

  /** How long the compute had taken that made it. */
  get savedMicros(): number {
    return this.entry.computeMicros
  }

  /** Its value is old: it may be served to who asks for such, and is not promoted. */
  get isStale(): boolean {
    return this.at >= this.entry.staleAt
  }
}
