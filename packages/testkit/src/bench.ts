import assert from 'node:assert/strict'
import { isDeepStrictEqual } from 'node:util'
import v8 from 'node:v8'
import {
  CacheEntry,
  isStreamed,
  NO_VALUE,
  StreamedEntry,
  systemClock,
  TenantScope,
  validateKey,
  validateTenant,
  type BackendHost,
  type CacheBackend,
  type CacheError,
  type Clock,
  type EncodedPayload,
  type EntryDetails,
  type EvictionReason,
  type PayloadStream,
  type StoredEntryInfo,
  type ValidKey,
} from '@thermocline/backend'
import { bytesOf } from './streams.js'

/** A backend under test, new and empty. */
export interface Subject {
  readonly backend: CacheBackend
  /** Opens another backend on the same store, for stores that outlive one. */
  readonly reopen?: (() => Promise<CacheBackend>) | undefined
  /** Removes what the subject leaves behind. */
  readonly cleanUp?: (() => Promise<void>) | undefined
  /** Changes a byte of the payload that is stored under the key, behind the backend's back. */
  readonly damage?: ((tenant: string, key: string) => Promise<void> | void) | undefined
  /** Makes the store fail from now on, as when its server has gone or its directory cannot be read. */
  readonly fail?: (() => Promise<void> | void) | undefined
}

export const HOUR_MS = 3_600_000
export const acme = (): TenantScope => new TenantScope(validateTenant('acme'))
export const key = (name: string): ValidKey => validateKey(name)

export interface PutWishes {
  readonly createdAt?: number
  readonly expiresAt?: number
  readonly keepUntil?: number
  readonly details?: EntryDetails
  readonly computeMicros?: number
  readonly onlyIfAbsent?: boolean
  readonly signal?: AbortSignal
}

/** What a test does with one backend, as a manager would. */
export class Bench {
  readonly subject: Subject
  readonly backend: CacheBackend
  readonly scope = acme()
  readonly failures: CacheError[] = []
  readonly evictions: { readonly key: string; readonly reason: EvictionReason }[] = []
  readonly now: number
  readonly host: BackendHost
  readonly #detach: () => void
  #closed = false

  constructor(subject: Subject, clock: Clock = systemClock) {
    this.subject = subject
    this.backend = subject.backend
    this.now = clock.now()
    this.host = { clock, evicted: (_scope, name, _entry, reason) => this.evictions.push({ key: name, reason }), demotes: () => false, report: (error) => this.failures.push(error) }
    this.#detach = this.backend.attach(this.host)
  }

  async put(name: string, value: unknown, wishes: PutWishes = {}, scope = this.scope): Promise<boolean> {
    const createdAt = wishes.createdAt ?? this.now
    const expiresAt = wishes.expiresAt ?? createdAt + HOUR_MS
    const keeps = this.backend.capabilities.keeps
    const entry = new CacheEntry(keeps === 'value' ? value : NO_VALUE, keeps === 'bytes' || Buffer.isBuffer(value) ? encoded(value) : undefined, {
      createdAt,
      expiresAt,
      computeMicros: wishes.computeMicros,
      details: wishes.details,
    })
    return this.backend.put(scope, key(name), entry, { onlyIfAbsent: wishes.onlyIfAbsent ?? false, keepUntil: wishes.keepUntil ?? expiresAt })
  }

  /** Puts a payload as a stream. */
  async putStream(name: string, payload: PayloadStream, wishes: PutWishes = {}): Promise<boolean> {
    const createdAt = wishes.createdAt ?? this.now
    const expiresAt = wishes.expiresAt ?? createdAt + HOUR_MS
    const entry = new StreamedEntry(payload, { createdAt, expiresAt, computeMicros: wishes.computeMicros, details: wishes.details })
    return this.backend.put(this.scope, key(name), entry, { onlyIfAbsent: wishes.onlyIfAbsent ?? false, keepUntil: wishes.keepUntil ?? expiresAt, signal: wishes.signal })
  }

