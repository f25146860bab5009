import {
  estimateBytes,
  Hosts,
  isOfTheLanguage,
  NO_VALUE,
  ownMemoryOf,
  ScopeSlot,
  type BackendCapabilities,
  type BackendHost,
  type BackendStats,
  type CacheBackend,
  type CacheEntry,
  type ClearOptions,
  type Detach,
  type EvictionReason,
  type PutOptions,
  type ReadOptions,
  type StoredEntryInfo,
  type TenantScope,
  type ValidKey,
} from '@thermocline/backend'
import type { Quota } from './eviction-order.js'
import { MemoryEntry } from './memory-entry.js'
import { OldestFirst } from './oldest-first.js'
import { checkOptions, type MemoryBackendOptions } from './options.js'
import { TenantStore } from './tenant-store.js'

const SWEEP_INTERVAL_MS = 60_000
/** Entries looked at per tenant and sweep: a sweep must not hold the event loop. */
const SWEEP_ENTRIES = 2000

/**
 * The hot tier in this process: live values, least recently used out first. `get` and `put` answer at once, without a
 * promise.
 *
 * Each tenant has its own order of leaving ({@link OrderedEntries}), so a tenant's reads touch no other tenant's order and a
 * quota is one tenant's matter; the global limits evict the oldest entry of all tenants.
 */
export class MemoryBackend implements CacheBackend {
  readonly name = 'memory'
  readonly capabilities: BackendCapabilities
  readonly #maxEntries: number
  readonly #maxBytes: number
  readonly #quota: Quota
  readonly #slot = new ScopeSlot<TenantStore>()
  readonly #stores = new Map<string, TenantStore>()
  readonly #oldestFirst = new OldestFirst()
  /** The store dropped last: a tenant whose only entry comes and goes gets the same one again. */
  #lastDropped: TenantStore | undefined
  readonly #hosts = new Hosts()
  #cancelSweep: (() => void) | undefined
  #entries = 0
  #bytes = 0
  #tick = 0
  #evictionReason: EvictionReason = 'quota'
  /** What the limits have removed and the hosts have not been told of. */
  readonly #evicted: { readonly scope: TenantScope; readonly key: ValidKey; readonly entry: MemoryEntry; readonly reason: EvictionReason }[] = []

  /** @throws TypeError for a limit that is not a positive whole number, an unknown isolation, and an option there is none of */
  constructor(options: MemoryBackendOptions = {}) {
    const checked = checkOptions(options)
    this.#maxEntries = checked.maxEntries
    this.#maxBytes = checked.maxBytes
    this.#quota = checked.quota
    this.capabilities = {
      synchronous: true,
      shared: false,
      durable: false,
      streams: false,
      keeps: 'value',
      isolation: checked.isolation,
      ...(Number.isFinite(checked.maxBytes) ? { maxPayloadBytes: checked.maxBytes } : {}),
    }
  }

  attach(host: BackendHost): Detach {
    const detach = this.#hosts.attach(host)
    this.#scheduleSweep()
    return detach
  }

  get(scope: TenantScope, key: ValidKey, options: ReadOptions): CacheEntry | undefined {
    const store = this.#storeOf(scope)
    if (store === undefined) return undefined
    if (!options.touch) return store.entries.peek(key)
    const entry = store.entries.use(key)
    if (entry !== undefined) entry.usedAt = ++this.#tick
    return entry
  }

  getMany(scope: TenantScope, keys: readonly ValidKey[], options: ReadOptions): (CacheEntry | undefined)[] {
    return keys.map((key) => this.get(scope, key, options))
  }

