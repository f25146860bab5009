import { readFileSync } from 'node:fs'
import { gzipSync } from 'node:zlib'
import { expect, test } from '@jest/globals'
import { crc32 } from '@thermocline/backend'
import { bytesOf, factsOf, patterned, streamOf } from '@thermocline/testkit'
import { entryParts, withEntryParts } from '../../../test/support/object-shelf.js'
import { until } from '../../../test/support/servers/until.js'
import { onEachServer, onStrictServer } from './support/shelf.js'

const FILE = readFileSync(new URL(import.meta.url))

onEachServer((stage) => {
  test('an entry is a plain object: its payload, its media type, and everything else as metadata', async () => {
    const shelf = stage.shelf()
    await shelf.put('frames/film 1/frame_12.jpg', FILE, { details: { tags: ['red', 'grün'], metadata: { source: 'käse' } } })
    const object = await shelf.object('frames/film 1/frame_12.jpg')
    expect(object!.body.equals(FILE)).toBe(true)
    expect(object).toMatchObject({ contentType: 'image/jpeg', size: String(FILE.byteLength) })
    expect(object!.contentEncoding ?? '').toBe('')
    expect(object!.own).toMatchObject({
      'tc-entry': expect.stringMatching(/^1; codec=buffer; bytes=\d+; crc32=[\da-f]{8}; created=\d{13}; expires=\d{13}$/),
      'tc-tenant': 'acme',
      'tc-key': 'frames/film 1/frame_12.jpg',
      'tc-tags': expect.any(String),
      'tc-metadata': expect.any(String),
    })
    expect(entryParts(object!.own)).toMatchObject({ bytes: String(FILE.byteLength), crc32: crc32(FILE).toString(16).padStart(8, '0') })
    expect(await shelf.names()).toEqual([`${shelf.prefix}/tenants/acme/frames/film 1/frame_12.jpg`])
  })

  test.each([
    ['a.json', 'buffer', 'application/json'],
    ['a', 'json', 'application/json'],
    ['a', 'utf8', 'text/plain; charset=utf-8'],
    ['png', 'buffer', 'application/octet-stream'],
    ['constructor', 'buffer', 'application/octet-stream'],
    ['v1.2/__proto__', 'v8', 'application/octet-stream'],
  ])('the media type of %j with the codec %s is %s', async (key, codec, contentType) => {
    const shelf = stage.shelf()
    await shelf.put(key, '1', { codec })
    expect((await shelf.object(key))!.contentType).toBe(contentType)
  })

  test("a policy's media type goes first", async () => {
    const shelf = stage.shelf()
    await shelf.put('a.json', '1', { details: { contentType: 'application/geo+json' } })
    expect((await shelf.object('a.json'))!.contentType).toBe('application/geo+json')
    expect((await shelf.entry('a.json'))?.details?.contentType).toBe('application/geo+json')
  })

  test('compressed bytes come back byte for byte, as payload and as stream, and are marked for others', async () => {
    const shelf = stage.shelf()
    const packed = gzipSync('a text, '.repeat(10_000))
    await shelf.put('a', packed, { codec: 'utf8+gzip' })
    expect((await shelf.get('a'))!.equals(packed)).toBe(true)
    expect((await bytesOf(await shelf.stream('a'))).equals(packed)).toBe(true)
    expect((await shelf.entry('a'))!.encoded!.codec).toBe('utf8+gzip')
    expect(await shelf.object('a')).toMatchObject({ contentEncoding: 'gzip', contentType: 'text/plain; charset=utf-8' })
  })

  test('a key beyond the limit of names is stored under a hash, and is found, listed and cleared by its own name', async () => {
    const shelf = stage.shelf()
    const long = `long/${'x'.repeat(1000)}`
    await shelf.put(long, 'value')
    await shelf.put('short', 'value')
    expect((await shelf.names())[1]).toMatch(/\/tenants\/acme\/~long\/[\da-f]{64}$/)
    expect(await shelf.text(long)).toBe('value')
    for (const detail of ['keys', 'info'] as const) {
      expect((await shelf.list('', detail)).map(({ key }) => key).sort()).toEqual([long, 'short'])
      expect((await shelf.list('long/', detail)).map(({ key, size }) => [key, size])).toEqual([[long, 5]])
    }
    await shelf.clear('long/y')
    expect(await shelf.holds(long)).toBe(true)
    await shelf.clear('long/xx')
    expect(await shelf.holds(long)).toBe(false)
    expect(await shelf.holds('short')).toBe(true)
  })

  test("somebody else's object is a miss, is told, and stays", async () => {
    const shelf = stage.shelf()
    await shelf.putPlain('theirs.txt', 'theirs', { contentType: 'text/plain' })
    expect(await shelf.get('theirs.txt')).toBeUndefined()
    expect(await shelf.holds('theirs.txt')).toBe(false)
    expect(await shelf.entry('theirs.txt', { want: 'stream' })).toBeUndefined()
    expect(shelf.codes).toEqual(['foreign', 'foreign', 'foreign'])
    expect(shelf.reports[0]).toMatchObject({ operation: 'get', backend: 'gcs', tenant: 'acme', key: 'theirs.txt', retryable: false })
    expect((await shelf.object('theirs.txt'))!.body.toString()).toBe('theirs')
    expect(await shelf.list('', 'info')).toEqual([])
    expect((await shelf.list()).map(({ key }) => key)).toEqual(['theirs.txt']) // names alone do not tell
  })

  test('adopted, it is raw bytes without an end', async () => {
    const shelf = stage.shelf()
    const before = Date.now() - 2000
    await shelf.putPlain('theirs.txt', 'theirs', { contentType: 'text/plain' })
    await shelf.putPlain('packed', gzipSync('theirs'), { contentEncoding: 'gzip' })
    for (const want of ['payload', 'head', 'stream'] as const) {
      const entry = await shelf.entry('theirs.txt', { adopt: true, want })
      expect(entry).toMatchObject({ expiresAt: Number.POSITIVE_INFINITY, details: { contentType: 'text/plain' } })
      expect(entry!.createdAt).toBeGreaterThan(before)
      if (want === 'stream') (entry as unknown as { payload: { cancel(): void } }).payload.cancel()
    }
    expect((await shelf.entry('theirs.txt', { adopt: true }))!.encoded).toEqual({ codec: 'buffer', bytes: Buffer.from('theirs') })
    expect((await shelf.entry('packed', { adopt: true }))!.encoded).toEqual({ codec: 'buffer+gzip', bytes: gzipSync('theirs') })
    expect((await bytesOf(await shelf.stream('theirs.txt', { adopt: true }))).toString()).toBe('theirs')
    expect(shelf.reports).toEqual([])
  })

  test('adopted, bytes that nothing here unpacks stay foreign', async () => {
    const shelf = stage.shelf()
    await shelf.putPlain('packed', 'x', { contentEncoding: 'compress' })
    expect(await shelf.entry('packed', { adopt: true })).toBeUndefined()
    expect(shelf.codes).toEqual(['foreign'])
    expect(await shelf.object('packed')).toBeDefined()
  })

  test('a listing with detail shows those that are adopted, with sizes and without an end', async () => {
    const shelf = stage.shelf()
    await shelf.put('ours', 'x')
    for (const key of ['theirs/a', 'theirs/b', 'other']) await shelf.putPlain(key, 'by hand')
    await shelf.putPlain('theirs/newer', 'x', { metadata: { 'tc-entry': '2; codec=buffer' } })
    const found = await shelf.list('', 'info', (key) => key.startsWith('theirs/'))
    expect(found.map(({ key }) => key).sort()).toEqual(['ours', 'theirs/a', 'theirs/b'])
    expect(found.find(({ key }) => key === 'theirs/a')).toEqual({ key: 'theirs/a', size: 7, expiresAt: Infinity })
    expect((await shelf.list('', 'info')).map(({ key }) => key)).toEqual(['ours'])
  })

  test.each(['tc-entry', 'tc-key', 'tc-tenant'])('an object whose %s is another one is foreign and stays', async (field) => {
    const shelf = stage.shelf()
    await shelf.put('k', 'value')
    const { own } = (await shelf.object('k'))!
    await shelf.putPlain('k', 'value', { metadata: { ...own, [field]: '2' } })
    for (const adopt of [false, true]) expect(await shelf.get('k', { adopt })).toBeUndefined()
    expect(shelf.codes).toEqual(['foreign', 'foreign'])
    expect(await shelf.object('k')).toBeDefined()
  })

  test.each<[what: string, body: string, change: Readonly<Record<string, string>>]>([
    ['other bytes', 'VALUE', {}],
    ['fewer bytes', 'val', {}],
    ['more bytes', 'value!', {}],
    ['no instant', 'value', { created: 'yesterday' }],
    ['no checksum', 'value', { crc32: 'xyz' }],
  ])('an object of ours with %s is corrupt, and is removed', async (_, body, change) => {
    const shelf = stage.shelf()
    await shelf.put('k', 'value')
    const { own } = (await shelf.object('k'))!
    await shelf.putPlain('k', body, { metadata: withEntryParts(own, change) })
    expect(await shelf.get('k')).toBeUndefined()
    expect(shelf.codes).toEqual(['corrupt'])
    await until('it is gone', async () => (await shelf.object('k')) === undefined)
  })

  test('a damaged stream throws before its end, and its object is removed', async () => {
    const shelf = stage.shelf()
    await shelf.put('k', patterned(1_000_000))
    const { own } = (await shelf.object('k'))!
    await shelf.putPlain('k', patterned(1_000_000, 1), { metadata: own })
    await expect(bytesOf(await shelf.stream('k'))).rejects.toMatchObject({ code: 'corrupt', retryable: false })
    expect(shelf.codes).toEqual(['corrupt'])
    await until('it is gone', async () => (await shelf.object('k')) === undefined)
  })

  test('what was streamed without a known checksum is protected by that of the store', async () => {
    const shelf = stage.shelf()
    const large = patterned(9 * 1024 ** 2)
    await shelf.put('k', streamOf([large.subarray(0, 5_000_000), large.subarray(5_000_000)]))
    const { own } = (await shelf.object('k'))!
    expect([entryParts(own)['crc32'], entryParts(own)['bytes']]).toEqual(['store', undefined])
    expect((await shelf.get('k'))!.equals(large)).toBe(true)
    const payload = await shelf.stream('k')
    expect([payload.byteLength, payload.crc32]).toEqual([large.byteLength, undefined])
    expect((await bytesOf(payload)).equals(large)).toBe(true)
    await shelf.put('small', streamOf([large.subarray(0, 1000)]))
    expect(entryParts((await shelf.object('small'))!.own)).toMatchObject({ bytes: '1000', crc32: factsOf([large.subarray(0, 1000)]).crc32.toString(16).padStart(8, '0') })
  })

  test('what is over already is removed instead of stored', async () => {
    const shelf = stage.shelf()
    await shelf.put('k', 'value')
    expect(await shelf.put('k', 'newer', { keepMs: -1 })).toBe(true)
    expect(await shelf.object('k')).toBeUndefined()
    const source = streamOf([Buffer.from('newest')])
    expect(await shelf.put('k', source, { keepMs: 0 })).toBe(true)
    expect([source.isReleased, source.taken]).toEqual([true, 0])
  })

  test('metadata that is more than a store takes is refused before anything is sent', async () => {
    const shelf = stage.shelf()
    const tags = Array.from({ length: 200 }, (_, i) => `tag-${Math.sin(i)}`)
    await expect(shelf.put('k', 'value', { details: { tags } })).rejects.toMatchObject({ code: 'not-encodable' })
    expect(await shelf.names()).toEqual([])
  })
})

