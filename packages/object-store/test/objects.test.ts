import { describe, expect, test } from '@jest/globals'
import { CacheEntry, checkedChunks, crc32, TenantScope, validateKey, validateTenant, type EntryDetails, type EntryFields } from '@thermocline/backend'
import { contentEncodingOf, contentTypeOf, decodeObjectMetadata, encodeObjectMetadata, keyInMetadata, ObjectNames } from '@thermocline/object-store'
import { tableCrc32 } from '../../backend/src/frame/crc32.js'

const acme = new TenantScope(validateTenant('acme'))
const names = new ObjectNames('cache/v1/')
const KEYS = ['a', 'A', 'a/b', 'a//b', '/a', 'a/', '..', '.', '...', 'a/..', 'a/../b', 'a/.', '~long/x', '~', 'a/~long', '%2E', '%', 'a b', 'é', '🦊', 'a:b', '*', '?', 'a\nb', '\u007f', '\u2028', '%7Elong', '__proto__', 'tenants/x', 'a.b', 'a..b', '#', '[x]', 'a\\b', '\ufffe']

function nameOf(key: string, tenant = acme): string {
  return names.of(tenant, validateKey(key))
}

describe('names of objects', () => {
  test('what is legible stays as it is', () => {
    expect(nameOf('frames/clip 1/frame_12.jpg')).toBe('cache/v1/tenants/acme/frames/clip 1/frame_12.jpg')
    expect(nameOf('früh/日本.json')).toBe('cache/v1/tenants/acme/früh/日本.json')
    expect(new ObjectNames('').of(acme, validateKey('a'))).toBe('tenants/acme/a')
  })

  test('every key has a name of its own and is found again in it', () => {
    expect(new Set(KEYS.map((key) => nameOf(key))).size).toBe(KEYS.length)
    for (const key of KEYS) expect(names.keyOf(acme, nameOf(key))).toBe(key)
  })

  test('no segment is made of dots, and only hashed names are below ~long', () => {
    for (const key of KEYS) {
      const name = nameOf(key)
      expect(name.split('/').filter((segment) => /^\.+$/.test(segment))).toEqual([])
      expect(names.isHashed(acme, name)).toBe(false)
    }
  })

  test('a name beyond 1,024 bytes is hashed', () => {
    const key = '🦊'.repeat(256)
    expect(nameOf(key)).toMatch(/^cache\/v1\/tenants\/acme\/~long\/[\da-f]{64}$/)
    expect(names.isHashed(acme, nameOf(key))).toBe(true)
    expect(names.keyOf(acme, nameOf(key))).toBeUndefined()
    expect(Buffer.byteLength(nameOf('x'.repeat(1000)))).toBe(1022)
    expect(nameOf('x'.repeat(1003))).toContain('~long')
  })

  test('tenants never meet, whatever they are called', () => {
    const tenants = ['a', 'a/b', '..', '.', 'a%2Fb', '~long', 'é', 'A']
    const all = tenants.map((tenant) => names.ofTenant(new TenantScope(validateTenant(tenant))))
    for (const one of all) for (const other of all) expect(one === other || !one.startsWith(other)).toBe(true)
  })

  test.each(['', 'a', 'a/', 'a/.', 'a/..', '.', '..', '~', '%', 'a//', '🦊', 'a b', '~long/', '/'])('what is listed for %p shows every key with that prefix', (prefix) => {
    const [legible, hashed] = names.under(acme, prefix)
    for (const key of KEYS.filter((key) => key.startsWith(prefix))) expect(nameOf(key).startsWith(legible)).toBe(true)
    expect(hashed === undefined).toBe(prefix === '')
  })

  test('a name that no key has is nobody\'s', () => {
    for (const name of ['x', '..', 'a/..', '%zz', '%61', '~other', 'a%2fb']) expect(names.keyOf(acme, `cache/v1/tenants/acme/${name}`)).toBe(name === 'x' ? 'x' : undefined)
    expect(names.keyOf(acme, 'cache/v1/tenants/other/x')).toBeUndefined()
  })
})

