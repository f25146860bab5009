import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import zlib from 'node:zlib'
import { CacheEntry, decodeFrameHeader, encodeFrameHeader, entryOfFrame, FRAME_PREAMBLE_BYTES, payloadProblem, validateKey } from '@thermocline/backend'
import { tableCrc32 } from '../src/frame/crc32.js'
import { CREATED_AT, field, frameOf, readFrame, reassemble, withFields } from '../../../test/support/frames.js'

const SMALL = frameOf({ tenant: 't', key: 'k', value: 'value', details: { tags: ['a'], metadata: { m: '1' } } })
const name = (maxBytes: number): fc.Arbitrary<string> => fc.string({ unit: 'binary', minLength: 1, maxLength: 60 }).filter((text) => !text.includes('\0') && Buffer.byteLength(text) <= maxBytes)
const instant = fc.integer({ min: 0, max: 2 ** 45 })
const contents = fc.record({
  tenant: name(128),
  key: name(1024),
  createdAt: instant,
  lifeMs: fc.oneof(fc.constant(Number.POSITIVE_INFINITY), instant),
  computeMicros: fc.nat(),
  value: fc.oneof(fc.string(), fc.jsonValue(), fc.uint8Array({ maxLength: 3000 })),
  tags: fc.array(name(256), { minLength: 1, maxLength: 40 }),
  metadata: fc.dictionary(name(60), fc.string({ unit: 'binary', maxLength: 1000 })),
  staleMs: fc.option(fc.nat(), { nil: undefined }),
  heardUpTo: fc.option(name(100), { nil: undefined }),
  fence: fc.option(fc.nat(), { nil: undefined }),
  contentType: fc.option(fc.string({ maxLength: 40 }), { nil: undefined }),
})

/** The fields of a frame's header, each whole. */
function fieldsOf(frame: Buffer): { readonly id: number; readonly bytes: Buffer }[] {
  const end = FRAME_PREAMBLE_BYTES + frame.readUInt32LE(8)
  const fields: { readonly id: number; readonly bytes: Buffer }[] = []
  for (let at = FRAME_PREAMBLE_BYTES; at < end;) {
    let next = at + 1
    let length = 0
    for (let shift = 0; ; shift += 7) {
      const byte = frame[next++] as number
      length |= (byte & 0x7f) << shift
      if (byte < 0x80) break
    }
    fields.push({ id: frame[at] as number, bytes: frame.subarray(at, next + length) })
    at = next + length
  }
  return fields
}

/** Never an entry that was not written: none, or exactly the one that the whole frame holds. */
function expectSameOrNone(damaged: Buffer, whole: Buffer): string {
  const read = readFrame(damaged)
  if ('none' in read) return read.none
  expect(read).toEqual(readFrame(whole))
  return 'same'
}

