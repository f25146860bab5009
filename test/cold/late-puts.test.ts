import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { TieredCacheManager, type TenantCache } from '@thermocline/core'
import type { CacheBackend } from '@thermocline/backend'
import { GcsBackend } from '@thermocline/gcs'
import { S3Backend } from '@thermocline/s3'
import { optionsFor } from '../../packages/s3/test/support/shelf.js'
import { briefDoubt } from '../history/support/brief-doubt.js'
import { afterwards } from '../support/afterwards.js'
import { startStrictGcs, type StrictGcsServer } from '../support/gcs/index.js'
import { startProxy } from '../support/proxy.js'
import { describeS3, startS3, type S3Server } from '../support/s3/index.js'
import { until } from '../support/servers/until.js'

const MEGABYTE = 1024 ** 2
/** Instead of the minute of an object store: longer than the tier takes to be in use again. */
const DOUBT_MS = 4000

/** Opens a backend by way of this port; without one, directly. All see the same part of the bucket. */
type Open = (port?: number) => CacheBackend

function cacheOn(backend: CacheBackend): { cache: TieredCacheManager; acme: TenantCache } {
  const cache = new TieredCacheManager({ tiers: { cold: { backend, budget: '500ms', layers: [briefDoubt(DOUBT_MS)] } }, logger: false })
  afterwards(() => cache.close({ deadline: '5s' }))
  return { cache, acme: cache.tenant('acme') }
}

/** What a set that was given up leaves behind when the network delivers it after a delete. */
function latePuts(open: Open, port: () => number): void {
  test.each([
    ['a value', (acme: TenantCache) => acme.set('k', 'late')],
    ['a large value', (acme: TenantCache) => acme.set('k', Buffer.alloc(MEGABYTE / 2, 1))],
    ['a stream', (acme: TenantCache) => acme.setStream('k', [Buffer.from('late')])],
  ])('%s that arrives after its key was deleted is gone in the end, and is never read', async (_, write) => {
    const proxy = await startProxy(port())
    afterwards(() => proxy.close())
    const { cache, acme } = cacheOn(open(proxy.port))
    await acme.set('k', 'first')
    await proxy.stall('all')
    await write(acme) // recorded
    const elsewhere = cacheOn(open()).acme
    expect(await elsewhere.get('k')).toBe('first') // what was given up is still on its way
    proxy.stallNoMore()
    await until('the tier is in use again', async () => (await cache.stats()).tiers.cold?.state === 'ok')
    await acme.delete('k')
    await proxy.pass()
    await until('it has arrived', async () => ((await elsewhere.get('k')) ?? 'first') !== 'first')
    expect(await acme.get('k')).toBeUndefined()
    await until('nothing is in doubt or owed', async () => {
      const { cold } = (await cache.stats()).tiers
      return cold?.keysInDoubt === 0 && cold.pendingInvalidations === 0
    }, { withinMs: 15_000 })
    expect([await acme.get('k'), await elsewhere.get('k')]).toEqual([undefined, undefined])
  }, 30_000)
}

describeS3('a put to S3 without an answer', () => {
  let server: S3Server
  let bucket: string
  const prefix = randomUUID()
  beforeAll(async () => {
    server = await startS3()
    bucket = await server.createBucket()
  }, 60_000)
  afterAll(() => server.stop())
  latePuts((port) => new S3Backend({ prefix, ...optionsFor(server, bucket, port === undefined ? {} : { port }) }), () => server.port)
})

describe('a put to Cloud Storage without an answer', () => {
  let server: StrictGcsServer
  let bucket: string
  const prefix = randomUUID()
  beforeAll(async () => {
    server = await startStrictGcs()
    bucket = await server.createBucket()
  }, 60_000)
  afterAll(() => server.stop())
  latePuts((port) => new GcsBackend({ prefix, bucket, apiEndpoint: server.storageOptions(port).apiEndpoint }), () => server.port)
})