describe('metadata of objects', () => {
  const fields: EntryFields = { createdAt: 1_700_000_000_000, expiresAt: Number.POSITIVE_INFINITY, computeMicros: 12 }
  const payload = { codec: 'json+gzip', byteLength: 10, crc32: 0xab }

  function roundTrip(details: EntryDetails | undefined, key = 'k', tenant = acme): ReturnType<typeof decodeObjectMetadata> {
    const entry = CacheEntry.head({ ...fields, details })
    const encoded = encodeObjectMetadata(tenant, validateKey(key), entry, entry.expiresAt, payload)
    for (const [name, value] of Object.entries(encoded)) {
      expect(name).toMatch(/^tc-[a-z\d-]+$/)
      expect(value).toMatch(/^[\x20-\x7e]+$/)
    }
    return decodeObjectMetadata(Object.fromEntries(Object.entries(encoded).map(([name, value]) => [name.toUpperCase(), value])), tenant, validateKey(key))
  }

  test.each([
    ['nothing', undefined],
    ['everything', { staleMs: 5, tags: ['red', 'grün'], metadata: { 'größe': 'drei', empty: '' }, fence: 3, contentType: 'image/jpeg' }],
    ['what looks encoded', { metadata: { a: '=u:x' }, tags: ['=z:'] }],
    ['blanks at the ends', { tags: [' a '], contentType: ' x ' }],
  ])('comes back: %s', (_name, details) => {
    expect(roundTrip(details)).toEqual({ status: 'ok', header: { ...fields, details, keepUntil: Number.POSITIVE_INFINITY, payload } })
  })

  test('all that machines read is one legible field, and whatever a codec is called', () => {
    const entry = CacheEntry.head({ ...fields, details: { staleMs: 5, fence: 3 } })
    const encoded = (codec: string): Record<string, string> => encodeObjectMetadata(acme, validateKey('k'), entry, 7, { ...payload, codec })
    expect(encoded('json+gzip')).toEqual({
      'tc-entry': '1; codec=json+gzip; bytes=10; crc32=000000ab; created=1700000000000; expires=never; keep-until=7; stale-ms=5; fence=3; compute-us=12',
      'tc-tenant': 'acme',
      'tc-key': 'k',
    })
    for (const codec of ['mine;bytes=1', 'a b', '=x', 'größe', 'a=b', ';']) expect(decodeObjectMetadata(encoded(codec), acme, validateKey('k'))).toMatchObject({ status: 'ok', header: { keepUntil: 7, payload: { ...payload, codec } } })
  })

  test('the longest key and tenant leave room for 512 bytes of user metadata', () => {
    const user = (unit: string): EntryDetails => ({ metadata: { m: unit.repeat(Math.floor(511 / Buffer.byteLength(unit))) } })
    expect(roundTrip(user('x'), 'k'.repeat(1024), new TenantScope(validateTenant('t'.repeat(128))))).toMatchObject({ status: 'ok' })
    expect(roundTrip(user('ж'), '漢'.repeat(341), new TenantScope(validateTenant('é'.repeat(64))))).toMatchObject({ status: 'ok' })
  })

  test('more than a store takes is refused', () => {
    const entry = CacheEntry.head({ ...fields, details: { tags: Array.from({ length: 300 }, (_, at) => `tag-${at}`) } })
    expect(() => encodeObjectMetadata(acme, validateKey('k'), entry, 0, payload)).toThrow(expect.objectContaining({ code: 'not-encodable', message: expect.stringContaining('2048') }))
  })

  test('what another tool wrote is plain; other formats and names are foreign; holes are corrupt', () => {
    const encoded = encodeObjectMetadata(acme, validateKey('k'), CacheEntry.head(fields), Number.POSITIVE_INFINITY, payload)
    const read = (change: Record<string, string | undefined>): string => decodeObjectMetadata(Object.fromEntries(Object.entries({ ...encoded, ...change }).filter(([, value]) => value !== undefined)), acme, validateKey('k')).status
    expect(read({})).toBe('ok')
    expect(decodeObjectMetadata({ author: 'somebody' }, acme, undefined).status).toBe('plain')
    expect(decodeObjectMetadata(undefined, acme, undefined).status).toBe('plain')
    expect(read({ 'tc-entry': undefined })).toBe('plain')
    expect(read({ 'tc-entry': '2; codec=json' })).toBe('foreign')
    expect(read({ 'tc-entry': '' })).toBe('foreign')
    expect(read({ 'tc-key': 'other' })).toBe('foreign')
    expect(read({ 'tc-tenant': 'other' })).toBe('foreign')
    const { 'tc-entry': own = '' } = encoded
    const changed = (name: string, value: string | undefined): string => own.replace(new RegExp(`; ${name}=[^;]*`), value === undefined ? '' : `; ${name}=${value}`)
    for (const name of ['codec', 'created', 'expires', 'crc32']) expect(read({ 'tc-entry': changed(name, undefined) })).toBe('corrupt')
    for (const name of ['plain', 'stale-ms', 'fence', 'keep-until', 'compute-us']) for (const value of ['NaN', '-Infinity', '1e3', '0x10', '0.5', '9007199254740993', '']) expect(read({ 'tc-entry': `${own}; ${name}=${value}` })).toBe('corrupt')
    expect(read({ 'tc-entry': changed('created', 'never') })).toBe('corrupt')
    expect(read({ 'tc-entry': changed('codec', '') })).toBe('corrupt')
    for (const tags of ['{}', '[1]', 'null', '"a"']) expect(read({ 'tc-tags': tags })).toBe('corrupt')
    for (const metadata of ['[]', 'null', '{"a":1}', '{"a":{}}']) expect(read({ 'tc-metadata': metadata })).toBe('corrupt')
    expect(keyInMetadata({ 'tc-key': '' })).toBeUndefined()
    expect(keyInMetadata({ 'tc-key': 'x'.repeat(1025) })).toBeUndefined()
    for (const name of ['created', 'crc32', 'bytes']) for (const value of ['x', '']) expect(read({ 'tc-entry': changed(name, value) })).toBe('corrupt')
    expect(read({ 'tc-entry': '1' })).toBe('corrupt')
    expect(read({ 'tc-entry': `${own}; later=5; ; flag` })).toBe('ok')
    expect(read({ 'tc-entry': own.replaceAll('; ', ';') })).toBe('ok')
    expect(read({ 'tc-metadata': '{' })).toBe('corrupt')
    expect(read({ 'tc-entry': changed('crc32', 'store') })).toBe('ok')
  })

  test('the media type is the policy\'s, the metadata\'s, the extension\'s or the codec\'s', () => {
    const typeOf = (key: string, codec: string, details?: EntryDetails): string => contentTypeOf(key, codec, details)
    expect(typeOf('a.jpg', 'buffer', { contentType: 'image/x', metadata: { 'content-type': 'image/y' } })).toBe('image/x')
    expect(typeOf('a.jpg', 'buffer', { metadata: { 'content-type': 'image/y' } })).toBe('image/y')
    expect(typeOf('a.jpg', 'buffer', { metadata: { 'content-type': 'bad\r\nheader: x' } })).toBe('image/jpeg')
    expect(typeOf('a', 'json+gzip')).toBe('application/json')
    expect(typeOf('a', 'utf8')).toBe('text/plain; charset=utf-8')
    expect(typeOf('a', 'v8')).toBe('application/octet-stream')
    expect(contentEncodingOf('json+br')).toBe('br')
    expect(contentEncodingOf('json')).toBeUndefined()
    expect([contentEncodingOf('json+aes'), contentEncodingOf('json+gzip+aes')]).toEqual([undefined, undefined]) // no tool could read what it is told
  })
})