describe('a frame', () => {
  test('gives back what was written, whatever the names, instants, tags and metadata', () => {
    fc.assert(
      fc.property(contents, ({ lifeMs, tags, metadata, staleMs, heardUpTo, fence, contentType, ...content }) => {
        const details = { tags, metadata, ...(staleMs === undefined ? {} : { staleMs }), ...(heardUpTo === undefined ? {} : { heardUpTo }), ...(fence === undefined ? {} : { fence }), ...(contentType === undefined ? {} : { contentType }) }
        const expiresAt = content.createdAt + lifeMs
        const read = readFrame(frameOf({ ...content, expiresAt, details }))
        expect(read).toEqual({ content: { ...content, codec: expect.any(String), value: content.value ?? null, expiresAt, keepUntil: expiresAt, details } })
      }),
      { numRuns: 150 },
    )
  })

  test('keeps when the stored copy ends beside when the entry ends', () => {
    const frame = frameOf({ expiresAt: Number.POSITIVE_INFINITY, keepUntil: CREATED_AT + 5 })
    expect(readFrame(frame)).toMatchObject({ content: { expiresAt: Number.POSITIVE_INFINITY, keepUntil: CREATED_AT + 5 } })
  })

  test('says when its copy ends in its header, too, which is when the entry does unless it says so', () => {
    const ends = [undefined, CREATED_AT + 5].map((keepUntil) => {
      const reading = decodeFrameHeader(frameOf({ expiresAt: CREATED_AT + 10, ...(keepUntil === undefined ? {} : { keepUntil }) }))
      return reading.status === 'ok' && reading.value.keepUntil - CREATED_AT
    })
    expect(ends).toEqual([10, 5])
  })

  test('without its payload is a head', () => {
    const reading = decodeFrameHeader(SMALL)
    expect(reading.status === 'ok' && entryOfFrame(reading.value, undefined)).toMatchObject({ encoded: undefined, details: { tags: ['a'] } })
  })

  test('is whole whatever was written before it, however long that was', () => {
    for (const bytes of [100_000, 6000, 100_000, 3000, 9000]) {
      const content = { tenant: 't', key: 'k'.repeat(1000), details: { tags: ['a', 'b'], metadata: { m: 'm'.repeat(bytes) } } }
      expect(readFrame(frameOf(content))).toMatchObject({ content })
    }
  })

  test('names whose it is, whoever is expected', () => {
    for (const [key, others] of [['abc', ['xbc', 'axc', 'abx', 'ab', 'abcd', '', 'ab\x7f']], ['\xe9', ['\xc3\xa9', 'e', '\xe9']], ['a\x7f', ['a\x7f', 'a\x7e']]] as const) {
      for (const tenant of others) {
        for (const expected of [{ tenant, key }, { tenant: key, key: tenant }]) {
          expect(decodeFrameHeader(frameOf({ tenant: key, key }), expected)).toMatchObject({ status: 'ok', value: { tenant: key, key } })
        }
      }
    }
  })

  test('keeps how long a compressed payload was', () => {
    const fields = { createdAt: CREATED_AT, expiresAt: CREATED_AT + 1 }
    const encoded = { codec: 'json+gzip', bytes: Buffer.from('xyz'), plainBytes: 1234 }
    const header = encodeFrameHeader('t', validateKey('k'), CacheEntry.ofBytes(encoded, fields), CREATED_AT + 1)
    const reading = decodeFrameHeader(Buffer.concat([header, encoded.bytes]))
    expect(reading).toMatchObject({ status: 'ok', value: { plainBytes: 1234 } })
    expect(reading.status === 'ok' && entryOfFrame(reading.value, encoded.bytes).encoded).toEqual(encoded)
  })

  test('of an end beyond all reckoning never ends', () => {
    expect(readFrame(frameOf({ expiresAt: 1e300, keepUntil: 1e300 }))).toMatchObject({ content: { expiresAt: Number.POSITIVE_INFINITY, keepUntil: Number.POSITIVE_INFINITY } })
  })

  test('is made only of an entry that has its bytes', () => {
    const head = CacheEntry.head({ createdAt: 0, expiresAt: 1 })
    expect(() => encodeFrameHeader('t', validateKey('k'), head, 1)).toThrow(TypeError)
  })

  test('is refused when its header would be longer than a reader accepts', () => {
    const tags = Array.from({ length: 5000 }, (_, i) => `${i}`.padStart(256, 'x'))
    expect(() => frameOf({ details: { tags } })).toThrow(expect.objectContaining({ code: 'not-encodable', operation: 'encode', tenant: 'acme', key: 'k' }))
  })

  test('tells from its beginning how much of it is needed', () => {
    let given = 0
    for (;;) {
      const reading = decodeFrameHeader(SMALL.subarray(0, given))
      if (reading.status === 'ok') break
      if (reading.status !== 'short') throw new Error(reading.status)
      expect(reading.needed).toBeGreaterThan(given)
      given = reading.needed
    }
    expect(given).toBe(SMALL.length - 'value'.length)
  })
})

