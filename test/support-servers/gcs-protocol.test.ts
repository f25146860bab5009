import { beforeAll, beforeEach, describe, expect, jest, test } from '@jest/globals'
import { type StrictGcsServer, startStrictGcs } from '../support/gcs/index.js'

jest.setTimeout(30_000) // starting servers takes its time on a busy machine

const KIB_256 = 256 * 1024
let server: StrictGcsServer
let bucket: string

beforeAll(async () => {
  server = await startStrictGcs()
})

beforeEach(async () => {
  server.faults.clear()
  server.tokens = undefined
  bucket = await server.createBucket()
})

describe('a resumable upload', () => {
  test('tells how far it is, and begins an object only with its last byte', async () => {
    const session = await startUpload('key')
    expect(await put(session, 'bytes */*')).toEqual({ status: 308, range: null, body: '' })
    expect(await put(session, `bytes 0-${KIB_256 - 1}/*`, KIB_256)).toMatchObject({ status: 308, range: `bytes=0-${KIB_256 - 1}` })
    expect(await put(session, `bytes */${KIB_256 + 5}`)).toMatchObject({ status: 308, range: `bytes=0-${KIB_256 - 1}` })
    expect((await get('key')).status).toBe(404)
    const last = await put(session, `bytes ${KIB_256}-${KIB_256 + 4}/${KIB_256 + 5}`, 5)
    expect([last.status, (JSON.parse(last.body) as { size: string }).size]).toEqual([200, String(KIB_256 + 5)])
    expect(await put(session, 'bytes */*')).toEqual(last)
    expect(server.openUploads).toBe(0)
  })

  test('persists whole units, ignores what it has, and refuses a gap', async () => {
    const session = await startUpload('key')
    expect(await put(session, `bytes 0-${KIB_256 + 9}/*`, KIB_256 + 10)).toMatchObject({ status: 308, range: `bytes=0-${KIB_256 - 1}` })
    expect(await put(session, `bytes 0-${KIB_256 - 1}/*`, KIB_256)).toMatchObject({ status: 308, range: `bytes=0-${KIB_256 - 1}` })
    expect((await put(session, `bytes ${KIB_256 + 10}-${KIB_256 + 20}/*`, 11)).status).toBe(503)
    expect((await put(session, `bytes ${KIB_256}-${KIB_256 + 9}/*`, 10)).body).toContain('required to be equal or greater than 262144')
    expect((await put(session, `bytes 10-${KIB_256 + 9}/${KIB_256 + 10}`, KIB_256)).status).toBe(200)
    expect((await get('key')).headers.get('content-length')).toBe(String(KIB_256 + 10))
  })

  test.each(['bytes 0-9/*/', 'bytes 0-9', 'bytes 5-2/10', 'bytes 0-9/5', 'bytes 0-3/4', 'elephants 0-9/10', 'bytes */10'])('refuses ten bytes as %s', async (range) => {
    expect((await put(await startUpload('key'), range, 10)).status).toBe(400)
  })

  test('may be of no bytes, and of a size said beforehand', async () => {
    expect((await put(await startUpload('empty'), 'bytes */0')).status).toBe(200)
    const session = await startUpload('key', { 'x-upload-content-length': '10', 'x-upload-content-type': 'text/plain' })
    expect((await put(session, 'bytes 0-4/5', 5)).status).toBe(400)
    expect((await put(session, 'bytes 0-9/10', 10)).status).toBe(200)
    expect((await get('key')).headers.get('content-type')).toBe('text/plain')
  })

  test('can be cancelled, can end badly, and may be unknown', async () => {
    const cancelled = await startUpload('key')
    expect((await fetch(cancelled, { method: 'DELETE' })).status).toBe(499)
    expect((await put(cancelled, 'bytes 0-9/10', 10)).status).toBe(499)
    const ended = await startUpload('key')
    server.endUploads()
    expect((await put(ended, 'bytes */*')).status).toBe(410)
    expect((await put(cancelled.replace(/upload_id=.*/, 'upload_id=unknown'), 'bytes */*')).status).toBe(404)
    const wrong = await startUpload('key')
    expect((await put(wrong, 'bytes 0-9/10', 10, { 'x-goog-hash': 'crc32c=AAAAAA==' })).body).toContain(`Provided CRC32C \\"AAAAAA==\\" doesn't match`)
    expect((await put(wrong, 'bytes 0-9/10', 10)).status).toBe(410)
    expect((await get('key')).status).toBe(404)
  })

  test('keeps to its preconditions at the end as well', async () => {
    const session = await startUpload('key', {}, '&ifGenerationMatch=0')
    expect((await put(await startUpload('key'), 'bytes 0-9/10', 10)).status).toBe(200)
    expect((await put(session, 'bytes 0-9/10', 10)).status).toBe(412)
    expect((await fetch(uploadUrl('key', '&ifGenerationMatch=0'), { method: 'POST' })).status).toBe(412)
    expect((await fetch(uploadUrl('key').replace(bucket, 'thermocline-absent'), { method: 'POST' })).status).toBe(404)
  })
})

