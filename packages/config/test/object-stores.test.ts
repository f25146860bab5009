import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { text as textOf } from 'node:stream/consumers'
import { GetObjectCommand, ListObjectsV2Command, S3Client } from '@aws-sdk/client-s3'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { loadCache } from '@thermocline/config'
import type { CacheError } from '@thermocline/backend'
import type { TieredCacheManager } from '@thermocline/core'
import { describeGcsEmulator, startGcsEmulator, startStrictGcs, type GcsServer } from '../../../test/support/gcs/index.js'
import { describeRedis, startRedis, type RedisServer } from '../../../test/support/redis/index.js'
import { describeCeph, describeS3, startCeph, startS3, type CephServer, type S3Server } from '../../../test/support/s3/index.js'
import { until } from '../../../test/support/servers/until.js'
import { SECTION_7 } from './section-7.js'
import { afterwards, temporaryDirectory } from '../../../test/support/afterwards.js'

const CONFIGS = path.resolve(import.meta.dirname, '../../../configs')
const DEADLINE = { deadline: '10s' } as const

interface Loaded {
  readonly cache: TieredCacheManager
  readonly errors: CacheError[]
}

/** A cache that ends with the test, and what it reports. */
async function loaded(file: string, env: Record<string, string>): Promise<Loaded> {
  const cache = await loadCache(path.resolve(CONFIGS, file), { env, logger: false })
  afterwards(() => cache.close(DEADLINE))
  const errors: CacheError[] = []
  cache.on('error', ({ error }) => errors.push(error))
  return { cache, errors }
}

/** What the AWS SDK and Google's client find in the environment, until the tests of the file have run. */
function setEnvironment(values: Readonly<Record<string, string | undefined>>): void {
  for (const [name, value] of Object.entries(values)) {
    if (value === undefined) Reflect.deleteProperty(process.env, name)
    else process.env[name] = value
  }
}

const credentialsOf = ({ credentials, region }: S3Server) => ({
  AWS_ACCESS_KEY_ID: credentials.accessKeyId,
  AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
  AWS_SESSION_TOKEN: credentials.sessionToken,
  AWS_REGION: region,
})

/** What one machine stores through and behind its disk, another with an empty one finds in the bucket. */
async function expectWrittenBack(load: (directory: string) => Promise<Loaded>): Promise<void> {
  const one = await load(temporaryDirectory())
  const value = { text: 'x'.repeat(4000) }
  await one.cache.tenant('acme').set('embeddings/a', value)
  await one.cache.tenant('acme').set('pages/a', value) // of the policy `default`: written through
  expect((await one.cache.stats()).writeBack).toMatchObject({ retries: 0 })
  expect(await one.cache.flush(DEADLINE)).toEqual({ pending: 0, owed: 0 })
  const other = await load(temporaryDirectory())
  expect(await other.cache.tenant('acme').lookup('embeddings/a')).toMatchObject({ status: 'fresh', tier: 'cold', value })
  expect(await other.cache.tenant('acme').get('pages/a')).toEqual(value)
  expect((await one.cache.stats()).writeBack).toMatchObject({ pending: 0, uploaded: 1 })
  expect([...one.errors, ...other.errors]).toEqual([])
}

