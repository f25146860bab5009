import { buffer } from 'node:stream/consumers'
import type { Readable } from 'node:stream'
import { DeleteObjectCommand, GetObjectCommand, HeadObjectCommand, ListMultipartUploadsCommand, ListObjectsV2Command, PutObjectCommand, S3Client, type PutObjectCommandInput } from '@aws-sdk/client-s3'
import {
  CacheEntry,
  NO_VALUE,
  StreamedEntry,
  systemClock,
  TenantScope,
  validateKey,
  validateTenant,
  type CacheError,
  type Clock,
  type EntryDetails,
  type PayloadStream,
  type StoredEntryInfo,
} from '@thermocline/core'
import { S3Backend, type S3BackendOptions } from '@thermocline/s3'
import { afterwards } from '../../../../test/support/afterwards.js'
import type { ClientOptions, S3Server } from '../../../../test/support/s3/index.js'

const HOUR_MS = 3_600_000
let prefixes = 0

/** A part of a bucket that no other test uses. */
export function freshPrefix(): string {
  return `part-${process.pid}-${++prefixes}`
}

/** The options of a backend on a server of the tests. */
export function optionsFor(server: S3Server, bucket: string, { user = server.credentials, port }: ClientOptions = {}): S3BackendOptions {
  return { bucket, endpoint: port === undefined ? server.endpoint : `http://127.0.0.1:${port}`, region: server.region, credentials: user, forcePathStyle: true }
}

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

/** A backend as one manager uses it, and a client of its own that sees what really is in the bucket. */
export class Shelf {
  readonly backend: S3Backend
  readonly prefix: string
  readonly bucket: string
  readonly reports: CacheError[] = []
  readonly plain: S3Client
  readonly #detach: () => void
  #closed = false

  constructor(server: S3Server, { prefix = freshPrefix(), ...options }: S3BackendOptions, clock: Clock = systemClock) {
    this.prefix = prefix
    this.bucket = options.bucket
    this.plain = new S3Client(server.clientConfig())
    this.backend = new S3Backend({ prefix, ...options })
    this.#detach = this.backend.attach({ clock, report: (error) => this.reports.push(error), evicted: () => undefined, demotes: () => false })
    afterwards(() => this.close())
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

  async entry(key: string, { want = 'payload', adopt = false, tenant = 'acme', signal, progress }: { want?: 'head' | 'payload' | 'stream'; adopt?: boolean; tenant?: string; signal?: AbortSignal; progress?: () => void } = {}): Promise<CacheEntry | undefined> {
    return this.backend.get(scopeOf(tenant), validateKey(key), { want, touch: true, adopt, signal, progress })
  }

  /** The stored bytes themselves. */
  async get(key: string): Promise<Buffer | undefined> {
    return (await this.entry(key))?.encoded?.bytes as Buffer | undefined
  }

  async stream(key: string, more: { adopt?: boolean; progress?: () => void; signal?: AbortSignal } = {}): Promise<PayloadStream> {
    const entry = await this.entry(key, { ...more, want: 'stream' })
    return (entry as StreamedEntry).payload
  }

  async holds(key: string): Promise<boolean> {
    return (await this.entry(key, { want: 'head' })) !== undefined
  }

  async delete(...keys: string[]): Promise<undefined> {
    return this.backend.delete(scopeOf('acme'), keys.map(validateKey), {})
  }

  async clear(prefix = '', tenant = 'acme'): Promise<undefined> {
    return this.backend.clear(scopeOf(tenant), prefix, {})
  }

  async list(prefix = '', detail: 'keys' | 'info' = 'keys', adopt?: (key: string) => boolean): Promise<StoredEntryInfo[]> {
    const infos: StoredEntryInfo[] = []
    for await (const info of this.backend.list(scopeOf('acme'), prefix, { detail, adopt })) infos.push(info)
    return infos
  }

  /** What a plain client sees of an object; `undefined`: there is none. */
  async object(name: string): Promise<{ readonly body: Buffer; readonly metadata: Record<string, string>; readonly contentType: string | undefined; readonly contentEncoding: string | undefined; readonly storageClass: string | undefined } | undefined> {
    try {
      const found = await this.plain.send(new GetObjectCommand({ Bucket: this.bucket, Key: name }))
      const { Metadata = {}, ContentType, ContentEncoding, StorageClass } = found
      return { body: await buffer(found.Body as Readable), metadata: Metadata, contentType: ContentType, contentEncoding: ContentEncoding, storageClass: StorageClass }
    } catch (error) {
      if ((error as Error).name === 'NoSuchKey') return undefined
      throw error
    }
  }

  async exists(name: string): Promise<boolean> {
    return this.plain.send(new HeadObjectCommand({ Bucket: this.bucket, Key: name })).then(() => true, () => false)
  }

  /** Puts an object as somebody else would. */
  async putPlain(name: string, body: Uint8Array | string, more: Partial<PutObjectCommandInput> = {}): Promise<void> {
    await this.plain.send(new PutObjectCommand({ Bucket: this.bucket, Key: name, Body: body, ...more }))
  }

  async removePlain(name: string): Promise<void> {
    await this.plain.send(new DeleteObjectCommand({ Bucket: this.bucket, Key: name }))
  }

  /** The names of all objects of this part of the bucket. */
  async names(): Promise<string[]> {
    const names: string[] = []
    for (let token: string | undefined; ; ) {
      const { Contents = [], NextContinuationToken } = await this.plain.send(new ListObjectsV2Command({ Bucket: this.bucket, Prefix: `${this.prefix}/`, ContinuationToken: token }))
      names.push(...Contents.map(({ Key }) => Key!))
      if (NextContinuationToken === undefined) return names
      token = NextContinuationToken
    }
  }

  /** Uploads in parts that were begun and not ended, by the names of their objects. */
  async uploads(): Promise<string[]> {
    const { Uploads = [] } = await this.plain.send(new ListMultipartUploadsCommand({ Bucket: this.bucket, Prefix: `${this.prefix}/` }))
    return Uploads.map(({ Key }) => Key!)
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#detach()
    await this.backend[Symbol.asyncDispose]()
    this.plain.destroy()
  }
}

export function scopeOf(tenant: string): TenantScope {
  return new TenantScope(validateTenant(tenant))
}