describe('an object', () => {
  test('is not sent to who has it', async () => {
    await insert('key', {})
    const { generation } = (await (await get('key', '')).json()) as { generation: string }
    for (const kind of ['', '&alt=media']) {
      expect((await get('key', `${kind}&ifGenerationNotMatch=${generation}`)).status).toBe(304)
      expect((await get('key', `${kind}&ifGenerationMatch=1`)).status).toBe(412)
      expect((await get('key', `${kind}&generation=1`)).status).toBe(404)
      expect((await get('key', `${kind}&ifMetagenerationMatch=one`)).status).toBe(400)
    }
  })

  test('has custom metadata of 8 KiB at most, keys included', async () => {
    expect((await insert('key', { metadata: { k: 'x'.repeat(8_191) } })).status).toBe(200)
    expect((await insert('key', { metadata: { k: 'x'.repeat(8_192) } })).status).toBe(400)
    expect((await insert('key', { metadata: { k: 'ä'.repeat(4_096) } })).status).toBe(400)
    expect((await patch('key', { metadata: { l: '' } })).status).toBe(400)
    expect((await patch('key', { metadata: { k: null, l: 'y'.repeat(8_191) } })).status).toBe(200)
    expect((await insert('key', { metadata: { k: 1 } })).status).toBe(400)
  })

  test('does not go back in its custom time, nor lose it', async () => {
    await insert('key', { customTime: '2030-01-01T00:00:00Z' })
    expect((await patch('key', { customTime: '2029-01-01T00:00:00Z' })).status).toBe(400)
    expect((await patch('key', { customTime: null })).status).toBe(400)
    expect((await patch('key', { customTime: '2031-01-01T00:00:00Z' })).status).toBe(200)
  })

  test.each(['.', '..', 'a\nb', 'x'.repeat(1_025), '.well-known/acme-challenge/x'])('cannot have a name such as %j', async (name) => {
    expect((await insert(name, {})).status).toBe(400)
  })

  test('may have a name of 1024 bytes, and any other character', async () => {
    for (const name of ['ä'.repeat(512), 'a/../b?c#d%2F&e', '\u0000', 'b/o/b']) {
      expect((await insert(name, {})).status).toBe(200)
      expect((await get(name)).status).toBe(200)
    }
  })

  test('comes with its custom metadata as headers only when the test says so', async () => {
    await insert('key', { metadata: { ours: 'yes' } })
    expect((await get('key')).headers.get('x-goog-meta-ours')).toBeNull()
    server.sendsCustomMetadata = true
    expect((await get('key')).headers.get('x-goog-meta-ours')).toBe('yes')
    server.sendsCustomMetadata = false
  })

  test('comes with its custom metadata by the XML API', async () => {
    await insert('a/b//c d', { metadata: { ours: 'yes' }, contentType: 'text/plain' }, '0123456789')
    const answer = await fetch(`${server.endpoint}/${bucket}/a/b//c%20d`)
    expect([answer.headers.get('x-goog-meta-ours'), answer.headers.get('x-goog-stored-content-length'), await answer.text()]).toEqual(['yes', '10', '0123456789'])
    const refusals = await Promise.all([`/${bucket}/absent%3C`, '/thermocline-absent/x'].map(async (path) => fetch(`${server.endpoint}${path}`)))
    expect(refusals.map(({ status }) => status)).toEqual([404, 404])
    const [noObject = '', noBucket = ''] = await Promise.all(refusals.map((refusal) => refusal.text()))
    expect(noObject).toContain(`<Code>NoSuchKey</Code><Message>No such object: ${bucket}/absent&lt;</Message>`)
    expect(noBucket).toContain('<Code>NoSuchBucket</Code>')
    expect((await fetch(`${server.endpoint}/${bucket}/key`, { method: 'DELETE' })).status).toBe(501)
    expect((await fetch(objectUrl('a/b//c d'), { method: 'DELETE' })).status).toBe(204)
  })

  test('is told in part where parts are asked for', async () => {
    await insert('key', { metadata: { a: '1' } })
    expect(await (await get('key', '&fields=name,metadata')).json()).toEqual({ name: 'key', metadata: { a: '1' } })
    const page = (await (await fetch(`${server.endpoint}/b/${bucket}/o?maxResults=1&prefix=key&fields=nextPageToken,items(name,size)`)).json()) as object
    expect(page).toMatchObject({ items: [{ name: 'key' }] })
    expect(Object.keys((page as { items: object[] }).items[0]!).sort()).toEqual(['name', 'size'])
    for (const fields of ['items(name', 'items/name', 'a)']) expect((await fetch(`${server.endpoint}/b/${bucket}/o?fields=${fields}`)).status).toBe(400)
  })

  test.each([
    ['bytes=2-3', 206, 'bytes 2-3/10'],
    ['bytes=8-99', 206, 'bytes 8-9/10'],
    ['bytes=-99', 206, 'bytes 0-9/10'],
    ['bytes=10-', 416, 'bytes */10'],
    ['bytes=-0', 416, 'bytes */10'],
    ['bytes=3-2', 200, null],
    ['bytes=0-1,3-4', 200, null],
  ])('in the range %s: %i', async (range, status, contentRange) => {
    await insert('key', {}, '0123456789')
    const answer = await get('key', '&alt=media', { range })
    expect([answer.status, answer.headers.get('content-range')]).toEqual([status, contentRange])
  })
})

