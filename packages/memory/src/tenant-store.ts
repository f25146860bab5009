import type { TenantScope, ValidKey } from '@thermocline/backend'
import { LRUCache } from 'lru-cache'
import type { MemoryEntry } from './memory-entry.js'

export interface Quota {
  /** The most entries of one tenant. */
  readonly maxEntries?: number | undefined
  /** The most bytes of one tenant. */
  readonly maxBytes?: number | undefined
}

/** One tenant's entries, least recently used first out. */
export class TenantStore {
  readonly scope: TenantScope
  readonly lru: LRUCache<ValidKey, MemoryEntry>
  /** At or before the `usedAt` of the tenant's oldest entry; see {@link OldestFirst}. */
  floor = 0
  /** Where it is in the heap of {@link OldestFirst}. */
  place = 0
  /** Set when the store was dropped because it was empty: a scope that still remembers it must ask again. */
  dropped = false

  constructor(scope: TenantScope, quota: Quota, onGone: (store: TenantStore, key: ValidKey, entry: MemoryEntry, byLimit: boolean) => void) {
    this.scope = scope
    this.lru = new LRUCache<ValidKey, MemoryEntry>({
      // without any limit lru-cache refuses to be made; this one is never reached
      maxSize: quota.maxBytes ?? Number.MAX_SAFE_INTEGER,
      ...(quota.maxEntries === undefined ? {} : { max: quota.maxEntries }),
      dispose: (entry, key, reason) => onGone(this, key, entry, reason === 'evict'),
    })
  }

  /**
   * Every key, in no particular order. lru-cache's own iterators look each key up again while they go, which for many keys is most
   * of a clear's time; its map is only read here.
   */
  keys(): IterableIterator<ValidKey> {
    return LRUCache.unsafeExposeInternals(this.lru).keyMap.keys()
  }

  /** When the least recently used entry was used; `Infinity` without entries. */
  oldestUse(): number {
    const { value } = this.lru.rvalues().next()
    return value?.usedAt ?? Number.POSITIVE_INFINITY
  }
}
