import type { CacheEntry, EpochMs } from '@thermocline/backend'
import type { Slot } from '../policies/policy.js'

/** A fresh entry and where it was found. */
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
}