describe('the server', () => {
  test('asks for tokens when there are any, and refuses those who may not', async () => {
    await insert('key', {})
    server.tokens = { all: 'owner', some: 'reader', none: 'stranger' }
    const as = (token: string, name: string, method = 'GET'): Promise<Response> => fetch(objectUrl(name), { method, headers: { authorization: `Bearer ${token}` } })
    const statuses = async (...answers: Promise<Response>[]): Promise<number[]> => (await Promise.all(answers)).map(({ status }) => status)
    expect(await statuses(get('key'), as('wrong', 'key'), as('none', 'key'), as('some', 'key'), as('all', 'key'))).toEqual([401, 401, 403, 200, 200])
    expect(await statuses(as('some', 'absent'), as('all', 'absent'), as('some', 'key', 'DELETE'), as('all', 'key', 'DELETE'))).toEqual([403, 404, 403, 204])
    const { error } = (await (await fetch(objectUrl('key'))).json()) as { error: { code: number; errors: object[] } }
    expect(error).toMatchObject({ code: 401, errors: [{ domain: 'global', reason: 'required', locationType: 'header', location: 'Authorization' }] })
  })

  test('says what it does not model', async () => {
    for (const path of ['/b/x/o/y/compose', '/storage/v1/b/x/iam', '/batch/storage/v1', `/b/${bucket}/o?versions=true`]) {
      expect((await fetch(`${server.endpoint}${path}`)).status).toBe(501)
    }
  })

  test('does not take 1,001 results for a page', async () => {
    for (let i = 0; i < 1_001; i += 77) await Promise.all(Array.from({ length: 77 }, (_, j) => insert(`key-${i + j}`, {})))
    const page = (await (await fetch(`${server.endpoint}/b/${bucket}/o?maxResults=5000`)).json()) as { items: object[]; nextPageToken: string }
    expect(page.items).toHaveLength(1_000)
    const rest = (await (await fetch(`${server.endpoint}/b/${bucket}/o?pageToken=${encodeURIComponent(page.nextPageToken)}`)).json()) as { items: object[]; nextPageToken?: string }
    expect([rest.items.length, rest.nextPageToken]).toEqual([1, undefined])
  })

  test('loses an answer, not the work', async () => {
    server.faults.reset({ isDone: true, of: ({ object }) => object === 'key' })
    await insert('key', {})
    await expect(patch('key', { contentType: 'text/html' })).rejects.toThrow('fetch failed')
    expect((await get('key')).headers.get('content-type')).toBe('text/html')
  })
})

function objectUrl(name: string): string {
  return `${server.endpoint}/storage/v1/b/${bucket}/o/${encodeURIComponent(name).replace(/^\.+$/, (dots) => '%2E'.repeat(dots.length))}`
}

function uploadUrl(name: string, more = ''): string {
  return `${server.endpoint}/upload/storage/v1/b/${bucket}/o?uploadType=resumable&name=${encodeURIComponent(name)}${more}`
}

function get(name: string, more = '&alt=media', headers: Record<string, string> = {}): Promise<Response> {
  return fetch(`${objectUrl(name)}?${more}`, { headers })
}

function patch(name: string, body: object): Promise<Response> {
  return fetch(objectUrl(name), { method: 'PATCH', body: JSON.stringify(body) })
}

function insert(name: string, metadata: object, data = 'body'): Promise<Response> {
  const part = (contentType: string, body: string): string => `--cut\r\nContent-Type: ${contentType}\r\n\r\n${body}\r\n`
  return fetch(uploadUrl(name).replace('resumable', 'multipart'), {
    method: 'POST',
    headers: { 'content-type': 'multipart/related; boundary=cut' },
    body: `${part('application/json', JSON.stringify(metadata))}${part('text/plain', data)}--cut--`,
  })
}

async function startUpload(name: string, headers: Record<string, string> = {}, more = ''): Promise<string> {
  const answer = await fetch(uploadUrl(name, more), { method: 'POST', headers })
  expect(answer.status).toBe(200)
  return answer.headers.get('location')!
}

async function put(session: string, range: string, length = 0, headers: Record<string, string> = {}): Promise<{ status: number; range: string | null; body: string }> {
  const answer = await fetch(session, { method: 'PUT', headers: { 'content-range': range, ...headers }, body: Buffer.alloc(length, 'x'), redirect: 'manual' })
  return { status: answer.status, range: answer.headers.get('range'), body: await answer.text() }
}
