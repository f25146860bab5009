import type { TenantStore } from './tenant-store.js'

/**
 * Finds the tenant whose least recently used entry is the oldest of all, for limits that hold over all tenants.
 *
 * A binary heap by `floor`, a lower bound of each store's oldest use. The bound is corrected only when a store comes to the
 * top: a store's oldest use never goes back (entries are added and used at the newer end), so a bound that is too low
 * costs one more look and a hit costs the heap nothing. Rejected: one list over all tenants, which would need a second
 * lookup on every hit.
 */
export class OldestFirst {
  readonly #heap: TenantStore[] = []

  add(store: TenantStore): void {
    store.place = this.#heap.push(store) - 1
    this.#rise(store.place)
  }

  remove(store: TenantStore): void {
    const last = this.#heap.pop()
    if (last === undefined || last === store) return
    const { place } = store
    this.#heap[place] = last
    last.place = place
    this.#rise(place)
    this.#sink(last.place)
  }

  /** The store with the oldest entry of all; `undefined` when there is no store. */
  oldest(): TenantStore | undefined {
    for (;;) {
      const top = this.#heap[0]
      const oldest = top?.entries.oldestUse()
      if (top === undefined || oldest === top.floor) return top
      top.floor = oldest as number
      this.#sink(0)
    }
  }

  #rise(from: number): void {
    let at = from
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (this.#floor(parent) <= this.#floor(at)) return
      this.#swap(at, parent)
      at = parent
    }
  }

  #sink(from: number): void {
    let at = from
    for (;;) {
      const left = 2 * at + 1
      let least = at
      if (left < this.#heap.length && this.#floor(left) < this.#floor(least)) least = left
      if (left + 1 < this.#heap.length && this.#floor(left + 1) < this.#floor(least)) least = left + 1
      if (least === at) return
      this.#swap(at, least)
      at = least
    }
  }

  #floor(at: number): number {
    return (this.#heap[at] as TenantStore).floor
  }

  #swap(a: number, b: number): void {
    const first = this.#heap[a] as TenantStore
    const second = this.#heap[b] as TenantStore
    this.#heap[a] = second
    this.#heap[b] = first
    second.place = a
    first.place = b
  }
}
