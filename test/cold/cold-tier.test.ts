import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals'
import { DeleteObjectCommand, GetObjectCommand, HeadObjectCommand, ListMultipartUploadsCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3'
import { TieredCacheManager, type ListedEntry, type TenantCache, type TieredCacheManagerOptions } from '@thermocline/core'
import { FileSystemBackend } from '@thermocline/fs'
import { MemoryBackend } from '@thermocline/memory'
import { S3Backend } from '@thermocline/s3'
import { Faults } from '@thermocline/testkit'
import { afterwards, temporaryDirectory } from '../support/afterwards.js'
import { entryParts } from '../support/object-shelf.js'
import { describeS3, startS3, type S3Server } from '../support/s3/index.js'
import { until } from '../support/servers/until.js'

jest.setTimeout(60_000)

const MIB = 1024 ** 2
let server: S3Server
let client: S3Client
let bucket: string
let stacks = 0

interface Stack {
  readonly cache: TieredCacheManager
  readonly acme: TenantCache
  readonly cold: Faults
  readonly warm: Faults
  readonly errors: string[]
  /** The S3 object of a key. */
  readonly nameOf: (key: string) => string
}

/** Memory, disk and S3, all empty unless another stack has used the prefix. */
function hotWarmCold(options: Partial<TieredCacheManagerOptions> = {}, without: readonly string[] = [], prefix = `stack-${++stacks}`): Stack {
  const cold = new Faults()
  const warm = new Faults()
  const tiers = {
    hot: { backend: new MemoryBackend() },
    warm: { backend: new FileSystemBackend({ basePath: temporaryDirectory() }), layers: [warm.layer], budget: '5s' },
    cold: { backend: new S3Backend({ bucket, prefix, client }), layers: [cold.layer] },
  } as const
  const cache = new TieredCacheManager({ tiers: Object.fromEntries(Object.entries(tiers).filter(([name]) => !without.includes(name))), logger: false, ...options })
  afterwards(() => cache.close({ deadline: '10s' }))
  const errors: string[] = []
  cache.on('error', ({ error }) => errors.push(error.code))
  return { cache, acme: cache.tenant('acme'), cold, warm, errors, nameOf: (key) => `${prefix}/tenants/acme/${key}` }
}

function pattern(length: number, seed = 7): Buffer {
  const bytes = Buffer.allocUnsafe(length)
  for (let at = 0; at < length; at++) bytes[at] = (at * 31 + (at >> 8) * seed + (at >> 16)) & 0xff
  return bytes
}

async function* chunksOf(bytes: Uint8Array, size = 300_007): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += size) {
    await Promise.resolve()
    yield bytes.subarray(at, at + size)
  }
}

async function read(stream: AsyncIterable<Uint8Array> | undefined): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of stream ?? []) chunks.push(chunk)
  return Buffer.concat(chunks)
}

async function objectOf(name: string): Promise<{ readonly body: Buffer; readonly type: string | undefined; readonly encoding: string | undefined; readonly metadata: Record<string, string> }> {
  const { Body, ContentType, ContentEncoding, Metadata = {} } = await client.send(new GetObjectCommand({ Bucket: bucket, Key: name }))
  return { body: Buffer.from(await (Body as { transformToByteArray(): Promise<Uint8Array> }).transformToByteArray()), type: ContentType, encoding: ContentEncoding, metadata: Metadata }
}

