import {
  CacheEntry,
  NO_VALUE,
  StreamedEntry,
  systemClock,
  TenantScope,
  validateKey,
  validateTenant,
  type CacheBackend,
  type CacheError,
  type Clock,
  type EntryDetails,
  type PayloadStream,
  type StoredEntryInfo,
} from '@thermocline/backend'
import { afterwards } from './afterwards.js'

const HOUR_MS = 3_600_000

export interface PutWishes {
  readonly tenant?: string
  readonly onlyIfAbsent?: boolean
  readonly lifeMs?: number
  readonly keepMs?: number
  readonly codec?: string
  readonly details?: EntryDetails
  readonly signal?: AbortSignal
  readonly progress?: () => void
}

export interface GetWishes {
  readonly want?: 'head' | 'payload' | 'stream'
  readonly adopt?: boolean
  readonly tenant?: string
  readonly signal?: AbortSignal
  readonly onAbort?: (listener: () => void) => boolean
  readonly progress?: () => void
}

/** A backend over an object store as one manager uses it, with the verbs in a test's own words. It ends with the test. */
export class ObjectShelf<B extends CacheBackend> {
  readonly backend: B
  readonly prefix: string
  readonly reports: CacheError[] = []
  readonly #detach: () => void
  #closed = false

  /** @param prefix which the backend was given, too */
  constructor(backend: B, prefix: string, clock: Clock = systemClock) {
    this.backend = backend
    this.prefix = prefix
    this.#detach = backend.attach({ clock, report: (error) => this.reports.push(error), evicted: () => undefined, demotes: () => false })
    afterwards(() => this.close())
  }

  get codes(): string[] {
    return this.reports.map(({ code }) => code)
  }

  /** The object of a key that needs no escaping. */
  nameOf(key: string, tenant = 'acme'): string {
    return `${this.prefix}/tenants/${tenant}/${key}`
  }

  async put(key: string, payload: Uint8Array | string | PayloadStream, wishes: PutWishes = {}): Promise<boolean> {
    const { tenant = 'acme', onlyIfAbsent = false, lifeMs = HOUR_MS, keepMs = lifeMs, codec = 'buffer', details, signal, progress } = wishes
    const createdAt = systemClock.now()
    const fields = { createdAt, expiresAt: createdAt + lifeMs, details }
    const isBytes = typeof payload === 'string' || payload instanceof Uint8Array
    const entry = isBytes ? new CacheEntry(NO_VALUE, { codec, bytes: Buffer.from(payload) }, fields) : new StreamedEntry(payload, fields)
    return this.backend.put(scopeOf(tenant), validateKey(key), entry, { onlyIfAbsent, keepUntil: createdAt + keepMs, signal, progress })
  }

  async entry(key: string, { want = 'payload', adopt = false, tenant = 'acme', signal, onAbort, progress }: GetWishes = {}): Promise<CacheEntry | undefined> {
    return this.backend.get(scopeOf(tenant), validateKey(key), { want, touch: true, adopt, signal, progress, ...(onAbort === undefined ? {} : { onAbort }) })
  }

  /** The stored bytes themselves. */
  async get(key: string, wishes: GetWishes = {}): Promise<Buffer | undefined> {
    return (await this.entry(key, wishes))?.encoded?.bytes as Buffer | undefined
  }

  async text(key: string): Promise<string | undefined> {
    return (await this.get(key))?.toString()
  }

  async stream(key: string, more: Omit<GetWishes, 'want'> = {}): Promise<PayloadStream> {
    return ((await this.entry(key, { ...more, want: 'stream' })) as StreamedEntry).payload
  }

  async holds(key: string): Promise<boolean> {
    return (await this.entry(key, { want: 'head' })) !== undefined
  }

  async delete(...keys: string[]): Promise<number | undefined> {
    return this.backend.delete(scopeOf('acme'), keys.map(validateKey), {})
  }

  async clear(prefix = '', tenant = 'acme'): Promise<number | undefined> {
    return this.backend.clear(scopeOf(tenant), prefix, {})
  }

  async list(prefix = '', detail: 'keys' | 'info' = 'keys', adopt?: (key: string) => boolean): Promise<StoredEntryInfo[]> {
    const infos: StoredEntryInfo[] = []
    for await (const info of this.backend.list(scopeOf('acme'), prefix, { detail, adopt })) infos.push(info)
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

/** The parts of an object's `tc-entry`, its format as `format`. */
export function entryParts(metadata: Readonly<Record<string, string>> = {}): Record<string, string> {
  const [format = '', ...parts] = (metadata['tc-entry'] ?? '').split('; ')
  return { format, ...Object.fromEntries(parts.map((part) => [part.slice(0, part.indexOf('=')), part.slice(part.indexOf('=') + 1)])) }
}

/** The metadata with other parts in its `tc-entry`. */
export function withEntryParts(metadata: Readonly<Record<string, string>>, change: Readonly<Record<string, string>>): Record<string, string> {
  const { format, ...parts } = { ...entryParts(metadata), ...change }
  return { ...metadata, 'tc-entry': [format, ...Object.entries(parts).map(([name, value]) => `${name}=${value}`)].join('; ') }
}
