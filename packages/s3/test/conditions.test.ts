import { HeadObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { patterned, streamOf, factsOf } from '@thermocline/testkit'
import { describeS3, type S3Server } from '../../../test/support/s3/index.js'
import type { Meddler, Meddling } from './support/meddler.js'
import { optionsFor, Shelf } from './support/shelf.js'
import { startStage } from './support/stage.js'

/** What belongs to the client, not to this package: the store's own clock has whole seconds, a life of a moment does not. */
const MOMENT_MS = 30
const later = (ms = MOMENT_MS * 2): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

describeS3('conditions', () => {
  let server: S3Server
  let bucket: string
  let meddler: Meddler
  beforeAll(async () => void ({ server, bucket, meddler } = await startStage()), 660_000)
  afterAll(() => server.stop())
  const open = (prefix?: string): Shelf => {
    meddler.reset()
    return new Shelf(server, { ...optionsFor(server, bucket, { port: meddler.port }), ...(prefix === undefined ? {} : { prefix }) })
  }

  test('two backends that promote one key at once: one wins', async () => {
    const shelves = [open()]
    shelves.push(open(shelves[0]!.prefix))
    for (let round = 0; round < 10; round++) {
      const outcomes = await Promise.all([0, 1, 0, 1, 0, 1].map((which, i) => shelves[which]!.put(`k${round}`, `value ${i}`, { onlyIfAbsent: true })))
      expect(outcomes.filter(Boolean)).toHaveLength(1)
      expect(String(await shelves[0]!.get(`k${round}`))).toBe(`value ${outcomes.indexOf(true)}`)
    }
  })

  test('a promotion over nothing is one request, over something two', async () => {
    const shelf = open()
    expect(await meddler.requestsOf(() => shelf.put('k', 'x', { onlyIfAbsent: true }))).toEqual([`PUT ${shelf.nameOf('k')}`])
    expect(await meddler.requestsOf(() => shelf.put('k', 'y', { onlyIfAbsent: true }))).toEqual([`PUT ${shelf.nameOf('k')}`, `HEAD ${shelf.nameOf('k')}`])
    expect(String(await shelf.get('k'))).toBe('x')
  })

  test('a large payload is not sent to be refused', async () => {
    const shelf = open()
    await shelf.put('k', 'x')
    expect(await meddler.requestsOf(() => shelf.put('k', patterned(5_000_000), { onlyIfAbsent: true }))).toEqual([`HEAD ${shelf.nameOf('k')}`])
    expect(await shelf.put('other', patterned(5_000_000), { onlyIfAbsent: true })).toBe(true)
    expect((await shelf.get('other'))?.equals(patterned(5_000_000))).toBe(true)
  })

  test('what may no longer be served is replaced', async () => {
    const shelf = open()
    for (const payload of [Buffer.from('new'), patterned(5_000_000)]) {
      await shelf.put('k', 'old', { keepMs: MOMENT_MS })
      await later()
      expect(await shelf.put('k', payload, { onlyIfAbsent: true })).toBe(true)
      expect((await shelf.get('k'))?.equals(payload)).toBe(true)
      expect(await shelf.put('k', 'newer', { onlyIfAbsent: true })).toBe(false)
    }
  })

  test('an entry whose life in this tier is over is not stored; what was there goes', async () => {
    const shelf = open()
    await shelf.put('k', 'old')
    expect(await meddler.requestsOf(async () => expect(await shelf.put('k', 'new', { keepMs: -1 })).toBe(true))).toEqual([`DELETE ${shelf.nameOf('k')}`])
    await shelf.put('k', 'old')
    const source = streamOf([Buffer.from('x')])
    expect(await shelf.put('k', source, { keepMs: 0 })).toBe(true)
    expect(source.isReleased).toBe(true)
    expect(await shelf.names()).toEqual([])
    await shelf.put('k', 'old')
    expect(await shelf.put('k', 'promoted', { keepMs: 0, onlyIfAbsent: true })).toBe(false)
    expect(String(await shelf.get('k'))).toBe('old')
  })

  describe('with a store that knows If-Match on PUT (answers of our own)', () => {
    /** Does by itself what the store at hand does not: puts if the object is still the same. */
    const knowing =
      (shelf: Shelf): Meddling =>
      async (request) => {
        const { method, name, headers } = request
        const expected = headers['if-match']
        if (method !== 'PUT' || expected === undefined) return undefined
        const found = await shelf.plain.send(new HeadObjectCommand({ Bucket: bucket, Key: name })).catch(() => undefined)
        if (found === undefined) return { status: 404, code: 'NoSuchKey' }
        if (found.ETag !== expected) return { status: 412, code: 'PreconditionFailed' }
        const metadata = Object.fromEntries(Object.entries(headers).flatMap(([header, value]) => (header.startsWith('x-amz-meta-') ? [[header.slice(11), String(value)]] : [])))
        await shelf.plain.send(new PutObjectCommand({ Bucket: bucket, Key: name, Body: await request.body(), Metadata: metadata }))
        return { status: 200, headers: { etag: '"0"' } }
      }
    const over = async (shelf: Shelf): Promise<void> => {
      await shelf.put('k', 'old', { keepMs: MOMENT_MS })
      await later()
    }

    test('the condition is used', async () => {
      const shelf = open()
      await over(shelf)
      meddler.meddle = knowing(shelf)
      const name = shelf.nameOf('k')
      expect(await meddler.requestsOf(() => shelf.put('k', 'new', { onlyIfAbsent: true }))).toEqual([`PUT ${name}`, `HEAD ${name}`, `PUT ${name}`])
      expect(String(await shelf.get('k'))).toBe('new')
    })

    test('an entry that another writer has put in between stays', async () => {
      const shelf = open()
      await over(shelf)
      const inner = knowing(shelf)
      let puts = 0
      meddler.meddle = async (request) => {
        if (request.headers['if-match'] !== undefined && ++puts === 1) await new Shelf(server, { ...optionsFor(server, bucket), prefix: shelf.prefix }).put('k', "another writer's")
        return inner(request)
      }
      expect(await shelf.put('k', 'new', { onlyIfAbsent: true })).toBe(false)
      expect(String(await shelf.get('k'))).toBe("another writer's")
    })

    test('an entry that went in between does not stand in the way', async () => {
      const shelf = open()
      await over(shelf)
      const inner = knowing(shelf)
      meddler.meddle = async (request) => {
        if (request.headers['if-match'] !== undefined) await shelf.removePlain(request.name)
        return inner(request)
      }
      expect(await shelf.put('k', 'new', { onlyIfAbsent: true })).toBe(true)
      expect(String(await shelf.get('k'))).toBe('new')
    })
  })

  test('a store that always says no to If-Match is found out once', async () => {
    const shelf = open()
    meddler.meddle = ({ headers }) => (headers['if-match'] === undefined ? undefined : { status: 412, code: 'PreconditionFailed' })
    const name = shelf.nameOf('k')
    for (const requests of [['PUT', 'HEAD', 'PUT', 'HEAD', 'PUT'], ['PUT', 'HEAD', 'PUT']]) {
      await shelf.put('k', 'old', { keepMs: MOMENT_MS })
      await later()
      expect(await meddler.requestsOf(async () => expect(await shelf.put('k', 'new', { onlyIfAbsent: true })).toBe(true))).toEqual(requests.map((method) => `${method} ${name}`))
      expect(String(await shelf.get('k'))).toBe('new')
    }
  })

  test('a store that knows no conditions at all is asked before', async () => {
    const shelf = open()
    meddler.meddle = ({ headers, method }) => (method === 'PUT' && (headers['if-none-match'] ?? headers['if-match']) !== undefined ? { status: 501, code: 'NotImplemented' } : undefined)
    expect(await shelf.put('k', 'x', { onlyIfAbsent: true })).toBe(true)
    expect(await shelf.put('k', 'y', { onlyIfAbsent: true })).toBe(false)
    expect(await meddler.requestsOf(() => shelf.put('other', 'z', { onlyIfAbsent: true }))).toEqual([`HEAD ${shelf.nameOf('other')}`, `PUT ${shelf.nameOf('other')}`])
    expect(String(await shelf.get('k'))).toBe('x')
  })

  describe('for streams', () => {
    test('something there: the stream is not begun', async () => {
      const shelf = open()
      await shelf.put('k', 'x')
      const source = streamOf([patterned(100)])
      expect(await shelf.put('k', source, { onlyIfAbsent: true })).toBe(false)
      expect([source.taken, source.isReleased]).toEqual([0, true])
    })

    test('something that came while parts were on their way stays, and no parts are left', async () => {
      const shelf = open()
      let parts = 0
      meddler.meddle = async ({ query }) => {
        if (query.has('partNumber') && ++parts === 2) await new Shelf(server, { ...optionsFor(server, bucket), prefix: shelf.prefix }).put('k', 'first')
        return undefined
      }
      expect(await shelf.put('k', streamOf(Array.from({ length: 20 }, (_, i) => patterned(1_000_000, i))), { onlyIfAbsent: true })).toBe(false)
      expect(String(await shelf.get('k'))).toBe('first')
      expect(await shelf.uploads()).toEqual([])
    })

    test('the condition goes with the last request, for stores that know it there (answers of our own)', async () => {
      const shelf = open()
      const conditions: unknown[] = []
      meddler.meddle = ({ method, query, headers }) => {
        if (method !== 'POST' || !query.has('uploadId')) return undefined
        conditions.push(headers['if-none-match'])
        return { status: 412, code: 'PreconditionFailed' }
      }
      expect(await shelf.put('k', streamOf([patterned(9_000_000)]), { onlyIfAbsent: true })).toBe(false)
      expect(conditions).toEqual(['*'])
      expect(await shelf.uploads()).toEqual([])
      conditions.length = 0
      const bytes = patterned(9_000_000)
      meddler.meddle = ({ headers }) => (headers['if-none-match'] === undefined ? undefined : { status: 412, code: 'PreconditionFailed' })
      expect(await shelf.put('k', streamOf([bytes], factsOf([bytes])), { onlyIfAbsent: true })).toBe(false)
      expect(await shelf.names()).toEqual([])
    })
  })
})