describe('checked chunks', () => {
  const parts = [Buffer.from('ab'), Buffer.from('cde')]
  const whole = Buffer.concat(parts)

  async function* from(chunks: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
    yield* chunks
  }

  async function read(chunks: readonly Uint8Array[], byteLength: number | undefined, checksum: number | undefined): Promise<string> {
    const got: Uint8Array[] = []
    for await (const chunk of checkedChunks(from(chunks), { byteLength, crc32: checksum }, (reason) => new Error(reason))) got.push(chunk)
    return Buffer.concat(got).toString()
  }

  test('end only when everything was there', async () => {
    await expect(read(parts, 5, crc32(whole))).resolves.toBe('abcde')
    await expect(read(parts, undefined, undefined)).resolves.toBe('abcde')
    await expect(read([], 0, 0)).resolves.toBe('')
    await expect(read(parts, 6, undefined)).rejects.toThrow('5 payload bytes instead of 6')
    await expect(read(parts, 4, undefined)).rejects.toThrow('more than the 4')
    await expect(read(parts, 5, 1)).rejects.toThrow('checksum')
  })

  test('a checksum goes on where it left off, in both forms', () => {
    expect(crc32(parts[1] as Buffer, crc32(parts[0] as Buffer))).toBe(crc32(whole))
    expect(tableCrc32(parts[1] as Buffer, 0, 3, tableCrc32(parts[0] as Buffer))).toBe(crc32(whole))
    const large = Buffer.alloc(1000, 'x')
    expect(crc32(large.subarray(300), crc32(large.subarray(0, 300)))).toBe(crc32(large))
  })
})