describeS3('hot, warm and cold', () => {
  beforeAll(async () => {
    server = await startS3()
    bucket = await server.createBucket()
    client = new S3Client({ ...server.clientConfig(), maxAttempts: 1 })
  }, 660_000)
  afterAll(async () => {
    client.destroy()
    await server.stop()
  })

  test('a value is in every tier, plain in the bucket, and comes back from each', async () => {
    const { acme, nameOf } = hotWarmCold({ policies: { frames: { contentType: 'image/x-frame' } } })
    const jpeg = pattern(20_000)
    await acme.set('frames/0001.jpg', jpeg)
    await acme.set('meta.json', { a: [1, 2] })
    expect((await objectOf(nameOf('frames/0001.jpg'))).body.equals(jpeg)).toBe(true)
    expect((await objectOf(nameOf('frames/0001.jpg'))).type).toBe('image/x-frame')
    expect(String((await objectOf(nameOf('meta.json'))).body)).toBe('{"a":[1,2]}')
    for (const tiers of [{}, { hot: false }, { hot: false, warm: false }]) expect(await acme.get('meta.json', { tiers })).toEqual({ a: [1, 2] })
  })

  test('a hit in the bucket fills disk and memory', async () => {
    const { acme } = hotWarmCold()
    await acme.set('k', { deep: true }, { tiers: { hot: false, warm: false } })
    expect(await acme.get('k')).toEqual({ deep: true })
    expect(await acme.lookup('k')).toMatchObject({ tier: 'hot' })
    await until('the disk has it', async () => acme.has('k', { tiers: { hot: false, cold: false } }))
  })

  test('more than 512 bytes of metadata are refused where the bucket is used', async () => {
    const { acme } = hotWarmCold()
    const metadata = { long: 'x'.repeat(600) }
    await expect(acme.set('k', 1, { metadata })).rejects.toThrow('metadata must be at most 512 bytes where the tier cold (s3) is used')
    await acme.set('k', 1, { metadata, tiers: { cold: false } })
  })

  test('what another tool put there is ignored, or adopted where the policy says so', async () => {
    const { acme, nameOf } = hotWarmCold({ policies: { theirs: { foreignObjects: 'adopt' } } })
    for (const key of ['theirs/a.bin', 'ours/a.bin']) await client.send(new PutObjectCommand({ Bucket: bucket, Key: nameOf(key), Body: 'by hand' }))
    expect(String(await acme.get('theirs/a.bin'))).toBe('by hand')
    expect(String(await read(await acme.getStream('theirs/a.bin', { tiers: { hot: false, warm: false } })))).toBe('by hand')
    expect(await acme.lookup('theirs/a.bin')).toMatchObject({ expiresAt: null })
    expect(await acme.get('ours/a.bin')).toBeUndefined()
    expect((await objectOf(nameOf('ours/a.bin'))).body.byteLength).toBe(7)
  })

  test('a listing with detail shows what is adopted, in the tiers where it would be served', async () => {
    const policies = { theirs: { foreignObjects: 'adopt' }, elsewhere: { foreignObjects: 'adopt', tiers: { cold: false } } } as const
    const { acme, nameOf } = hotWarmCold({ policies }, ['hot'])
    for (const key of ['theirs/a.bin', 'elsewhere/a.bin', 'ours/a.bin']) await client.send(new PutObjectCommand({ Bucket: bucket, Key: nameOf(key), Body: 'by hand' }))
    await acme.set('ours/b.bin', Buffer.from('by us'), { tiers: { warm: false } })
    const listed = async (prefix: string): Promise<ListedEntry[]> => {
      const found: ListedEntry[] = []
      for await (const info of acme.list(prefix, { detail: true })) found.push(info)
      return found
    }
    expect((await listed('')).map(({ key }) => key).sort()).toEqual(['ours/b.bin', 'theirs/a.bin'])
    expect(await listed('theirs/')).toEqual([{ key: 'theirs/a.bin', tier: 'cold', size: 7, expiresAt: null }])
  })

  describe('streams', () => {
    test('a streamed set goes through the disk to the bucket, with length and checksum', async () => {
      const { acme, nameOf } = hotWarmCold()
      const bytes = pattern(21 * MIB)
      await acme.setStream('video.mp4', chunksOf(bytes), { metadata: { source: 'test' } })
      const object = await objectOf(nameOf('video.mp4'))
      expect(object.body.equals(bytes)).toBe(true)
      expect(object.type).toBe('video/mp4')
      expect(entryParts(object.metadata)).toMatchObject({ bytes: String(bytes.byteLength), crc32: expect.stringMatching(/^[\da-f]{8}$/) })
      expect(((await acme.get('video.mp4', { tiers: { hot: false, warm: false } })) as Buffer).equals(bytes)).toBe(true)
    })

    test('without a disk above, the store\'s own checksum is what there is, and the object says so', async () => {
      const { acme, nameOf } = hotWarmCold({}, ['warm'])
      const bytes = pattern(9 * MIB)
      await acme.setStream('a.bin', chunksOf(bytes))
      const object = await objectOf(nameOf('a.bin'))
      expect(object.body.equals(bytes)).toBe(true)
      expect(entryParts(object.metadata)['crc32']).toBe('store')
      expect((await read(await acme.getStream('a.bin'))).equals(bytes)).toBe(true)
    })

    test('readers of one cold stream share one download, which fills the disk at the same time', async () => {
      const { acme, cold } = hotWarmCold()
      const bytes = pattern(20 * MIB)
      await acme.setStream('a.bin', chunksOf(bytes), { tiers: { hot: false, warm: false } })
      const before = cold.calls.get
      const readers = await Promise.all(Array.from({ length: 12 }, () => acme.getStream('a.bin')))
      for (const got of await Promise.all(readers.map(read))) expect(got.equals(bytes)).toBe(true)
      expect(cold.calls.get - before).toBe(1)
      await until('the disk has it', async () => acme.has('a.bin', { tiers: { hot: false, cold: false } }))
      expect((await read(await acme.getStream('a.bin', { tiers: { cold: false } }))).equals(bytes)).toBe(true)
    })

    test('a stream given up half-way leaves nothing anywhere', async () => {
      const { acme, errors } = hotWarmCold()
      const bytes = pattern(30 * MIB)
      await acme.setStream('a.bin', chunksOf(bytes), { tiers: { hot: false, warm: false } })
      const stream = await acme.getStream('a.bin')
      let got = 0
      for await (const chunk of stream ?? []) if ((got += (chunk as Buffer).byteLength) > 9 * MIB) break
      const controller = new AbortController()
      const setting = acme.setStream('b.bin', (async function* () {
        yield* chunksOf(bytes)
        controller.abort(new Error('enough'))
        await new Promise(() => undefined)
      })(), { signal: controller.signal, tiers: { warm: false } })
      await expect(setting).rejects.toThrow('enough')
      expect(await acme.has('a.bin', { tiers: { cold: false } })).toBe(false)
      expect(await acme.has('b.bin')).toBe(false)
      await until('no upload is open', async () => {
        const { Uploads = [] } = await client.send(new ListMultipartUploadsCommand({ Bucket: bucket }))
        return Uploads.length === 0
      })
      expect(errors).toEqual([])
    })

    test('a body that is not what was stored errors before its end, and no tier keeps it', async () => {
      const prefix = `stack-${++stacks}`
      await hotWarmCold({}, [], prefix).acme.setStream('c.bin', chunksOf(pattern(3 * MIB)))
      const { acme, nameOf, errors } = hotWarmCold({}, [], prefix)
      const { body, metadata } = await objectOf(nameOf('c.bin'))
      body[2 * MIB] = (body[2 * MIB] as number) ^ 1
      await client.send(new PutObjectCommand({ Bucket: bucket, Key: nameOf('c.bin'), Body: body, Metadata: metadata }))
      await expect(acme.getStream('c.bin').then(read)).rejects.toMatchObject({ code: 'corrupt' })
      expect(await acme.has('c.bin', { tiers: { cold: false } })).toBe(false)
      expect(errors).toContain('corrupt')
    })

    test('compressed payloads say so in the bucket, and come back as they were', async () => {
      const { acme, nameOf } = hotWarmCold({ policies: { logs: { compression: 'gzip' } } })
      const text = Buffer.from('the same line again\n'.repeat(100_000))
      await acme.setStream('logs/a.txt', chunksOf(text))
      await acme.set('logs/b.json', { lines: Array.from({ length: 1000 }, () => 'same') })
      for (const key of ['logs/a.txt', 'logs/b.json']) expect((await objectOf(nameOf(key))).encoding).toBe('gzip')
      for (const tiers of [{}, { hot: false }, { hot: false, warm: false }]) {
        expect((await read(await acme.getStream('logs/a.txt', { tiers }))).equals(text)).toBe(true)
        expect(await acme.get('logs/b.json', { tiers })).toMatchObject({ lines: { length: 1000 } })
      }
    })

    test('produced once, it is in disk and bucket when its reader is at the end', async () => {
      const { acme, nameOf } = hotWarmCold()
      const bytes = pattern(12 * MIB)
      const streams = await Promise.all([1, 2, 3].map(() => acme.getOrComputeStream('p.bin', () => chunksOf(bytes))))
      for (const got of await Promise.all(streams.map(read))) expect(got.equals(bytes)).toBe(true)
      expect(entryParts((await objectOf(nameOf('p.bin'))).metadata)['bytes']).toBe(String(bytes.byteLength))
    })
  })

  test('an object deleted behind our back is a miss', async () => {
    const { acme, nameOf } = hotWarmCold({}, ['hot', 'warm'])
    await acme.set('k', 1)
    await client.send(new HeadObjectCommand({ Bucket: bucket, Key: nameOf('k') }))
    await client.send(new DeleteObjectCommand({ Bucket: bucket, Key: nameOf('k') }))
    expect(await acme.get('k')).toBeUndefined()
  })
})