  /** The entry as a stream; it has to be read or cancelled. */
  async getStream(name: string): Promise<StreamedEntry | undefined> {
    const entry = await this.backend.get(this.scope, key(name), { want: 'stream', touch: true })
    assert.ok(entry === undefined || isStreamed(entry), 'an entry asked for as a stream is one')
    return entry
  }

  async gotStream(name: string): Promise<StreamedEntry> {
    const entry = await this.getStream(name)
    assert.ok(entry !== undefined, `${JSON.stringify(name.slice(0, 60))} is there`)
    return entry
  }

  /** The bytes of an entry, read as a stream; `undefined`: a miss. */
  async read(name: string): Promise<Buffer | undefined> {
    const entry = await this.getStream(name)
    return entry === undefined ? undefined : bytesOf(entry.payload)
  }

  async get(name: string, scope = this.scope): Promise<CacheEntry | undefined> {
    return this.backend.get(scope, key(name), { want: 'payload', touch: true })
  }

  async getMany(names: readonly string[], want: 'head' | 'payload' = 'payload'): Promise<readonly (CacheEntry | undefined)[]> {
    return this.backend.getMany(this.scope, names.map(key), { want, touch: true })
  }

  async remove(...names: readonly string[]): Promise<number | undefined> {
    return this.backend.delete(this.scope, names.map(key), {})
  }

  async got(name: string, scope = this.scope): Promise<CacheEntry> {
    const entry = await this.get(name, scope)
    assert.ok(entry !== undefined, `${JSON.stringify(name.slice(0, 60))} is there`)
    return entry
  }

  valueOf(entry: CacheEntry): unknown {
    return entry.value === NO_VALUE && entry.encoded !== undefined ? decoded(entry.encoded) : entry.value
  }

  async list(prefix: string, detail: 'keys' | 'info', scope = this.scope): Promise<StoredEntryInfo[]> {
    const infos: StoredEntryInfo[] = []
    for await (const info of this.backend.list(scope, prefix, { detail })) infos.push(info)
    return infos
  }

  async keys(prefix: string, scope = this.scope): Promise<string[]> {
    return (await this.list(prefix, 'keys', scope)).map((info) => info.key)
  }

  async detach(): Promise<void> {
    this.#detach()
    await this.backend[Symbol.asyncDispose]()
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    await this.detach()
    await this.subject.cleanUp?.()
  }
}

/** Without the fields that are there but undefined, and without the copy's own keepUntil. */
export function plain(details: EntryDetails | undefined): unknown {
  if (details === undefined) return undefined
  return Object.fromEntries(Object.entries(details).filter(([name, value]) => value !== undefined && name !== 'keepUntil'))
}

/** A value as bytes, under the names that the manager's codecs have: an adapter passes both on as they are. */
function encoded(value: unknown): EncodedPayload {
  if (Buffer.isBuffer(value)) return { codec: 'buffer', bytes: value }
  if (typeof value === 'string' && value.isWellFormed()) return { codec: 'utf8', bytes: Buffer.from(value) }
  const text = exactJson(value)
  return text === undefined ? { codec: 'v8', bytes: v8.serialize(value) } : { codec: 'json', bytes: Buffer.from(text) }
}

/** JSON that comes back as the value; `undefined`: there is none. */
function exactJson(value: unknown): string | undefined {
  try {
    const text = JSON.stringify(value) as string | undefined
    return text !== undefined && isDeepStrictEqual(JSON.parse(text), value) ? text : undefined
  } catch {
    return undefined // a bigint, or a cycle
  }
}

function decoded({ codec, bytes }: EncodedPayload): unknown {
  switch (codec) {
    case 'buffer': return Buffer.from(bytes)
    case 'utf8': return Buffer.from(bytes).toString()
    case 'json': return JSON.parse(Buffer.from(bytes).toString())
    case 'v8': return v8.deserialize(bytes)
    default: return assert.fail(`an adapter made up the codec ${codec}`)
  }
}