  put(scope: TenantScope, key: ValidKey, entry: CacheEntry, options: PutOptions): boolean {
    const store = this.#storeOf(scope) ?? this.#createStore(scope)
    if (options.onlyIfAbsent) {
      const present = store.entries.peek(key)
      if (present !== undefined && this.#hosts.clock.now() < present.freshUntil) return false
    }
    const value = ownBytes(entry.value)
    const bytes = bytesOf(value, entry)
    if (bytes > this.#maxBytes || bytes > (this.#quota.maxBytes ?? Number.POSITIVE_INFINITY)) {
      this.#remove(store, key)
      return false
    }
    this.#evictionReason = 'quota' // what the store itself drops now, it drops for its quota
    const usedAt = ++this.#tick
    const before = store.entries.bytes
    store.entries.set(key, new MemoryEntry(value, entry, options.keepUntil, usedAt), bytes)
    this.#entries++
    this.#bytes += store.entries.bytes - before
    this.#evictionReason = 'space'
    while (this.#entries > this.#maxEntries || this.#bytes > this.#maxBytes) {
      const losing = this.#oldestFirst.oldest()
      if (losing === undefined) break
      this.#shrink(losing, () => losing.entries.evict())
    }
    if (this.#evicted.length > 0) this.#tellEvicted()
    return true
  }

  delete(scope: TenantScope, keys: readonly ValidKey[]): number {
    const store = this.#storeOf(scope)
    if (store === undefined) return 0
    let deleted = 0
    for (const key of keys) if (this.#remove(store, key)) deleted++
    return deleted
  }

  clear(scope: TenantScope, prefix: string, { only }: ClearOptions = {}): number {
    const store = this.#storeOf(scope)
    if (store === undefined) return 0
    const under: ValidKey[] = []
    for (const key of store.entries.keys()) if (key.startsWith(prefix) && only?.(key) !== false) under.push(key)
    const now = this.#hosts.clock.now()
    let removed = 0
    this.#shrink(store, () => {
      for (const key of under) {
        if (now < (store.entries.peek(key)?.keepUntil ?? now)) removed++
        store.entries.delete(key)
      }
    })
    return removed
  }

  async *list(scope: TenantScope, prefix: string): AsyncIterable<StoredEntryInfo> {
    const store = this.#storeOf(scope)
    if (store === undefined) return
    for (const key of [...store.entries.keys()]) {
      const found = key.startsWith(prefix) ? store.entries.peek(key) : undefined
      if (found !== undefined) yield { key, size: store.entries.bytesOf(key), expiresAt: found.keepUntil }
    }
  }

  stats(scope?: TenantScope): BackendStats {
    if (scope === undefined) {
      return {
        entries: this.#entries,
        bytes: this.#bytes,
        maxEntries: finite(this.#maxEntries),
        maxBytes: finite(this.#maxBytes),
      }
    }
    const store = this.#storeOf(scope)
    return { entries: store?.entries.size ?? 0, bytes: store?.entries.bytes ?? 0, maxEntries: this.#quota.maxEntries, maxBytes: this.#quota.maxBytes }
  }

  /** Forgets everything, once no manager uses it any more. */
  [Symbol.asyncDispose](): Promise<void> {
    if (this.#hosts.isEmpty) {
      this.#cancelSweep?.()
      this.#cancelSweep = undefined
      for (const store of this.#stores.values()) {
        this.#shrink(store, () => store.entries.clear())
      }
    }
    return Promise.resolve()
  }

  #storeOf(scope: TenantScope): TenantStore | undefined {
    const store = this.#slot.get(scope)
    if (store !== undefined && !store.dropped) return store
    const known = this.#stores.get(scope.tenant)
    return known === undefined ? undefined : this.#slot.set(scope, known)
  }

  #createStore(scope: TenantScope): TenantStore {
    const dropped = this.#lastDropped
    const store = dropped?.scope.tenant === scope.tenant ? dropped : new TenantStore(scope, this.#quota, (from, key, entry, byLimit) => this.#gone(from, key, entry, byLimit))
    this.#lastDropped = undefined
    store.dropped = false
    store.floor = this.#tick
    this.#stores.set(scope.tenant, store)
    this.#oldestFirst.add(store)
    return this.#slot.set(scope, store)
  }

  /** Removes a key; true if it was there and its life was not over. */
  #remove(store: TenantStore, key: ValidKey): boolean {
    const entry = store.entries.peek(key)
    if (entry === undefined) {
      this.#dropIfEmpty(store)
      return false
    }
    this.#shrink(store, () => store.entries.delete(key))
    return this.#hosts.clock.now() < entry.keepUntil
  }

  #gone(store: TenantStore, key: ValidKey, entry: MemoryEntry, byLimit: boolean): void {
    this.#entries--
    if (byLimit) this.#evicted.push({ scope: store.scope, key, entry, reason: this.#evictionReason })
  }

  /** Only once the counts are right again: whoever is told may store and remove at once. */
  #tellEvicted(): void {
    for (const { scope, key, entry, reason } of this.#evicted.splice(0)) {
      for (const host of this.#hosts) host.evicted(scope, key, entry, reason)
    }
  }

  /** Removes entries of a store and keeps the count of bytes, which only the store's own total knows. */
  #shrink(store: TenantStore, remove: () => unknown): void {
    const before = store.entries.bytes
    remove()
    this.#bytes += store.entries.bytes - before
    this.#dropIfEmpty(store)
  }

