import { CacheEntry, NO_VALUE, TenantScope, validateKey, validateTenant, type BackendHost, type EvictionReason } from '@thermocline/backend'
import { MemoryBackend, type MemoryBackendOptions } from '@thermocline/memory'
import { FakeClock } from '@thermocline/testkit'

export type Evicted = readonly [tenant: string, key: string, reason: EvictionReason]

/** A memory backend as a manager uses it, under a fake clock, with what it evicts. */
export class Bench {
  readonly clock = new FakeClock()
  readonly backend: MemoryBackend
  readonly evicted: Evicted[] = []
  readonly detach: () => void
  readonly #scopes = new Map<string, TenantScope>()

  constructor(options: MemoryBackendOptions = {}, onEvicted: (...evicted: Evicted) => void = () => undefined) {
    this.backend = new MemoryBackend(options)
    const host: BackendHost = {
      clock: this.clock,
      report: (error) => {
        throw error
      },
      demotes: () => false,
      evicted: (scope, key, _entry, reason) => {
        this.evicted.push([scope.tenant, key, reason])
        onEvicted(scope.tenant, key, reason)
      },
    }
    this.detach = this.backend.attach(host)
  }

  scope(tenant: string): TenantScope {
    let scope = this.#scopes.get(tenant)
    if (scope === undefined) this.#scopes.set(tenant, (scope = new TenantScope(validateTenant(tenant))))
    return scope
  }

  /** Stores a value that counts exactly `bytes`, or one that the backend has to estimate. */
  put(tenant: string, key: string, { bytes, value = key, keepUntil = Number.POSITIVE_INFINITY, onlyIfAbsent = false }: { bytes?: number; value?: unknown; keepUntil?: number; onlyIfAbsent?: boolean } = {}): boolean {
    const encoded = bytes === undefined ? undefined : { codec: 'buffer', bytes: new Uint8Array(bytes) }
    const entry = new CacheEntry(value, encoded, { createdAt: this.clock.now(), expiresAt: Number.POSITIVE_INFINITY })
    return this.backend.put(this.scope(tenant), validateKey(key), entry, { onlyIfAbsent, keepUntil })
  }

  use(tenant: string, key: string): unknown {
    return this.#read(tenant, key, true)
  }

  look(tenant: string, key: string): unknown {
    return this.#read(tenant, key, false)
  }

  remove(tenant: string, ...keys: string[]): number {
    return this.backend.delete(this.scope(tenant), keys.map(validateKey))
  }

  #read(tenant: string, key: string, touch: boolean): unknown {
    const entry = this.backend.get(this.scope(tenant), validateKey(key), { want: 'payload', touch })
    return entry === undefined ? NO_VALUE : entry.value
  }
}
