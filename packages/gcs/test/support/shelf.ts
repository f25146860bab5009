import { afterAll, beforeAll, describe } from '@jest/globals'
import { randomUUID } from 'node:crypto'
import { GcsBackend, type GcsBackendOptions } from '@thermocline/gcs'
import { describeGcsEmulator, startGcsEmulator, startStrictGcs, type GcsServer } from '../../../../test/support/gcs/index.js'

/** A server with a bucket, for the suites of a block. */
export interface Stage<S extends GcsServer = GcsServer> {
  readonly kind: GcsServer['kind']
  readonly server: S
  readonly bucket: string
  /** A backend in a part of the bucket that no other has. */
  backend(options?: Partial<GcsBackendOptions>): GcsBackend
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
  return {
    kind,
    get server() {
      return server as S
    },
    get bucket() {
      return bucket
    },
    backend: (options = {}) => new GcsBackend({ bucket, ...(options.client === undefined ? { apiEndpoint: (server as S).endpoint } : {}), prefix: `tests/${randomUUID()}`, ...options }),
  }
}

/** The same suites on the emulator, which is not ours, and on the strict server, which is. */
export function onEachServer(body: (stage: Stage) => void): void {
  describeGcsEmulator('on the emulator', () => body(staged('emulator', startGcsEmulator)))
  describe('on the strict server', () => body(staged('strict', startStrictGcs)))
}