onStrictServer('requests', (stage) => {
  test('each verb makes as few as it can', async () => {
    const shelf = stage.shelf()
    const made = async (work: () => Promise<unknown>): Promise<string[]> => {
      const before = stage.server.requests.length
      await work()
      return stage.server.requests.slice(before).map(({ operation }) => operation)
    }
    expect(await made(() => shelf.put('a', 'value'))).toEqual(['objects.insert'])
    expect(await made(() => shelf.put('a', 'value', { onlyIfAbsent: true }))).toEqual(['objects.insert', 'objects.get'])
    expect(await made(() => shelf.put('b', 'value', { onlyIfAbsent: true }))).toEqual(['objects.insert'])
    expect(await made(() => shelf.get('a'))).toEqual(['objects.download'])
    expect(await made(() => shelf.get('absent'))).toEqual(['objects.download'])
    expect(await made(() => shelf.holds('a'))).toEqual(['objects.get'])
    expect(await made(async () => bytesOf(await shelf.stream('a')))).toEqual(['objects.download'])
    expect(await made(() => shelf.list())).toEqual(['objects.list'])
    expect(await made(() => shelf.list('', 'info'))).toEqual(['objects.list'])
    expect(await made(() => shelf.list('a'))).toEqual(['objects.list', 'objects.list'])
    expect(await made(() => shelf.delete('a', 'b', 'a'))).toEqual(['objects.delete', 'objects.delete'])
    expect(await made(() => shelf.clear())).toEqual(['objects.list'])
    expect(await made(() => shelf.put('s', streamOf([Buffer.from('x')])))).toEqual(['objects.insert'])
    expect(await made(() => shelf.put('s', streamOf([patterned(9 * 1024 ** 2)])))).toEqual(['uploads.start', 'uploads.put'])
    expect(await made(() => shelf.put('a', 'value', { keepMs: 0 }))).toEqual(['objects.delete'])
  })

  test('an object that others have unpacked on the way is an error, never a damaged entry', async () => {
    const shelf = stage.shelf()
    await shelf.put('a', gzipSync('text'), { codec: 'utf8+gzip' })
    const [object] = stage.server.requests.slice(-1)
    expect(object!.operation).toBe('objects.insert')
    await shelf.get('a')
    expect(stage.server.requests.at(-1)!.headers['accept-encoding']).toBe('gzip') // which keeps the service from unpacking
  })

  test('new objects have the storage class that was asked for', async () => {
    const shelf = stage.shelf({ storageClass: 'NEARLINE' })
    await shelf.put('a', 'value')
    await shelf.put('b', streamOf([patterned(9 * 1024 ** 2)]))
    expect((await shelf.object('a'))!.storageClass).toBe('NEARLINE')
    expect((await shelf.object('b'))!.storageClass).toBe('NEARLINE')
  })
})
