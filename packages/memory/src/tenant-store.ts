import type { TenantScope, ValidKey } from '@thermocline/backend'
import { LruEntries, type OrderedEntries, type Quota } from './eviction-order.js'
import type { MemoryEntry } from './memory-entry.js'

/** One tenant's entries, and where it stands among the tenants. */
export class TenantStore {
  readonly scope: TenantScope
  readonly entries: OrderedEntries
  /** At or before the `usedAt` of the tenant's oldest entry; see {@link OldestFirst}. */
  floor = 0
  /** Where it is in the heap of {@link OldestFirst}. */
  place = 0
  /** Set when the store was dropped because it was empty: a scope that still remembers it must ask again. */
  dropped = false

  constructor(scope: TenantScope, quota: Quota, onGone: (store: TenantStore, key: ValidKey, entry: MemoryEntry, byLimit: boolean) => void) {
    this.scope = scope
    this.entries = new LruEntries(quota, (key, entry, byLimit) => onGone(this, key, entry, byLimit))
  }
}
