import { CacheEntry, NO_VALUE, systemClock, TenantScope, validateKey, validateTenant, type CacheError, type StoredEntryInfo } from '@thermocline/backend'
import { RedisBackend, type RedisBackendOptions } from '@thermocline/redis'
import { afterwards } from '../../../../test/support/afterwards.js'
import { freshPrefix } from './stage.js'

const HOUR_MS = 3_600_000

/** A backend as one manager uses it, for bytes only. */
export class Shelf {
  readonly backend: RedisBackend
  readonly keyPrefix: string
  readonly reports: CacheError[] = []
  readonly #detach: () => void
  #closed = false

  constructor({ keyPrefix = freshPrefix(), ...options }: RedisBackendOptions) {
    this.keyPrefix = keyPrefix
    this.backend = new RedisBackend({ keyPrefix, ...options })
    this.#detach = this.backend.attach({ clock: systemClock, report: (error) => this.reports.push(error), evicted: () => undefined, demotes: () => false })
    afterwards(() => this.close())
  }

  /** The key in the server, for a key that needs no escaping. */
  nameOf(key: string, tenant = 'acme'): string {
    return `${this.keyPrefix}${tenant}:${key}`
  }

  async put(key: string, bytes: Uint8Array | string, { tenant = 'acme', onlyIfAbsent = false, lifeMs = HOUR_MS } = {}): Promise<boolean> {
    const createdAt = systemClock.now()
    const keepUntil = createdAt + lifeMs
    const entry = new CacheEntry(NO_VALUE, { codec: 'buffer', bytes: Buffer.from(bytes) }, { createdAt, expiresAt: keepUntil })
    return this.backend.put(scopeOf(tenant), validateKey(key), entry, { onlyIfAbsent, keepUntil })
  }

  /** The stored bytes themselves. */
  async get(key: string, tenant = 'acme'): Promise<Buffer | undefined> {
    const entry = await this.backend.get(scopeOf(tenant), validateKey(key), { want: 'payload', touch: true })
    return entry?.encoded?.bytes as Buffer | undefined
  }

  async holds(key: string, tenant = 'acme'): Promise<boolean> {
    return (await this.backend.get(scopeOf(tenant), validateKey(key), { want: 'head', touch: false })) !== undefined
  }

  async delete(...keys: string[]): Promise<number> {
    return this.backend.delete(scopeOf('acme'), keys.map(validateKey), {})
  }

  async clear(prefix = '', tenant = 'acme'): Promise<number> {
    return this.backend.clear(scopeOf(tenant), prefix, {})
  }

  async list(prefix = '', detail: 'keys' | 'info' = 'keys'): Promise<StoredEntryInfo[]> {
    const infos: StoredEntryInfo[] = []
    for await (const info of this.backend.list(scopeOf('acme'), prefix, { detail })) infos.push(info)
    return infos
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#detach()
    await this.backend[Symbol.asyncDispose]()
  }
}

export function scopeOf(tenant: string): TenantScope {
  return new TenantScope(validateTenant(tenant))
}