  /** A tenant without entries leaves nothing behind. */
  #dropIfEmpty(store: TenantStore): void {
    if (store.entries.size > 0 || store.dropped) return
    store.dropped = true
    this.#lastDropped = store
    this.#stores.delete(store.scope.tenant)
    this.#oldestFirst.remove(store)
  }

  #scheduleSweep(): void {
    this.#cancelSweep ??= this.#hosts.clock.schedule(SWEEP_INTERVAL_MS, () => this.#sweep(), { background: true })
  }

  /** Removes what is over among the entries longest unused; the rest leaves when it is read or evicted. */
  #sweep(): void {
    const now = this.#hosts.clock.now()
    for (const store of [...this.#stores.values()]) {
      const over: ValidKey[] = []
      let looked = 0
      for (const key of store.entries.leaving()) {
        if (now >= (store.entries.peek(key)?.keepUntil ?? now)) over.push(key)
        if (++looked >= SWEEP_ENTRIES) break
      }
      for (const key of over) {
        const entry = store.entries.peek(key)
        this.#shrink(store, () => store.entries.delete(key))
        for (const host of this.#hosts) host.evicted(store.scope, key, entry, 'expired')
      }
    }
    this.#cancelSweep = undefined
    if (!this.#hosts.isEmpty) this.#scheduleSweep()
  }
}

/** Codecs whose bytes are as many as the value's own. */
const AS_LARGE_AS_ENCODED: readonly string[] = ['buffer', 'bytes', 'utf8']

/** What an entry counts. As JSON a value can be a tenth of what it is on the heap, so only raw bytes and text count as they were encoded. */
function bytesOf(value: unknown, { encoded }: CacheEntry): number {
  return Math.max(1, encoded !== undefined && AS_LARGE_AS_ENCODED.includes(encoded.codec) ? encoded.bytes.byteLength : estimateBytes(value))
}

/** A view keeps all of the buffer behind it alive. So much of it may be for nothing, as the header before a payload that was read in one piece. */
const MOST_WASTED = 1 / 16

/** A small view must not keep the large buffer behind it alive: a row of a batch, a Buffer in Node's pool. */
function ownBytes(value: unknown): unknown {
  if (value === NO_VALUE) throw new TypeError('the memory backend needs an entry with its live value')
  if (!ArrayBuffer.isView(value) || value.buffer.byteLength - value.byteLength <= value.byteLength * MOST_WASTED) return value
  return isOfTheLanguage(value) ? ownMemoryOf(value) : value
}

function finite(limit: number): number | undefined {
  return Number.isFinite(limit) ? limit : undefined
}