describe('a damaged frame', () => {
  test('says what is wrong with it', () => {
    const flipped = Buffer.from(SMALL)
    flipped[FRAME_PREAMBLE_BYTES + 2]! ^= 1
    expect(decodeFrameHeader(flipped)).toEqual({ status: 'corrupt', reason: 'the checksum of its header does not match' })
    const reading = decodeFrameHeader(SMALL)
    if (reading.status !== 'ok') throw new Error(reading.status)
    const problems = ['value', 'valu', 'values', 'other'].map((payload) => payloadProblem(reading.value, Buffer.from(payload)))
    expect(problems).toEqual([undefined, 'it has 4 payload bytes instead of 5', 'it has 6 payload bytes instead of 5', 'the checksum of its payload does not match'])
  })

  test('whose last field claims more than there is is corrupt, though its payload would have it', () => {
    for (const last of [Uint8Array.of(99), Uint8Array.of(99, 1), Uint8Array.of(99, 5), Uint8Array.of(99, 0x80), Uint8Array.of(99, 0x81, 0)]) expect(readFrame(withFields(SMALL, last))).toEqual({ none: 'corrupt' })
  })

  test('is none whose lengths take four bytes where one would do; five are too many', () => {
    expect(readFrame(withFields(SMALL, Uint8Array.of(99, 0x81, 0x80, 0x80, 0, 7)))).toEqual(readFrame(SMALL))
    expect(readFrame(withFields(SMALL, Uint8Array.of(99, 0x81, 0x80, 0x80, 0x80, 0, 7)))).toEqual({ none: 'corrupt' })
  })

  test('cut anywhere is never an entry', () => {
    for (let length = 0; length < SMALL.length; length++) expect(readFrame(SMALL.subarray(0, length))).toHaveProperty('none')
  })

  test('with more behind it is never an entry', () => {
    expect(readFrame(Buffer.concat([SMALL, Buffer.of(0)]))).toEqual({ none: 'corrupt' })
  })

  test('with any one bit flipped is never another entry', () => {
    const outcomes = new Set<string>()
    for (let bit = 0; bit < SMALL.length * 8; bit++) {
      const damaged = Buffer.from(SMALL)
      damaged[bit >> 3]! ^= 1 << (bit & 7)
      outcomes.add(expectSameOrNone(damaged, SMALL))
    }
    expect([...outcomes].sort()).toEqual(['corrupt', 'foreign', 'short'])
  })

  test('with a bit flipped, a cut or a run overwritten somewhere in a large one is never another entry', () => {
    const whole = frameOf({ value: Buffer.alloc(20_000, 'payload'), details: { metadata: { m: 'm'.repeat(3000) } } })
    const at = fc.nat({ max: whole.length - 1 })
    fc.assert(
      fc.property(at, fc.nat({ max: 7 }), at, fc.uint8Array({ minLength: 1, maxLength: 64 }), (place, bit, length, run) => {
        const flipped = Buffer.from(whole)
        flipped[place]! ^= 1 << bit
        expectSameOrNone(flipped, whole)
        expectSameOrNone(whole.subarray(0, length), whole)
        const overwritten = Buffer.from(whole)
        overwritten.set(run.subarray(0, whole.length - place), place)
        expectSameOrNone(overwritten, whole)
      }),
      { numRuns: 400 },
    )
  })

  test('of random bytes, also behind the magic, never throws', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        readFrame(Buffer.from(bytes))
        expect(readFrame(Buffer.concat([SMALL.subarray(0, 8), bytes]))).toHaveProperty('none')
      }),
    )
  })

  test('with fields that make no sense under a checksum that holds never throws', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => expect(readFrame(reassemble(SMALL, bytes))).toHaveProperty('none')), { numRuns: 300 })
    fc.assert(fc.property(fc.integer({ min: 1, max: 13 }), fc.uint8Array({ maxLength: 12 }), (id, bytes) => void decodeFrameHeader(withFields(SMALL, field(id, bytes)))), { numRuns: 500 })
    expect(readFrame(withFields(SMALL, field(11, '{"half":')))).toEqual({ none: 'corrupt' })
    expect(readFrame(withFields(SMALL, field(4, 'short')))).toEqual({ none: 'corrupt' })
    expect(readFrame(withFields(SMALL, Uint8Array.of(99)))).toEqual({ none: 'corrupt' })
    expect(readFrame(withFields(SMALL, Uint8Array.of(99, 0xff, 0xff, 0xff, 0xff, 0x01)))).toEqual({ none: 'corrupt' })
  })

  const double = (value: number): Buffer => {
    const bytes = Buffer.alloc(8)
    bytes.writeDoubleLE(value)
    return bytes
  }
  test.each([4, 5, 6, 7, 8, 12, 13, 16, 17])('whose number in field %i cannot be is corrupt: an instant that is NaN would never be over', (id) => {
    for (const value of [Number.NaN, Number.NEGATIVE_INFINITY, 0.5, 2 ** 53, -(2 ** 53), 1e300]) {
      expect(readFrame(withFields(SMALL, field(id, double(value))))).toEqual({ none: 'corrupt' })
    }
    for (const [value, status] of [[2 ** 32 - 1, 'ok'], [2 ** 32, id === 7 ? 'corrupt' : 'ok'], [Number.MAX_SAFE_INTEGER, id === 7 ? 'corrupt' : 'ok']] as const) {
      expect([value, decodeFrameHeader(withFields(SMALL, field(id, double(value)))).status]).toEqual([value, status])
    }
    const mayBeNever = [5, 8].includes(id)
    expect(decodeFrameHeader(withFields(SMALL, field(id, double(Number.POSITIVE_INFINITY)))).status).toBe(mayBeNever ? 'ok' : 'corrupt')
    const isInstant = id <= 5 || id === 8
    expect(decodeFrameHeader(withFields(SMALL, field(id, double(-1)))).status).toBe(isInstant ? 'ok' : 'corrupt')
  })

  test('whose metadata is no map of strings, or that names no tenant, key or codec, is corrupt', () => {
    for (const text of ['null', '[]', '"x"', '1', '{"a":1}', '{"a":null}', '{"a":["b"]}', '{"__proto__":{}}']) expect(readFrame(withFields(SMALL, field(11, text)))).toEqual({ none: 'corrupt' })
    for (const id of [1, 2, 3]) expect(readFrame(withFields(SMALL, field(id, '')))).toEqual({ none: 'corrupt' })
    for (const id of [1, 2]) for (const text of ['a\0b', 'x'.repeat(1025)]) expect(readFrame(withFields(SMALL, field(id, text)))).toEqual({ none: 'corrupt' })
  })

  test('whose header lacks a field that it must have is corrupt, whoever reads it', () => {
    const fields = fieldsOf(SMALL)
    const needed = fields.map(({ id }) => id).filter((id) => {
      const frame = reassemble(SMALL, Buffer.concat(fields.filter((one) => one.id !== id).map(({ bytes }) => bytes)))
      const readings = [decodeFrameHeader(frame), decodeFrameHeader(frame, { tenant: 't', key: validateKey('k') })]
      expect(readings[0]?.status).toBe(readings[1]?.status)
      return readings[0]?.status === 'corrupt'
    })
    expect(new Set(needed).size).toBe(7) // tenant, key, codec, both instants, length and checksum of the payload
  })

  test('that claims a header beyond all measure is corrupt, without waiting for it', () => {
    const frame = Buffer.from(SMALL)
    frame.writeUInt32LE((1 << 20) + 1, 8)
    expect(decodeFrameHeader(frame.subarray(0, FRAME_PREAMBLE_BYTES))).toMatchObject({ status: 'corrupt' })
    frame.writeUInt32LE(1 << 20, 8)
    expect(decodeFrameHeader(frame.subarray(0, FRAME_PREAMBLE_BYTES))).toEqual({ status: 'short', needed: FRAME_PREAMBLE_BYTES + (1 << 20) })
  })
})

