import type { ValidKey } from '@thermocline/backend'
import { LRUCache } from 'lru-cache'
import type { MemoryEntry } from './memory-entry.js'

export interface Quota {
  /** The most entries of one tenant. */
  readonly maxEntries?: number | undefined
  /** The most bytes of one tenant. */
  readonly maxBytes?: number | undefined
}

/** Told of each entry that is there no longer; `byLimit`: it had to leave for the quota, or by {@link OrderedEntries.evict}. */
export type OnGone = (key: ValidKey, entry: MemoryEntry, byLimit: boolean) => void

/**
 * The entries of one tenant, in the order in which they leave when there is no room. Which order that is, is decided here and nowhere else:
 * another one is another class with these methods.
 */
export interface OrderedEntries {
  readonly size: number
  readonly bytes: number
  /** The entry; counts as a use. */
  use(key: ValidKey): MemoryEntry | undefined
  /** The entry; does not count. */
  peek(key: ValidKey): MemoryEntry | undefined
  bytesOf(key: ValidKey): number
  /** Adds or replaces an entry; whatever is over the quota then leaves. */
  set(key: ValidKey, entry: MemoryEntry, bytes: number): void
  delete(key: ValidKey): void
  clear(): void
  /** The next one to leave does. */
  evict(): void
  /** Every key, in no particular order. */
  keys(): IterableIterator<ValidKey>
  /** Every key, the next one to leave first. */
  leaving(): Iterable<ValidKey>
  /** The `usedAt` of the next one to leave; `Infinity` without entries. It never goes back while entries are added and used. */
  oldestUse(): number
}

/** Least recently used, first out. */
export class LruEntries implements OrderedEntries {
  readonly #lru: LRUCache<ValidKey, MemoryEntry>

  constructor(quota: Quota, onGone: OnGone) {
    this.#lru = new LRUCache<ValidKey, MemoryEntry>({
      // without any limit lru-cache refuses to be made; this one is never reached
      maxSize: quota.maxBytes ?? Number.MAX_SAFE_INTEGER,
      ...(quota.maxEntries === undefined ? {} : { max: quota.maxEntries }),
      dispose: (entry, key, reason) => onGone(key, entry, reason === 'evict'),
    })
  }

  get size(): number {
    return this.#lru.size
  }

  get bytes(): number {
    return this.#lru.calculatedSize
  }

  use(key: ValidKey): MemoryEntry | undefined {
    return this.#lru.get(key)
  }

  peek(key: ValidKey): MemoryEntry | undefined {
    return this.#lru.peek(key)
  }

  bytesOf(key: ValidKey): number {
    return this.#lru.info(key)?.size ?? 0
  }

  set(key: ValidKey, entry: MemoryEntry, bytes: number): void {
    this.#lru.set(key, entry, { size: bytes })
  }

  delete(key: ValidKey): void {
    this.#lru.delete(key)
  }

  clear(): void {
    this.#lru.clear()
  }

  evict(): void {
    this.#lru.pop()
  }

  /** lru-cache's own iterators look each key up again while they go, which for many keys is most of a clear's time; its map is only read here. */
  keys(): IterableIterator<ValidKey> {
    return LRUCache.unsafeExposeInternals(this.#lru).keyMap.keys()
  }

  leaving(): Iterable<ValidKey> {
    return this.#lru.rkeys()
  }

  oldestUse(): number {
    const { value } = this.#lru.rvalues().next()
    return value?.usedAt ?? Number.POSITIVE_INFINITY
  }
}
