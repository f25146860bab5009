/*
 * Problem. When V8's Map makes a new table, because entries came and went, the old table keeps a reference to the new one, for iterators
 * that are under way, and to what it held itself. Once one table has moved to the old generation, which the small collections leave
 * alone, it keeps all later ones and nearly everything that passes through the map, until the next full collection. Measured: of 5,000
 * values that passed with 64 at a time, all were kept (Node 20), and small reads from Redis took a third longer.
 *
 * Approach. A new Map is begun now and then: the chain of tables ends there.
 */

/** So many removals may share a chain of tables. */
const LONGEST_CHAIN = 256
/** The same where nothing needs to be copied. */
const SHORT_CHAIN = 16

/** A map of what is under way: its keys come and go, and few are there at a time. */
export class TransientMap<K, V> {
  #map = new Map<K, V>()
  #removals = 0

  get size(): number {
    return this.#map.size
  }

  get(key: K): V | undefined {
    return this.#map.get(key)
  }

  has(key: K): boolean {
    return this.#map.has(key)
  }

  set(key: K, value: V): void {
    this.#map.set(key, value)
  }

  delete(key: K): boolean {
    const map = this.#map
    if (!map.delete(key)) return false
    this.#removals++
    if (map.size === 0 ? this.#removals >= SHORT_CHAIN : this.#removals >= LONGEST_CHAIN + map.size) {
      this.#map = new Map(map)
      this.#removals = 0
    }
    return true
  }

  /** The keys there are now; removing them meanwhile is allowed. */
  keys(): IterableIterator<K> {
    return this.#map.keys()
  }

  /** Both, in the order in which they were set. */
  entries(): IterableIterator<[K, V]> {
    return this.#map.entries()
  }

  /** The values there are now. */
  values(): IterableIterator<V> {
    return this.#map.values()
  }
}