describe('a frame of somebody else', () => {
  test('of another version is foreign', () => {
    for (const version of [0, 2, 255]) {
      const frame = Buffer.from(SMALL)
      frame[4] = version
      expect(decodeFrameHeader(frame)).toEqual({ status: 'foreign', reason: expect.stringContaining(String(version)) })
    }
  })

  test('that sets flags is foreign', () => {
    for (const at of [5, 6, 7]) {
      const frame = Buffer.from(SMALL)
      frame[at] = 1
      expect(decodeFrameHeader(frame)).toEqual({ status: 'foreign', reason: 'it sets flags that are not known here' })
    }
  })

  test('without our magic is foreign, also when it is shorter than the magic', () => {
    for (const text of ['x', '\x89TCX', 'PK\x03\x04', '{"json":true}']) expect(readFrame(Buffer.from(text, 'latin1'))).toEqual({ none: 'foreign' })
    expect(readFrame(Buffer.of(0x89, 0x54))).toEqual({ none: 'short' })
  })

  test('is read past a field unknown here, unless the field is critical', () => {
    for (const id of [15, 100, 127]) {
      expect(readFrame(withFields(SMALL, field(id, 'x'.repeat(300))))).toEqual(readFrame(SMALL))
      expect(readFrame(withFields(SMALL, field(id | 0x80, '')))).toEqual({ none: 'foreign' })
    }
  })
})

test('the table-driven CRC-32 is that of zlib', () => {
  const { crc32 } = zlib as unknown as { crc32?: (bytes: Uint8Array) => number }
  expect(tableCrc32(Buffer.from('123456789'))).toBe(0xcbf43926)
  if (crc32 !== undefined) fc.assert(fc.property(fc.uint8Array({ maxLength: 500 }), (bytes) => tableCrc32(bytes) === crc32(bytes)))
})
