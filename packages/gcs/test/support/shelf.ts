import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe } from '@jest/globals'
import { Storage, type File, type FileMetadata } from '@google-cloud/storage'
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
import { GcsBackend, type GcsBackendOptions } from '@thermocline/gcs'
import { afterwards } from '../../../../test/support/afterwards.js'
import { describeGcsEmulator, startGcsEmulator, startStrictGcs, type GcsEmulator, type GcsServer, type StrictGcsServer } from '../../../../test/support/gcs/index.js'

const HOUR_MS = 3_600_000

/** A server with a bucket, for the suites of a block. */
export interface Stage<S extends GcsServer = GcsServer> {
  readonly kind: GcsServer['kind']
  readonly server: S
  readonly bucket: string
  /** A backend in a part of the bucket that no other has. */
  backend(options?: Partial<GcsBackendOptions>): GcsBackend
  /** A backend as one manager uses it, with what a test looks at. */
  shelf(options?: Partial<GcsBackendOptions>, clock?: Clock): Shelf
}

/** Starts a server for the suites of the block. */
export function staged<S extends GcsServer>(kind: S['kind'], start: () => Promise<S>): Stage<S> {
  let server: S | undefined
  let bucket = ''
  beforeAll(async () => {
    server = await start()
    bucket = await server.createBucket()
  }, 30_000)
  afterAll(() => server?.stop())
  const complete = (options: Partial<GcsBackendOptions>): GcsBackendOptions => ({
    bucket,
    ...(options.client === undefined ? { apiEndpoint: (server as S).endpoint } : {}),
    prefix: `tests/${randomUUID()}`,
    ...options,
  })
  return {
    kind,
    get server() {
      return server as S
    },
    get bucket() {
      return bucket
    },
    backend: (options = {}) => new GcsBackend(complete(options)),
    shelf: (options = {}, clock) => new Shelf(server as S, complete(options), clock),
  }
}

export function onStrictServer(name: string, body: (stage: Stage<StrictGcsServer>) => void): void {
  describe(name, () => body(staged('strict', startStrictGcs)))
}

export function onEmulator(name: string, body: (stage: Stage<GcsEmulator>) => void): void {
  describeGcsEmulator(name, () => body(staged('emulator', startGcsEmulator)))
}

/** The same suites on the emulator, which is not ours, and on the strict server, which is. */
export function onEachServer(body: (stage: Stage) => void): void {
  onEmulator('on the emulator', body)
  onStrictServer('on the strict server', body)
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

export interface GetWishes {
  readonly want?: 'head' | 'payload' | 'stream'
  readonly adopt?: boolean
  readonly tenant?: string
  readonly signal?: AbortSignal
  readonly progress?: () => void
}

/** A backend as one manager uses it, and Google's client, which sees what really is in the bucket. */
export class Shelf {
  readonly backend: GcsBackend
  readonly prefix: string
  readonly reports: CacheError[] = []
  readonly #plain: Storage
  readonly #bucket: string
  readonly #detach: () => void
  #closed = false

  constructor(server: Pick<GcsServer, 'storageOptions'>, options: GcsBackendOptions, clock: Clock = systemClock) {
    this.prefix = options.prefix ?? ''
    this.#bucket = options.bucket
    this.#plain = new Storage({ ...server.storageOptions(), retryOptions: { autoRetry: false } })
    this.backend = new GcsBackend(options)
    this.#detach = this.backend.attach({ clock, report: (error) => this.reports.push(error), evicted: () => undefined, demotes: () => false })
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

  async entry(key: string, { want = 'payload', adopt = false, tenant = 'acme', signal, progress }: GetWishes = {}): Promise<CacheEntry | undefined> {
    return this.backend.get(scopeOf(tenant), validateKey(key), { want, touch: true, adopt, signal, progress })
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

  delete(...keys: string[]): Promise<number | undefined> {
    return this.backend.delete(scopeOf('acme'), keys.map(validateKey), {})
  }

  clear(prefix = '', tenant = 'acme'): Promise<number | undefined> {
    return this.backend.clear(scopeOf(tenant), prefix, {})
  }

  async list(prefix = '', detail: 'keys' | 'info' = 'keys', adopt?: (key: string) => boolean): Promise<StoredEntryInfo[]> {
    const infos: StoredEntryInfo[] = []
    for await (const info of this.backend.list(scopeOf('acme'), prefix, { detail, adopt })) infos.push(info)
    return infos
  }

  /** The object of a key, for Google's client. */
  file(key: string, tenant = 'acme'): File {
    return this.#plain.bucket(this.#bucket).file(this.nameOf(key, tenant))
  }

  /** What Google's client sees of an object, as it is stored; `undefined`: there is none. */
  async object(key: string): Promise<(FileMetadata & { readonly body: Buffer; readonly own: Readonly<Record<string, string>> }) | undefined> {
    const file = this.file(key)
    try {
      const [metadata] = await file.getMetadata()
      const [body] = await file.download({ decompress: false, validation: false })
      return { ...metadata, body, own: (metadata.metadata ?? {}) as Record<string, string> }
    } catch (error) {
      if ((error as { code?: number }).code === 404) return undefined
      throw error
    }
  }

  /** Puts an object as somebody else would. */
  async putPlain(key: string, body: Uint8Array | string, metadata: FileMetadata = {}): Promise<void> {
    await this.file(key).save(Buffer.from(body), { resumable: false, validation: false, metadata })
  }

  /** The names of all objects of this part of the bucket. */
  async names(): Promise<string[]> {
    const [files] = await this.#plain.bucket(this.#bucket).getFiles({ prefix: `${this.prefix}/` })
    return files.map(({ name }) => name)
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
