import { gzipSync } from 'node:zlib'
import { CopyObjectCommand, HeadObjectCommand } from '@aws-sdk/client-s3'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { crc32 } from '@thermocline/backend'
import { bytesOf, patterned, streamOf } from '@thermocline/testkit'
import { entryParts, withEntryParts } from '../../../test/support/object-shelf.js'
import { describeS3, type S3Server } from '../../../test/support/s3/index.js'
import { until } from '../../../test/support/servers/until.js'
import type { Meddler } from './support/meddler.js'
import { optionsFor, Shelf } from './support/shelf.js'
import { startStage } from './support/stage.js'

const JPEG = Buffer.concat([Buffer.from('ffd8ffe000104a46494600010101006000600000', 'hex'), patterned(50_000)])

describeS3('objects in the bucket', () => {
  let server: S3Server
  let bucket: string
  let meddler: Meddler
  beforeAll(async () => void ({ server, bucket, meddler } = await startStage()), 660_000)
  afterAll(() => server.stop())
  const open = (): Shelf => new Shelf(server, optionsFor(server, bucket))
  const openByMeddler = (): Shelf => {
    meddler.reset()
    return new Shelf(server, optionsFor(server, bucket, { port: meddler.port }))
  }

  describe('are plain', () => {
    test('a cached file is that file under a legible name, with its media type, for any client', async () => {
      const shelf = open()
      await shelf.put('frames/frame_12.jpg', JPEG, { details: { tags: ['red', 'grün'], metadata: { source: 'käse' } } })
      const object = await shelf.object(`${shelf.prefix}/tenants/acme/frames/frame_12.jpg`)
      expect(object?.body.equals(JPEG)).toBe(true)
      expect(object?.contentType).toBe('image/jpeg')
      expect(object?.contentEncoding ?? '').toBe('')
      expect(object?.metadata).toMatchObject({
        'tc-entry': expect.stringMatching(/^1; codec=buffer; bytes=\d+; crc32=[\da-f]{8}; created=\d{13}; expires=\d{13}$/),
        'tc-tenant': 'acme',
        'tc-key': 'frames/frame_12.jpg',
        'tc-tags': expect.any(String),
        'tc-metadata': expect.any(String),
      })
      expect(entryParts(object?.metadata)).toMatchObject({ bytes: String(JPEG.byteLength), crc32: crc32(JPEG).toString(16).padStart(8, '0') })
      expect(await shelf.names()).toEqual([`${shelf.prefix}/tenants/acme/frames/frame_12.jpg`])
    })

    test.each([
      ['json', 'a', '{"a":1}', 'application/json', undefined],
      ['utf8', 'a', 'text', 'text/plain; charset=utf-8', undefined],
      ['buffer', 'a', 'bytes', 'application/octet-stream', undefined],
      ['json+gzip', 'docs/a', gzipSync('{}'), 'application/json', 'gzip'],
      ['buffer+br', 'page.html', 'packed', 'text/html', 'br'],
      ['buffer+zstd', 'jpg', 'packed', 'application/octet-stream', 'zstd'],
    ] as const)('codec %s of key %s', async (codec, key, bytes, contentType, contentEncoding) => {
      const shelf = open()
      await shelf.put(key, bytes, { codec })
      const object = await shelf.object(shelf.nameOf(key))
      expect([object?.contentType, object?.contentEncoding]).toEqual([contentType, contentEncoding])
      expect(object?.body.equals(Buffer.from(bytes))).toBe(true)
      const entry = await shelf.entry(key)
      expect([entry?.encoded?.codec, Buffer.from(entry!.encoded!.bytes).equals(Buffer.from(bytes))]).toEqual([codec, true])
    })

    test("the policy's media type, or the one in the metadata, goes before the extension", async () => {
      const shelf = open()
      await shelf.put('a.jpg', 'x', { details: { contentType: 'image/x-own' } })
      await shelf.put('b.jpg', 'x', { details: { metadata: { 'content-type': 'image/png' } } })
      expect((await shelf.object(shelf.nameOf('a.jpg')))?.contentType).toBe('image/x-own')
      expect((await shelf.object(shelf.nameOf('b.jpg')))?.contentType).toBe('image/png')
    })

    test('a streamed entry is as plain', async () => {
      const shelf = open()
      await shelf.put('video.mp4', streamOf([JPEG]))
      const object = await shelf.object(shelf.nameOf('video.mp4'))
      expect([object?.contentType, object?.body.equals(JPEG), entryParts(object?.metadata)['bytes']]).toEqual(['video/mp4', true, String(JPEG.byteLength)])
    })

    test('the storage class is that of the option', async () => {
      const shelf = new Shelf(server, { ...optionsFor(server, bucket), storageClass: 'STANDARD_IA' })
      await shelf.put('a', 'x')
      await shelf.put('b', streamOf([patterned(9_000_000)]))
      for (const key of ['a', 'b']) expect((await shelf.object(shelf.nameOf(key)))?.storageClass).toBe('STANDARD_IA')
      expect(String(await shelf.get('a'))).toBe('x')
    })

    test('without a prefix names begin with tenants/', async () => {
      const own = await server.createBucket()
      const shelf = new Shelf(server, { ...optionsFor(server, own), prefix: '' })
      await shelf.put('a', 'x')
      expect((await shelf.plain.send(new HeadObjectCommand({ Bucket: own, Key: 'tenants/acme/a' }))).ContentLength).toBe(1)
    })

    test('metadata that is too much is refused before anything is sent', async () => {
      const shelf = openByMeddler()
      await expect(shelf.put('a', 'x', { details: { tags: Array.from({ length: 400 }, (_, i) => `${i * 7919 % 10007}-tag`) } })).rejects.toMatchObject({ code: 'not-encodable', operation: 'put', key: 'a' })
      expect(meddler.seen).toEqual([])
    })
  })

  describe('that are not ours', () => {
    test('are misses, reported, and left in place by reads and promotion; put replaces them, delete and clear remove them', async () => {
      const shelf = open()
      for (const metadata of [undefined, { 'tc-entry': '2; codec=buffer' }, { other: 'x' }]) {
        await shelf.putPlain(shelf.nameOf('k'), 'of somebody else', metadata === undefined ? {} : { Metadata: metadata })
        shelf.reports.length = 0
        expect(await shelf.get('k')).toBeUndefined()
        expect(await shelf.holds('k')).toBe(false)
        expect(await shelf.entry('k', { want: 'stream' })).toBeUndefined()
        expect(shelf.reports.map(({ code, key }) => [code, key])).toEqual([['foreign', 'k'], ['foreign', 'k'], ['foreign', 'k']])
        expect(await shelf.put('k', 'promoted', { onlyIfAbsent: true })).toBe(false)
        expect(await shelf.list('', 'info')).toEqual([])
        expect(String((await shelf.object(shelf.nameOf('k')))?.body)).toBe('of somebody else')
      }
      expect(await shelf.put('k', 'mine')).toBe(true)
      expect(String(await shelf.get('k'))).toBe('mine')
      await shelf.putPlain(shelf.nameOf('k'), 'of somebody else')
      await shelf.delete('k')
      expect(await shelf.names()).toEqual([])
      await shelf.putPlain(shelf.nameOf('k'), 'of somebody else')
      await shelf.clear('k')
      expect(await shelf.names()).toEqual([])
    })

    test('an object that was copied to another key or tenant is foreign there', async () => {
      const shelf = open()
      await shelf.put('k', 'x')
      for (const [key, tenant] of [['other', 'acme'], ['k', 'rival']] as const) {
        await shelf.plain.send(new CopyObjectCommand({ Bucket: bucket, Key: shelf.nameOf(key, tenant), CopySource: `${bucket}/${shelf.nameOf('k')}` }))
        expect(await shelf.entry(key, { tenant })).toBeUndefined()
      }
      expect(shelf.reports.map(({ code }) => code)).toEqual(['foreign', 'foreign'])
      expect(await shelf.names()).toHaveLength(3)
    })

    test('metadata that was stripped on the way makes it foreign, not removed', async () => {
      const shelf = openByMeddler()
      await shelf.put('k', 'x')
      meddler.meddle = ({ method }) => (method === 'GET' ? { change: (headers) => Object.keys(headers).filter((name) => name.startsWith('x-amz-meta-')).forEach((name) => Reflect.deleteProperty(headers, name)) } : undefined)
      expect(await shelf.get('k')).toBeUndefined()
      expect(shelf.reports.map(({ code }) => code)).toEqual(['foreign'])
      meddler.reset()
      expect(String(await shelf.get('k'))).toBe('x')
    })

    test('with adopt they are entries of raw bytes that never expire', async () => {
      const shelf = open()
      const before = Math.floor(Date.now() / 1000) * 1000
      await shelf.putPlain(shelf.nameOf('photo.jpg'), JPEG, { ContentType: 'image/jpeg' })
      await shelf.putPlain(shelf.nameOf('page'), gzipSync('page'), { ContentEncoding: 'gzip' })
      const photo = await shelf.entry('photo.jpg', { adopt: true })
      expect([photo?.encoded?.codec, JPEG.equals(photo!.encoded!.bytes), photo?.expiresAt]).toEqual(['buffer', true, Infinity])
      expect(photo?.createdAt).toBeGreaterThanOrEqual(before - 2000)
      expect(photo?.details).toMatchObject({ contentType: 'image/jpeg' })
      const page = await shelf.entry('page', { adopt: true })
      expect(page?.encoded?.codec).toBe('buffer+gzip')
      expect((await shelf.entry('photo.jpg', { want: 'head', adopt: true }))?.expiresAt).toBe(Infinity)
      expect(JPEG.equals(await bytesOf(await shelf.stream('photo.jpg', { adopt: true })))).toBe(true)
      expect(shelf.reports).toEqual([])
    })

    test('a listing with detail shows those that are adopted, with sizes and without an end', async () => {
      const shelf = open()
      await shelf.put('ours', 'x')
      for (const key of ['', 'theirs/a', 'theirs/b', 'other']) await shelf.putPlain(shelf.nameOf(key), 'by hand')
      await shelf.putPlain(shelf.nameOf('theirs/newer'), 'x', { Metadata: { 'tc-entry': '2; codec=buffer' } })
      const found = await shelf.list('', 'info', (key) => key.startsWith('theirs/'))
      expect(found.map(({ key }) => key).sort()).toEqual(['ours', 'theirs/a', 'theirs/b'])
      expect(found.find(({ key }) => key === 'theirs/a')).toEqual({ key: 'theirs/a', size: 7, expiresAt: Infinity })
      expect((await shelf.list('', 'info')).map(({ key }) => key)).toEqual(['ours'])
    })

    test('with adopt, bytes that nothing here unpacks stay foreign, and so does what a newer release wrote', async () => {
      const shelf = open()
      await shelf.putPlain(shelf.nameOf('a'), 'x', { ContentEncoding: 'compress' })
      await shelf.putPlain(shelf.nameOf('b'), 'x', { Metadata: { 'tc-entry': '2; codec=buffer' } })
      for (const key of ['a', 'b']) expect(await shelf.entry(key, { adopt: true })).toBeUndefined()
      expect(shelf.reports.map(({ code }) => code)).toEqual(['foreign', 'foreign'])
    })
  })

  describe('that are damaged', () => {
    /** Replaces the body, or metadata, of an entry's object. */
    const damage = async (shelf: Shelf, key: string, body: Uint8Array | undefined, parts: Record<string, string> = {}): Promise<void> => {
      const object = (await shelf.object(shelf.nameOf(key)))!
      await shelf.putPlain(shelf.nameOf(key), body ?? object.body, { Metadata: withEntryParts(object.metadata, parts) })
    }
    const removed = (shelf: Shelf, key: string): Promise<unknown> => until('it is removed', async () => !(await shelf.exists(shelf.nameOf(key))))

    test.each([
      ['a flipped bit', Buffer.from('the one true walue'), {}],
      ['a byte less', Buffer.from('the one true valu'), {}],
      ['a byte more', Buffer.from('the one true value!'), {}],
      ['nothing', Buffer.alloc(0), {}],
      ['an instant that is none', undefined, { created: 'soon' }],
      ['a checksum that is none', undefined, { crc32: 'xyz' }],
      ['a codec that cannot be read', undefined, { codec: '=z:!!!' }],
    ])('%s: a miss, reported and removed', async (_what, body, parts) => {
      const shelf = open()
      await shelf.put('k', 'the one true value')
      await damage(shelf, 'k', body, parts)
      expect(await shelf.get('k')).toBeUndefined()
      expect(shelf.reports.map(({ code }) => code)).toEqual(['corrupt'])
      await removed(shelf, 'k')
    })

    test('a head sees a wrong length and broken metadata, and promotion goes over both', async () => {
      const shelf = open()
      await shelf.put('k', 'x')
      await damage(shelf, 'k', Buffer.from('xx'))
      expect(await shelf.put('k', 'promoted', { onlyIfAbsent: true })).toBe(true)
      expect(String(await shelf.get('k'))).toBe('promoted')
      await damage(shelf, 'k', Buffer.from('xx'))
      expect(await shelf.holds('k')).toBe(false)
      await removed(shelf, 'k')
    })

    test('a stream throws before its end, also in a large object', async () => {
      const shelf = open()
      const bytes = patterned(3_000_000)
      await shelf.put('k', bytes)
      const wrong = Buffer.from(bytes)
      wrong[2_999_999]! ^= 1
      await damage(shelf, 'k', wrong)
      const stream = await shelf.stream('k')
      let seen = 0
      await expect((async () => {
        for await (const chunk of stream.chunks()) seen += chunk.byteLength
      })()).rejects.toMatchObject({ code: 'corrupt', key: 'k' })
      expect(seen).toBeGreaterThan(0)
      await removed(shelf, 'k')
    })

    test('an object that was replaced meanwhile is not removed', async () => {
      const shelf = openByMeddler()
      await shelf.put('k', 'the one true value')
      await damage(shelf, 'k', Buffer.from('the one true walue'))
      let heads = 0
      meddler.meddle = async ({ method }) => {
        if (method === 'HEAD' && ++heads === 1) await shelf.put('k', 'the next one') // by way of this meddler too, and passed on
        return undefined
      }
      expect(await shelf.get('k')).toBeUndefined()
      await until('it has looked again', () => heads >= 1)
      await new Promise((resolve) => setTimeout(resolve, 100))
      expect(String((await shelf.object(shelf.nameOf('k')))?.body)).toBe('the next one')
      expect(meddler.seen.filter((request) => request.startsWith('DELETE'))).toEqual([])
    })
  })

  describe("whose only checksum is the store's", () => {
    const toStore = async (shelf: Shelf, key: string): Promise<void> => {
      const { body, metadata } = (await shelf.object(shelf.nameOf(key)))!
      await shelf.putPlain(shelf.nameOf(key), body, { Metadata: withEntryParts(metadata, { crc32: 'store' }) })
    }

    test('the MD5 that an ETag is protects an object in one piece', async () => {
      const shelf = openByMeddler()
      await shelf.put('k', 'the one true value')
      await toStore(shelf, 'k')
      expect(String(await shelf.get('k'))).toBe('the one true value')
      expect(String(await bytesOf(await shelf.stream('k')))).toBe('the one true value')
      meddler.meddle = ({ method }) => (method === 'GET' ? { change: (headers) => (headers.etag = '"0123456789abcdef0123456789abcdef"') } : undefined)
      expect(await shelf.get('k')).toBeUndefined()
      await expect(bytesOf(await shelf.stream('k'))).rejects.toMatchObject({ code: 'corrupt' })
      expect(shelf.reports.map(({ code }) => code)).toEqual(['corrupt', 'corrupt'])
      meddler.reset()
      expect(String(await shelf.get('k'))).toBe('the one true value') // what is stored has another ETag, so it was not removed
    })

    test('x-amz-checksum-crc32 protects one in parts, where the store has it (shown by answers of our own)', async () => {
      const shelf = openByMeddler()
      await shelf.put('k', 'the one true value')
      await toStore(shelf, 'k')
      let stated = crc32(Buffer.from('the one true value'))
      meddler.meddle = ({ method, headers }) => {
        // the condition that it is still the same object would fail at the store behind
        if (method === 'HEAD' && headers['if-match'] !== undefined) return { status: 200, headers: { 'x-amz-checksum-crc32': crcHeader(stated), 'content-length': '18' } }
        return { change: (given) => (given.etag = '"0123456789abcdef0123456789abcdef-2"') }
      }
      expect(String(await shelf.get('k'))).toBe('the one true value')
      expect(String(await bytesOf(await shelf.stream('k')))).toBe('the one true value')
      stated ^= 1
      expect(await shelf.get('k')).toBeUndefined()
      await expect(bytesOf(await shelf.stream('k'))).rejects.toMatchObject({ code: 'corrupt' })
    })
  })
})

function crcHeader(crc: number): string {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(crc)
  return bytes.toString('base64')
}
