import {
  CacheEntry,
  kindOf,
  type CacheBackend,
  type CacheError,
  type Clock,
  type Detach,
  type EncodedPayload,
  type ListOptions,
  type ReadOptions,
  type StoredEntryInfo,
  type TenantScope,
  type ValidKey,
} from '@thermocline/backend'
import type { Circuit } from '../layers/resilience-parts.js'

/*
 * A memory that stands in for a tier that cannot be reached, or takes no writes.
 *
 * It is used only while the tier's breaker is open, and dropped when the tier is back: what it holds then is only
 * what was stored since, so nothing in it is older than an invalidation. The tier itself still owes what was set or deleted
 * meanwhile (see write-queues.ts), so after the outage it serves none of it.
 *
 * While the tier is still read, other processes may still delete in it what they know to be old. So an entry stays a minute
 * at most then, as in a memory above a shared tier.
 *
 * It keeps payloads as the tier would: a tier of bytes hands out a value made anew at each hit.
 */

export interface FallbackOptions {
  readonly tier: string
  readonly backend: CacheBackend
  readonly clock: Clock
  /** Why it is needed; `undefined`: the tier is in use. */
  readonly instead: () => Circuit | undefined
  readonly report: (error: CacheError) => void
  /** How long an entry stays at most, in milliseconds. Default: as long as it lives. */
  readonly longestMs?: number | undefined
}

/** Bytes as a live value: what a memory keeps of a tier of bytes. */
class HeldBytes {
  readonly encoded: EncodedPayload

  constructor(encoded: EncodedPayload) {
    this.encoded = encoded
  }
}

/** How long an entry stays at most while only writes are refused, in milliseconds. */
const BESIDE_READS_MS = 60_000

export class Fallback {
  readonly #backend: CacheBackend
  readonly #clock: Clock
  readonly #instead: () => Circuit | undefined
  readonly #longestMs: number
  readonly #detach: Detach
  /** Whose entries it may hold. */
  readonly #scopes = new Map<string, TenantScope>()

  /** @throws TypeError unless the backend answers at once */
  constructor({ tier, backend, clock, instead, report, longestMs = Number.POSITIVE_INFINITY }: FallbackOptions) {
    const given = backend as Partial<CacheBackend> | null
    if (typeof given?.get !== 'function' || given.capabilities?.synchronous !== true || given.capabilities.shared) {
      throw new TypeError(`tiers.${tier}.fallback must be a backend in memory such as new MemoryBackend({ maxEntries: 1000 }), not ${kindOf(backend)}`)
    }
    this.#backend = backend
    this.#clock = clock
    this.#instead = instead
    this.#longestMs = longestMs
    this.#detach = backend.attach({ clock, report, evicted: () => undefined, demotes: () => false })
  }

  get isActive(): boolean {
    return this.#instead() !== undefined
  }

  get(scope: TenantScope, key: ValidKey, options: ReadOptions): CacheEntry | undefined {
    if (!this.isActive) return undefined
    const held = this.#backend.get(scope, key, options) as CacheEntry | undefined
    return held?.value instanceof HeldBytes ? CacheEntry.ofBytes(held.value.encoded, held) : held
  }

  list(scope: TenantScope, prefix: string, options: ListOptions): AsyncIterable<StoredEntryInfo> {
    return this.#backend.list(scope, prefix, options)
  }

  store(scope: TenantScope, key: ValidKey, entry: CacheEntry, keepUntil: number): void {
    const instead = this.#instead()
    if (instead === undefined) return this.delete(scope, key)
    const longest = this.#clock.now() + (instead === 'write' ? Math.min(BESIDE_READS_MS, this.#longestMs) : this.#longestMs)
    this.#scopes.set(scope.tenant, scope)
    const held = entry.encoded === undefined ? entry : new CacheEntry(new HeldBytes(entry.encoded), entry.encoded, entry)
    void this.#backend.put(scope, key, held, { onlyIfAbsent: false, keepUntil: Math.min(keepUntil, longest) })
  }

  delete(scope: TenantScope, key: ValidKey): void {
    if (this.#scopes.has(scope.tenant)) void this.#backend.delete(scope, [key], {})
  }

  clear(scope: TenantScope, prefix: string): void {
    if (this.#scopes.has(scope.tenant)) void this.#backend.clear(scope, prefix, {})
  }

  /** Forgets everything: the tier is back. */
  drop(): void {
    for (const scope of this.#scopes.values()) void this.#backend.clear(scope, '', {})
    this.#scopes.clear()
  }

  async close(): Promise<void> {
    this.drop()
    this.#detach()
    await this.#backend[Symbol.asyncDispose]()
  }
}
