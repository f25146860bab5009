import path from 'node:path'
import { CacheEntry, NO_VALUE, systemClock, TenantScope, validateKey, validateTenant, type CacheError, type Clock, type EvictionReason } from '@thermocline/core'
import { FileSystemBackend, type FileSystemBackendOptions } from '@thermocline/fs'
import { afterwards, temporaryDirectory } from '../../../../test/support/afterwards.js'

const HOUR_MS = 3_600_000

export interface ShelfOptions extends Partial<FileSystemBackendOptions> {
  readonly clock?: Clock
}

export interface PutWishes {
  readonly tenant?: string
  readonly lifeMs?: number
  readonly onlyIfAbsent?: boolean
  readonly progress?: () => void
}

/** A backend as one manager uses it, for bytes only. */
export class Shelf {
  readonly backend: FileSystemBackend
  readonly basePath: string
  readonly clock: Clock
  readonly reports: CacheError[] = []
  readonly evictions: { readonly key: string; readonly reason: EvictionReason }[] = []
  readonly #detach: () => void

  constructor({ clock = systemClock, basePath = temporaryDirectory(), ...options }: ShelfOptions = {}) {
    this.basePath = basePath
    this.clock = clock
    this.backend = new FileSystemBackend({ basePath, ...options })
    this.#detach = this.backend.attach({
      clock,
      report: (error) => this.reports.push(error),
      evicted: (_scope, key, _entry, reason) => this.evictions.push({ key, reason }),
    })
    afterwards(() => this.close())
  }

  get root(): string {
    return path.join(this.basePath, 'thermocline')
  }

  /** Where the entry's file is, for a key that is its own file name. */
  fileOf(key: string, tenant = 'acme'): string {
    return path.join(this.root, 'tenants', tenant, `${key}.tc`)
  }

  async put(key: string, bytes: Uint8Array | string, wishes: PutWishes = {}): Promise<boolean> {
    const { tenant = 'acme', lifeMs = HOUR_MS, onlyIfAbsent = false, progress } = wishes
    const createdAt = this.clock.now()
    const keepUntil = createdAt + lifeMs
    const entry = new CacheEntry(NO_VALUE, { codec: 'buffer', bytes: Buffer.from(bytes) }, { createdAt, expiresAt: keepUntil })
    return this.backend.put(scopeOf(tenant), validateKey(key), entry, { onlyIfAbsent, keepUntil, progress })
  }

  async get(key: string, { tenant = 'acme', touch = true } = {}): Promise<Buffer | undefined> {
    const entry = await this.backend.get(scopeOf(tenant), validateKey(key), { want: 'payload', touch })
    return entry?.encoded === undefined ? undefined : Buffer.from(entry.encoded.bytes)
  }

  /** Whether it is there, without using it. */
  async holds(key: string, tenant = 'acme'): Promise<boolean> {
    return (await this.backend.get(scopeOf(tenant), validateKey(key), { want: 'head', touch: false })) !== undefined
  }

  async delete(key: string, tenant = 'acme'): Promise<number> {
    return this.backend.delete(scopeOf(tenant), [validateKey(key)], {})
  }

  async clear(prefix = '', tenant = 'acme'): Promise<number> {
    return this.backend.clear(scopeOf(tenant), prefix, {})
  }

  async keys(tenant = 'acme'): Promise<string[]> {
    const keys: string[] = []
    for await (const { key } of this.backend.list(scopeOf(tenant), '', {})) keys.push(key)
    return keys.sort()
  }

  async close(): Promise<void> {
    this.#detach()
    await this.backend[Symbol.asyncDispose]()
  }
}

export function scopeOf(tenant: string): TenantScope {
  return new TenantScope(validateTenant(tenant))
}