describeS3('example files with S3', () => {
  let server: S3Server
  let client: S3Client
  let bucket: string
  const before = { ...process.env }
  beforeAll(async () => {
    server = await startS3()
    client = new S3Client(server.clientConfig())
    setEnvironment({ ...credentialsOf(server), AWS_ENDPOINT_URL_S3: server.endpoint })
  }, 60_000)
  afterAll(async () => {
    setEnvironment(Object.fromEntries(['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', 'AWS_SESSION_TOKEN', 'AWS_REGION', 'AWS_ENDPOINT_URL_S3'].map((name) => [name, before[name]])))
    client?.destroy()
    await server?.stop()
  })
  const newBucket = async (): Promise<string> => (bucket = await server.createBucket())
  const names = async (): Promise<string[]> => ((await client.send(new ListObjectsV2Command({ Bucket: bucket }))).Contents ?? []).map(({ Key = '' }) => Key)

  test('memory-disk-s3.yaml: written back', async () => {
    await newBucket()
    const { cache } = await loaded('memory-disk-s3.yaml', { S3_BUCKET: bucket, CACHE_DIR: temporaryDirectory() })
    await cache.tenant('acme').set('transcripts/a', 'spoken '.repeat(1000))
    await cache.flush(DEADLINE)
    const { ContentEncoding, ContentLength = 0 } = await client.send(new GetObjectCommand({ Bucket: bucket, Key: 'cache/tenants/acme/transcripts/a' }))
    expect(ContentEncoding).toBe('gzip')
    expect(ContentLength).toBeLessThan(1000)
    await cache.tenant('acme').clear()
    await cache.close(DEADLINE)
    await newBucket()
    // the rules that the file asks for are not the bucket's, which is reported
    await expectWrittenBack(async (CACHE_DIR) => {
      const made = await loaded('memory-disk-s3.yaml', { S3_BUCKET: bucket, CACHE_DIR })
      const isRule = ({ message }: CacheError): boolean => message.includes('lifecycle')
      return { cache: made.cache, get errors() { return made.errors.filter((error) => !isRule(error)) } }
    })
  }, 60_000)

  test('s3-compatible.yaml: in the path, written back', async () => {
    await newBucket()
    const endpoint = { S3_ENDPOINT: server.endpoint, S3_BUCKET: bucket }
    await expectWrittenBack((CACHE_DIR) => loaded('s3-compatible.yaml', { ...endpoint, CACHE_DIR }))
    expect((await names()).sort()).toEqual(['cache/tenants/acme/embeddings/a', 'cache/tenants/acme/pages/a'])
  }, 60_000)

  test('disk-s3-media.yaml: objects are files, others may add some, and streams go both ways', async () => {
    await newBucket()
    const load = async () => (await loaded('disk-s3-media.yaml', { S3_BUCKET: bucket, CACHE_DIR: temporaryDirectory() })).cache.tenant('acme')
    const [one, other] = [await load(), await load()]
    await one.setStream('videos/a', [Buffer.from('first '), Buffer.from('second')])
    const { Body, ContentType } = await client.send(new GetObjectCommand({ Bucket: bucket, Key: 'media/tenants/acme/videos/a' }))
    expect([ContentType, await Body?.transformToString()]).toEqual(['video/mp4', 'first second'])
    expect(await textOf((await other.getStream('videos/a'))!)).toBe('first second')
    await client.send(new (await import('@aws-sdk/client-s3')).PutObjectCommand({ Bucket: bucket, Key: 'media/tenants/acme/videos/theirs.mp4', Body: 'theirs' }))
    expect(await textOf((await one.getStream('videos/theirs.mp4'))!)).toBe('theirs')
    await one.set('frames/a.png', Buffer.from('frame'))
    expect(await other.get('frames/a.png')).toBeUndefined() // demoted only
  }, 60_000)

  describeRedis('and Redis', () => {
    let redis: RedisServer
    beforeAll(async () => void (redis = await startRedis()))
    afterAll(() => redis.stop())

    test('memory-redis-s3.yaml: written through, and kept in Redis for a day at most', async () => {
      await newBucket()
      const { cache, errors } = await loaded('memory-redis-s3.yaml', { S3_BUCKET: bucket, REDIS_URL: redis.url })
      const acme = cache.tenant('acme')
      await acme.set('embeddings/a', new Float32Array([1, 2]))
      await acme.set('reports/a', 'long '.repeat(1000))
      expect((await names()).sort()).toEqual(['cache/tenants/acme/embeddings/a', 'cache/tenants/acme/reports/a'])
      expect((await redis.command('KEYS', '*') as string[]).sort()).toEqual(['tc:%log', 'tc:acme:embeddings/a'])
      await redis.command('FLUSHALL')
      expect(await acme.get('embeddings/a')).toEqual(new Float32Array([1, 2]))
      expect(await acme.get('reports/a')).toBe('long '.repeat(1000))
      await until('both are in Redis', async () => (await redis.command('DBSIZE')) === 2)
      expect(errors).toEqual([])
    }, 60_000)
  })
})

