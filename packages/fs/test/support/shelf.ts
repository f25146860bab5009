import fs from 'node:fs'
import path from 'node:path'
import {
  CacheEntry,
  isStreamed,
  NO_VALUE,
  StreamedEntry,
  systemClock,
  TenantScope,
  validateKey,
  validateTenant,
  type CacheError,
  type Clock,
  type EvictionReason,
  type JournalSlot,
  type PayloadStream,
  type ValidKey,
} from '@thermocline/backend'
import { FileSystemBackend, type FileSystemBackendOptions } from '@thermocline/fs'
import { afterwards, temporaryDirectory } from '../../../../test/support/afterwards.js'

const HOUR_MS = 3_600_000

export interface ShelfOptions extends Partial<FileSystemBackendOptions> {
  readonly clock?: Clock
  /** Whether what is evicted for space is wanted elsewhere. */
  readonly demotes?: (key: ValidKey) => boolean
}

export interface PutWishes {
  readonly tenant?: string
  readonly lifeMs?: number
  readonly onlyIfAbsent?: boolean
  readonly progress?: () => void
  readonly signal?: AbortSignal
  readonly journal?: JournalSlot | undefined
}

/** A backend as one manager uses it, for bytes only. */
export class Shelf {
  readonly backend: FileSystemBackend
  readonly basePath: string
  readonly clock: Clock
  readonly reports: CacheError[] = []
  readonly evictions: { readonly key: string; readonly reason: EvictionReason }[] = []
  /** What was offered with an eviction. */
  readonly demoted: { readonly key: string; readonly payload: PayloadStream }[] = []
  readonly #detach: () => void

  constructor({ clock = systemClock, basePath = temporaryDirectory(), demotes = () => false, ...options }: ShelfOptions = {}) {
    this.basePath = basePath
    this.clock = clock
    this.backend = new FileSystemBackend({ basePath, ...options })
    this.#detach = this.backend.attach({
      clock,
      report: (error) => this.reports.push(error),
      demotes: (_scope, key) => demotes(key),
      evicted: (_scope, key, entry, reason) => {
        this.evictions.push({ key, reason })
        if (entry !== undefined && isStreamed(entry)) this.demoted.push({ key, payload: entry.payload })
      },
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
    const fields = this.#fields(wishes)
    return this.#put(key, new CacheEntry(NO_VALUE, { codec: 'buffer', bytes: Buffer.from(bytes) }, fields), wishes)
  }

  async putStream(key: string, payload: PayloadStream, wishes: PutWishes = {}): Promise<boolean> {
    return this.#put(key, new StreamedEntry(payload, this.#fields(wishes)), wishes)
  }

  #fields({ lifeMs = HOUR_MS }: PutWishes): { createdAt: number; expiresAt: number } {
    const createdAt = this.clock.now()
    return { createdAt, expiresAt: createdAt + lifeMs }
  }

  #put(key: string, entry: CacheEntry, { tenant = 'acme', onlyIfAbsent = false, progress, signal, journal }: PutWishes): Promise<boolean> {
    return this.backend.put(scopeOf(tenant), validateKey(key), entry, { onlyIfAbsent, keepUntil: entry.expiresAt, progress, signal, journal })
  }

  /** An entry as a stream; to be read or cancelled. */
  async getStream(key: string, tenant = 'acme'): Promise<PayloadStream | undefined> {
    const entry = await this.backend.get(scopeOf(tenant), validateKey(key), { want: 'stream', touch: true })
    return entry !== undefined && isStreamed(entry) ? entry.payload : undefined
  }

  /** Names of the files that are being written. */
  get temporaryFiles(): string[] {
    return fs.readdirSync(path.join(this.root, 'tmp'))
  }

  /** How many files below the directory this process has open. */
  get openFiles(): number {
    const own = fs.readdirSync('/proc/self/fd').map((fd) => {
      try {
        return fs.readlinkSync(`/proc/self/fd/${fd}`)
      } catch {
        return ''
      }
    })
    return own.filter((target) => target.startsWith(this.basePath)).length
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
