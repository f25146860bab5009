import { HeadObjectCommand } from '@aws-sdk/client-s3'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { crc32 } from '@thermocline/backend'
import { bytesOf, cut, factsOf, HandFedStream, patterned, streamOf } from '@thermocline/testkit'
import { entryParts } from '../../../test/support/object-shelf.js'
import { describeS3, type S3Server } from '../../../test/support/s3/index.js'
import { until } from '../../../test/support/servers/until.js'
import type { Meddler } from './support/meddler.js'
import { optionsFor, Shelf } from './support/shelf.js'
import { startStage } from './support/stage.js'

const MIB = 1024 ** 2
const PART = 8 * MIB

describeS3('streams', () => {
  let server: S3Server
  let bucket: string
  let meddler: Meddler
  beforeAll(async () => void ({ server, bucket, meddler } = await startStage()), 660_000)
  afterAll(() => server.stop())
  const open = (more: object = {}): Shelf => {
    meddler.reset()
    return new Shelf(server, { ...optionsFor(server, bucket, { port: meddler.port }), ...more })
  }
  const nothingIsLeft = async (shelf: Shelf): Promise<void> => {
    expect(await shelf.names()).toEqual([])
    expect(await shelf.uploads()).toEqual([])
  }

  describe('on the wire', () => {
    test.each([
      ['small, unknown', 1000, false, ['PUT']],
      ['small, known', 1000, true, ['PUT']],
      ['exactly a part, unknown', PART, false, ['POST uploads', 'PUT partNumber', 'POST uploadId']],
      ['exactly a part, known', PART, true, ['PUT']],
      ['20 MiB, unknown', 20 * MIB, false, ['POST uploads', 'PUT partNumber', 'PUT partNumber', 'PUT partNumber', 'POST uploadId']],
      ['20 MiB, known', 20 * MIB, true, ['PUT']],
      ['70 MiB, known', 70 * MIB, true, ['POST uploads', ...Array.from({ length: 9 }, () => 'PUT partNumber'), 'POST uploadId']],
    ])('%s', async (_what, size, isKnown, requests) => {
      const shelf = open()
      const bytes = patterned(size)
      const chunks = cut(bytes, 1_000_003)
      const seen = await meddler.requestsOf(async () => expect(await shelf.put('k', streamOf(chunks, isKnown ? factsOf(chunks) : {}))).toBe(true))
      expect(seen.map((request) => request.replace(` ${shelf.nameOf('k')}`, ''))).toEqual(requests)
      const found = await shelf.plain.send(new HeadObjectCommand({ Bucket: bucket, Key: shelf.nameOf('k') }))
      const isWhole = isKnown || size < PART
      expect(entryParts(found.Metadata)).toMatchObject({ crc32: isWhole ? crc32(bytes).toString(16).padStart(8, '0') : 'store', ...(isWhole ? { bytes: String(size) } : {}) })
      expect(bytes.equals(await bytesOf(await shelf.stream('k')))).toBe(true)
      expect(await shelf.uploads()).toEqual([])
    }, 60_000)

    test('a checksum goes with every part and with the whole, unless that is switched off', async () => {
      const bytes = patterned(PART + 1000)
      for (const [option, has] of [['WHEN_SUPPORTED', true], ['WHEN_REQUIRED', false]] as const) {
        const shelf = open({ requestChecksumCalculation: option })
        const checksums: Record<string, unknown> = {}
        meddler.meddle = ({ method, query, headers }) => void (checksums[query.get('partNumber') ?? (query.has('uploads') ? 'begin' : method)] = headers['x-amz-checksum-crc32'] ?? headers['x-amz-checksum-type'])
        await shelf.put('k', streamOf([bytes]))
        const base64 = (part: Buffer): string => Buffer.from(crc32(part).toString(16).padStart(8, '0'), 'hex').toString('base64')
        expect(checksums).toEqual(has ? { begin: 'FULL_OBJECT', 1: base64(bytes.subarray(0, PART)), 2: base64(bytes.subarray(PART)), POST: base64(bytes) } : { begin: undefined, 1: undefined, 2: undefined, POST: undefined })
        checksums['PUT'] = 0
        await shelf.put('k', 'x')
        expect(checksums['PUT']).toBe(has ? base64(Buffer.from('x')) : undefined)
      }
    })
  })

  describe('that fail', () => {
    test.each([
      ['in the first part', 3 * MIB, {}],
      ['after two parts', 20 * MIB, {}],
      ['known beforehand, in one request', 20 * MIB, { byteLength: 30 * MIB, crc32: 1 }],
      ['known beforehand, in parts', 20 * MIB, { byteLength: 80 * MIB, crc32: 1 }],
    ])('%s: nothing is seen before, and nothing is left', async (_what, size, facts) => {
      const shelf = open()
      const broken = new Error('the source broke')
      const source = new HandFedStream(facts)
      const put = shelf.put('k', source)
      put.catch(() => undefined)
      for (const chunk of cut(patterned(size), MIB)) await source.give(chunk)
      expect(await shelf.names()).toEqual([])
      source.fail(broken)
      await expect(put).rejects.toMatchObject({ code: 'failed', retryable: false, cause: broken })
      await nothingIsLeft(shelf)
      expect(source.isReleased).toBe(true)
    })

    test('a source that throws after its last byte leaves nothing either', async () => {
      const shelf = open()
      for (const facts of [{}, { byteLength: 9 * MIB, crc32: crc32(patterned(9 * MIB)) }]) {
        const source = new HandFedStream(facts)
        const put = shelf.put('k', source)
        put.catch(() => undefined)
        await source.give(patterned(9 * MIB))
        await new Promise((resolve) => setTimeout(resolve, 100))
        source.fail(new Error('its checksum was wrong'))
        await expect(put).rejects.toMatchObject({ code: 'failed' })
        await nothingIsLeft(shelf)
      }
    })

    test.each([['unknown', {}], ['known', { byteLength: 30 * MIB, crc32: 1 }]])('a signal ends a put whose source has nothing to give, %s', async (_what, facts) => {
      const shelf = open()
      const controller = new AbortController()
      const source = new HandFedStream(facts)
      const put = shelf.put('k', source, { signal: controller.signal })
      put.catch(() => undefined)
      for (const chunk of cut(patterned(20 * MIB), MIB)) await source.give(chunk)
      controller.abort(new Error('nobody waits'))
      await expect(put).rejects.toMatchObject({ message: expect.stringContaining('nobody waits') })
      await nothingIsLeft(shelf)
      expect(source.isReleased).toBe(true)
    })

    test('a part that the store refuses ends the put, and the other parts go', async () => {
      const shelf = open()
      meddler.meddle = ({ query }) => (query.get('partNumber') === '2' ? { status: 503, code: 'SlowDown' } : undefined)
      const source = streamOf(Array.from({ length: 60 }, (_, i) => patterned(MIB, i)))
      await expect(shelf.put('k', source)).rejects.toMatchObject({ code: 'throttled', retryable: false, operation: 'put', key: 'k' })
      expect(source.isReleased).toBe(true)
      expect(source.taken).toBeLessThan(60 * MIB)
      await nothingIsLeft(shelf)
    })

    test('a store that refuses to put the parts together leaves nothing', async () => {
      const shelf = open()
      meddler.meddle = ({ method, query }) => (method === 'POST' && query.has('uploadId') ? { status: 500, code: 'InternalError' } : undefined)
      await expect(shelf.put('k', streamOf([patterned(PART)]))).rejects.toMatchObject({ code: 'unavailable' })
      await nothingIsLeft(shelf)
    })

    test('parts that cannot be removed are reported', async () => {
      const shelf = open()
      meddler.meddle = ({ method, query }) => (query.get('partNumber') === '1' ? { status: 400, code: 'Whatever' } : method === 'DELETE' ? { status: 500, code: 'InternalError' } : undefined)
      await expect(shelf.put('k', streamOf([patterned(PART)]))).rejects.toMatchObject({ code: 'failed' })
      expect(shelf.reports.map(({ code, message }) => [code, message])).toEqual([['failed', expect.stringMatching(/upload of parts to .* could not be removed/)]])
    })
  })

  test('memory stays bounded while the store is slow: the source waits', async () => {
    const shelf = open()
    let release: () => void = () => undefined
    const held = new Promise<void>((resolve) => (release = resolve))
    meddler.meddle = async ({ query }) => (query.has('partNumber') ? held.then(() => undefined) : undefined)
    const source = streamOf(Array.from({ length: 100 }, (_, i) => patterned(MIB, i)))
    const put = shelf.put('k', source)
    await until('the source waits', async () => {
      const before = source.taken
      await new Promise((resolve) => setTimeout(resolve, 200))
      return before > 0 && source.taken === before
    })
    expect(source.taken).toBeLessThanOrEqual(5 * PART)
    release()
    expect(await put).toBe(true)
    expect((await shelf.list('', 'info'))[0]).toMatchObject({ key: 'k', size: 100 * MIB })
  }, 60_000)

  test('progress is told in both directions, for bytes too', async () => {
    const shelf = open()
    const counts = { stream: 0, bytes: 0, get: 0, read: 0 }
    const bytes = patterned(10 * MIB)
    await shelf.put('a', streamOf(cut(bytes, MIB)), { progress: () => counts.stream++ })
    await shelf.put('b', bytes, { progress: () => counts.bytes++ })
    await shelf.entry('b', { progress: () => counts.get++ })
    await bytesOf(await shelf.stream('b', { progress: () => counts.read++ }))
    for (const count of Object.values(counts)) expect(count).toBeGreaterThanOrEqual(10)
    expect((await shelf.get('b'))?.equals(bytes)).toBe(true)
  })

  test('a reader may take its time: an idle connection counts only while something is waited for', async () => {
    const shelf = open()
    const bytes = patterned(6 * MIB)
    await shelf.put('k', bytes)
    const chunks: Uint8Array[] = []
    for await (const chunk of (await shelf.stream('k')).chunks()) {
      if (chunks.length === 1) await new Promise((resolve) => setTimeout(resolve, 7500))
      chunks.push(chunk)
    }
    expect(bytes.equals(Buffer.concat(chunks))).toBe(true)
  }, 20_000)

  test('a stream that nobody reads lets go of its connection by itself', async () => {
    const shelf = open({ maxSockets: 1 })
    await shelf.put('k', patterned(6 * MIB))
    await shelf.stream('k')
    await shelf.put('other', 'x') // waits for the only connection
    expect(String(await shelf.get('other'))).toBe('x')
  }, 20_000)
})