describe('example files with Cloud Storage', () => {
  const withServer = (start: () => Promise<GcsServer>): void => {
    let server: GcsServer
    const before = process.env['STORAGE_EMULATOR_HOST']
    beforeAll(async () => {
      server = await start()
      setEnvironment({ STORAGE_EMULATOR_HOST: server.endpoint })
    }, 60_000)
    afterAll(async () => {
      setEnvironment({ STORAGE_EMULATOR_HOST: before })
      await server?.stop()
    })

    test('memory-disk-gcs.yaml: written back', async () => {
      const GCS_BUCKET = await server.createBucket()
      await expectWrittenBack((CACHE_DIR) => loaded('memory-disk-gcs.yaml', { GCS_BUCKET, CACHE_DIR }))
    }, 60_000)
  }
  describeGcsEmulator("on Google's emulator", () => withServer(startGcsEmulator))
  describe('on the strict server', () => withServer(startStrictGcs))
})

describeCeph('the documented example', () => {
  let server: CephServer
  const before = { ...process.env }
  beforeAll(async () => {
    server = await startCeph({ storageClasses: ['INTELLIGENT_TIERING', 'GLACIER'] })
    setEnvironment({ ...credentialsOf(server), AWS_ENDPOINT_URL_S3: server.endpoint })
  }, 60_000)
  afterAll(async () => {
    setEnvironment(Object.fromEntries(['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', 'AWS_SESSION_TOKEN', 'AWS_REGION', 'AWS_ENDPOINT_URL_S3'].map((name) => [name, before[name]])))
    await server?.stop()
  })

  describeRedis('as it stands', () => {
    let redis: RedisServer
    beforeAll(async () => void (redis = await startRedis({ maxmemory: '2gb', maxmemoryPolicy: 'allkeys-lru' })))
    afterAll(() => redis.stop())

    test('loads and runs with its three tiers; only addresses are the tests’ own', async () => {
      await server.createBucket('artifacts')
      const [directory, otherDirectory] = [temporaryDirectory(), temporaryDirectory()]
      const load = async (base: string): Promise<Loaded> => {
        const file = path.join(base, 'cache.yaml')
        writeFileSync(file, SECTION_7.replace('redis://localhost:6379', redis.url).replace('/var/cache/app', path.join(base, 'disk')))
        return loaded(file, {})
      }
      const { cache, errors } = await load(directory)
      const acme = cache.tenant('acme')
      expect(await acme.getOrCompute('frames/1.jpg', () => Buffer.from('a frame'))).toEqual(Buffer.from('a frame'))
      await acme.set('embeddings/1', new Float32Array([1, 2, 3]))
      await acme.set('search_results/1', ['a', 'b'])
      expect(await acme.lookup('search_results/1')).toMatchObject({ tier: 'hot', value: ['a', 'b'] })
      expect(await acme.lookup('frames/1.jpg')).toMatchObject({ tier: 'warm' })

      const other = (await load(otherDirectory)).cache.tenant('acme')
      expect(await other.lookup('frames/1.jpg')).toMatchObject({ tier: 'cold', value: Buffer.from('a frame') })
      expect(await other.lookup('embeddings/1')).toMatchObject({ tier: 'cold', expiresAt: null, value: new Float32Array([1, 2, 3]) })
      expect(await other.lookup('search_results/1')).toMatchObject({ tier: 'hot' })

      const client = new S3Client(server.clientConfig())
      const object = await client.send(new GetObjectCommand({ Bucket: 'artifacts', Key: 'tenants/acme/frames/1.jpg' }))
      expect([object.StorageClass, object.ContentType, await object.Body?.transformToString()]).toEqual(['INTELLIGENT_TIERING', 'image/jpeg', 'a frame'])
      client.destroy()
      await until('the lifecycle is compared', async () => errors.length > 0)
      expect(errors.map(({ message }) => message)).toEqual([expect.stringMatching(/lifecycle.*artifacts|artifacts.*lifecycle/)])
    }, 60_000)
  })
})
