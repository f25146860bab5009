import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe } from '@jest/globals'
import { Storage, type File, type FileMetadata } from '@google-cloud/storage'
import type { Clock } from '@thermocline/backend'
import { GcsBackend, type GcsBackendOptions } from '@thermocline/gcs'
import { describeGcsEmulator, startGcsEmulator, startStrictGcs, type GcsEmulator, type GcsServer, type StrictGcsServer } from '../../../../test/support/gcs/index.js'
import { ObjectShelf } from '../../../../test/support/object-shelf.js'

export { scopeOf } from '../../../../test/support/object-shelf.js'

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

/** A backend as one manager uses it, and Google's client, which sees what really is in the bucket. */
export class Shelf extends ObjectShelf<GcsBackend> {
  readonly #plain: Storage
  readonly #bucket: string

  constructor(server: Pick<GcsServer, 'storageOptions'>, options: GcsBackendOptions, clock?: Clock) {
    super(new GcsBackend(options), options.prefix ?? '', clock)
    this.#bucket = options.bucket
    this.#plain = new Storage({ ...server.storageOptions(), retryOptions: { autoRetry: false } })
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
}
