import { createHash } from 'node:crypto'
import { gzipSync } from 'node:zlib'
import { type Bucket, Storage } from '@google-cloud/storage'
import { beforeAll, beforeEach, describe, expect, jest, test } from '@jest/globals'
import { type StrictGcsServer, startStrictGcs } from '../support/gcs/index.js'
import { startProxy } from '../support/proxy.js'
import { until } from '../support/servers/until.js'

jest.setTimeout(20_000) // the client's own pauses before it tries again are up to two seconds each

let server: StrictGcsServer
let bucket: Bucket

beforeAll(async () => {
  server = await startStrictGcs()
})

beforeEach(async () => {
  server.faults.clear()
  bucket = clientOf().bucket(await server.createBucket())
  server.requests.length = 0
})

describe('the strict Cloud Storage, by the official client', () => {
  test.each([false, true])('keeps objects with what is said of them (resumable: %s)', async (resumable) => {
    const file = bucket.file('a/ö b')
    await file.save('body', { resumable, contentType: 'text/plain', metadata: { cacheControl: 'no-store', customTime: '2030-01-01T00:00:00.000Z', storageClass: 'COLDLINE', metadata: { ours: 'yes' } } })
    expect((await file.download())[0].toString()).toBe('body')
    const [metadata] = await file.getMetadata()
    expect(metadata).toMatchObject({ name: 'a/ö b', size: '4', contentType: 'text/plain', cacheControl: 'no-store', customTime: '2030-01-01T00:00:00.000Z', storageClass: 'COLDLINE', metadata: { ours: 'yes' }, metageneration: '1' })
    expect(metadata).toMatchObject({ md5Hash: createHash('md5').update('body').digest('base64'), crc32c: 'Jj/JUA==' })
    await file.setMetadata({ cacheControl: null as unknown as string, metadata: { ours: null, theirs: 'no' } })
    expect((await file.getMetadata())[0]).toMatchObject({ metageneration: '2', metadata: { theirs: 'no' }, generation: metadata.generation })
    expect((await file.getMetadata())[0].cacheControl).toBeUndefined()
    await file.delete()
    expect(await file.exists()).toEqual([false])
  })

  test('says what is missing', async () => {
    await expect(bucket.file('absent').getMetadata()).rejects.toMatchObject({ code: 404, message: `No such object: ${bucket.name}/absent`, errors: [{ reason: 'notFound' }] })
    await expect(bucket.file('absent').download()).rejects.toMatchObject({ code: 404, message: `No such object: ${bucket.name}/absent` })
    await expect(bucket.file('absent').delete()).rejects.toMatchObject({ code: 404 })
    const nowhere = clientOf().bucket('thermocline-absent')
    expect(await nowhere.exists()).toEqual([false])
    await expect(nowhere.file('key').save('body', { resumable: false })).rejects.toMatchObject({ code: 404, errors: [{ message: 'The specified bucket does not exist.' }] })
    await expect(nowhere.getFiles()).rejects.toMatchObject({ code: 404 })
  })

  test('keeps to preconditions', async () => {
    const file = bucket.file('key')
    await file.save('one', { resumable: false, preconditionOpts: { ifGenerationMatch: 0 } })
    const generation = Number((await file.getMetadata())[0].generation)
    for (const ifGenerationMatch of [0, generation + 1]) {
      await expect(file.save('two', { resumable: false, preconditionOpts: { ifGenerationMatch } })).rejects.toMatchObject({ code: 412 })
      await expect(file.save('two', { resumable: true, preconditionOpts: { ifGenerationMatch } })).rejects.toMatchObject({ status: 412 })
    }
    await expect(file.setMetadata({ contentType: 'text/html' }, { ifMetagenerationMatch: 2 })).rejects.toMatchObject({ code: 412, errors: [{ reason: 'conditionNotMet', location: 'If-Match' }] })
    await expect(file.delete({ ifGenerationNotMatch: generation })).rejects.toMatchObject({ code: 412 })
    await file.save('two', { resumable: false, preconditionOpts: { ifGenerationMatch: generation } })
    expect(Number((await file.getMetadata())[0].generation)).toBeGreaterThan(generation)
    await expect(file.delete({ ifGenerationMatch: generation })).rejects.toMatchObject({ code: 412 })
  })

  test('uploads in chunks, and what a broken chunk left', async () => {
    const data = Buffer.from(Array.from({ length: 1_000_000 }, (_, i) => i % 251))
    server.faults.cutUpload(300_000, { of: 'uploads.put' })
    await bucket.file('key').save(data, { resumable: true, chunkSize: 512 * 1024, preconditionOpts: { ifGenerationMatch: 0 } })
    const ranges = server.requests.filter(({ operation }) => operation === 'uploads.put').map(({ headers, status }) => [headers['content-range'], status])
    expect(ranges).toEqual([
      ['bytes 0-524287/*', undefined],
      ['bytes */*', 308],
      ['bytes 262144-786431/*', 308],
      ['bytes 786432-999999/1000000', 200],
    ])
    expect((await bucket.file('key').download())[0].equals(data)).toBe(true)
    expect(server.openUploads).toBe(0)
  })

  test('gives parts of an object', async () => {
    await bucket.file('key').save('0123456789', { resumable: false })
    expect((await bucket.file('key').download({ start: 2, end: 4 }))[0].toString()).toBe('234')
    expect((await bucket.file('key').download({ end: -3 }))[0].toString()).toBe('789')
    await expect(bucket.file('key').download({ start: 10, end: 20 })).rejects.toMatchObject({ code: 416 })
  })

  test('serves gzip to who takes it, and unpacked to others', async () => {
    const file = bucket.file('key')
    await file.save(gzipSync('plain'), { resumable: false, metadata: { contentEncoding: 'gzip' } })
    expect((await file.download())[0].toString()).toBe('plain')
    const url = `${server.endpoint}/storage/v1/b/${bucket.name}/o/key?alt=media`
    const unpacked = await fetch(url, { headers: { 'accept-encoding': 'identity', range: 'bytes=0-1' } })
    expect([unpacked.status, unpacked.headers.get('content-encoding'), unpacked.headers.get('content-length'), await unpacked.text()]).toEqual([200, null, null, 'plain'])
    await file.setMetadata({ cacheControl: 'no-transform' })
    expect((await fetch(url, { headers: { 'accept-encoding': 'identity' } })).headers.get('content-encoding')).toBe('gzip')
  })

  test('lists in the order of bytes, by prefix, delimiter and page', async () => {
    const names = ['a/1', 'a/2', 'a/b/3', 'b', '\uffff', '\u{10000}']
    for (const name of names) await bucket.file(name).save('', { resumable: false })
    const namesOf = async (options: object): Promise<(string | undefined)[]> => (await bucket.getFiles(options))[0].map(({ name }) => name)
    expect(await namesOf({})).toEqual(names)
    expect(await namesOf({ prefix: 'a/' })).toEqual(['a/1', 'a/2', 'a/b/3'])
    expect(await namesOf({ startOffset: 'a/2', endOffset: 'b' })).toEqual(['a/2', 'a/b/3'])
    const [files, next, page] = await bucket.getFiles({ delimiter: '/', prefix: 'a/', maxResults: 2, autoPaginate: false })
    expect([files.map(({ name }) => name), (page as { prefixes?: string[] }).prefixes]).toEqual([['a/1', 'a/2'], undefined])
    const [rest, none, last] = await bucket.getFiles(next as object)
    expect([rest, none, (last as { prefixes?: string[] }).prefixes]).toEqual([[], null, ['a/b/']])
    await bucket.deleteFiles({ force: true })
    expect(await namesOf({})).toEqual([])
  })

  test('has lifecycle rules, under the metageneration of the bucket, and applies them when told', async () => {
    await bucket.addLifecycleRule({ action: { type: 'Delete' }, condition: { daysSinceCustomTime: 0, matchesPrefix: ['cache/'] } })
    await bucket.addLifecycleRule({ action: { type: 'SetStorageClass', storageClass: 'NEARLINE' }, condition: { age: 30 } })
    const [metadata] = await bucket.getMetadata()
    expect([metadata.metageneration, metadata.lifecycle?.rule?.length]).toEqual(['3', 2])
    await expect(bucket.setMetadata({ lifecycle: { rule: [] } }, { ifMetagenerationMatch: 2 })).rejects.toMatchObject({ code: 412 })
    await expect(bucket.setMetadata({ lifecycle: { rule: [{ action: { type: 'Delete' }, condition: {} }] } })).rejects.toMatchObject({ code: 400 })
    for (const name of ['cache/old', 'cache/fresh', 'other']) await bucket.file(name).save('', { resumable: false, metadata: { customTime: name === 'cache/fresh' ? '2999-01-01T00:00:00Z' : '2001-01-01T00:00:00Z' } })
    server.runLifecycle(new Date(Date.now() + 31 * 86_400_000))
    expect((await bucket.getFiles())[0].map(({ name, metadata: { storageClass } }) => [name, storageClass])).toEqual([['cache/fresh', 'NEARLINE'], ['other', 'NEARLINE']])
  })

  test('copies, and changes the storage class', async () => {
    await bucket.file('from').save('body', { resumable: false, contentType: 'text/plain', metadata: { metadata: { ours: 'yes' } } })
    const other = clientOf().bucket(await server.createBucket())
    await bucket.file('from').copy(other.file('to'))
    expect((await other.file('to').getMetadata())[0]).toMatchObject({ contentType: 'text/plain', metadata: { ours: 'yes' }, storageClass: 'STANDARD' })
    await other.file('to').setStorageClass('archive')
    expect((await other.file('to').getMetadata())[0]).toMatchObject({ contentType: 'text/plain', storageClass: 'ARCHIVE' })
    await expect(bucket.file('absent').copy(other.file('to'))).rejects.toMatchObject({ code: 404 })
    await expect(bucket.file('from').copy(other.file('to'), { preconditionOpts: { ifGenerationMatch: 0 } })).rejects.toMatchObject({ code: 412 })
    await expect(bucket.file('from').save('', { resumable: false, metadata: { storageClass: 'ICY' } })).rejects.toMatchObject({ code: 400 })
  })

  test('makes and removes buckets', async () => {
    const client = clientOf()
    await client.createBucket('thermocline-new')
    await expect(client.createBucket('thermocline-new')).rejects.toMatchObject({ code: 409, errors: [{ reason: 'conflict' }] })
    await client.bucket('thermocline-new').file('key').save('', { resumable: false })
    await expect(client.bucket('thermocline-new').delete()).rejects.toMatchObject({ code: 409 })
    await client.bucket('thermocline-new').file('key').delete()
    await client.bucket('thermocline-new').delete()
    expect((await client.getBuckets())[0].map(({ name }) => name)).not.toContain('thermocline-new')
  })

  test('refuses bytes that are not those that were meant, and keeps nothing of them', async () => {
    for (const wrong of [{ md5Hash: 'hBotaJrYa9FhFEdFPCLG/A==' }, { crc32c: 'Jj/JUA==' }]) {
      for (const resumable of [false, true]) await expect(bucket.file('key').save('other', { resumable, metadata: wrong, validation: false })).rejects.toMatchObject({ code: 400 })
    }
    expect(await bucket.file('key').exists()).toEqual([false])
    await bucket.file('key').save('other', { resumable: true })
    server.faults.corrupt({ of: 'objects.media' })
    await expect(bucket.file('key').download()).rejects.toMatchObject({ code: 'CONTENT_DOWNLOAD_MISMATCH' })
  })

  test('refuses quick writes of one object, when told to', async () => {
    server.writeIntervalMs = 60_000
    await bucket.file('one').save('', { resumable: false })
    await bucket.file('two').save('', { resumable: false })
    const once = clientOf({ retryOptions: { autoRetry: false } }).bucket(bucket.name)
    await expect(once.file('one').save('', { resumable: false })).rejects.toMatchObject({ code: 429, errors: [{ domain: 'usageLimits', reason: 'rateLimitExceeded' }] })
    await expect(once.file('one').delete()).rejects.toMatchObject({ code: 429 })
    server.writeIntervalMs = undefined
    await bucket.file('one').delete()
  })

  test('fails as it is told, so often, in what is named', async () => {
    await bucket.file('key').save('0123456789', { resumable: false })
    const once = clientOf({ retryOptions: { autoRetry: false } }).bucket(bucket.name).file('key')
    server.faults.error(503, { of: 'objects.get', times: 2 })
    await expect(once.getMetadata()).rejects.toMatchObject({ code: 503, errors: [{ reason: 'backendError' }] })
    expect((await once.download())[0].toString()).toBe('0123456789')
    await expect(once.getMetadata()).rejects.toMatchObject({ code: 503 })
    await once.getMetadata()
    server.faults.error(503, { of: 'objects.delete', isDone: true })
    await expect(once.delete()).rejects.toMatchObject({ code: 503 })
    await expect(once.delete()).rejects.toMatchObject({ code: 404 })
    server.faults.reset()
    await expect(once.getMetadata()).rejects.toThrow(/ECONNRESET|socket hang up/)
  })

  test('breaks off and hangs in mid-body', async () => {
    const file = clientOf({ retryOptions: { autoRetry: false } }).bucket(bucket.name).file('key')
    await file.save(Buffer.alloc(100_000, 'x'), { resumable: false })
    server.faults.truncate(50_000, { of: 'objects.media' })
    const answer = await fetch(`${server.endpoint}/storage/v1/b/${bucket.name}/o/key?alt=media`)
    expect(answer.headers.get('content-length')).toBe('100000')
    await expect(answer.text()).rejects.toThrow('terminated')
    server.faults.hang(50_000, { of: 'objects.media' })
    const stream = file.createReadStream()
    let received = 0
    stream.on('data', (chunk: Buffer) => (received += chunk.length))
    const ended = new Promise((resolve) => stream.once('error', resolve))
    await until('half of it has come', () => received === 50_000)
    server.faults.clear()
    expect(await ended).toMatchObject({ code: 'ECONNRESET' })
    server.faults.hang(-1)
    let isAnswered = false
    const silent = file.getMetadata().finally(() => (isAnswered = true))
    await until('it has been asked', () => server.requests.at(-1)?.operation === 'objects.get')
    expect(isAnswered).toBe(false)
    server.faults.clear()
    await expect(silent).rejects.toThrow()
  })

  test('can be reached through a proxy, resumable uploads as well', async () => {
    const proxy = await startProxy(server.port)
    const file = clientOf({ retryOptions: { autoRetry: false } }, proxy.port).bucket(bucket.name).file('key')
    await file.save(Buffer.alloc(100_000, 'x'), { resumable: true })
    expect(server.requests.map(({ headers }) => headers.host)).toEqual(Array.from({ length: 2 }, () => `127.0.0.1:${proxy.port}`))
    await proxy.resetMidReply(50_000)
    await expect(fetch(`http://127.0.0.1:${proxy.port}/b/${bucket.name}/o/key?alt=media`).then((answer) => answer.text())).rejects.toThrow()
    await proxy.refuse()
    await expect(file.getMetadata()).rejects.toThrow(/ECONNREFUSED|ECONNRESET|socket hang up/)
  })
})

function clientOf(options: ConstructorParameters<typeof Storage>[0] = {}, port = server.port): Storage {
  return new Storage({ ...server.storageOptions(port), ...options })
}
