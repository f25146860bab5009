import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import type { Codec } from '@thermocline/core'
import { CodecTable } from '../src/codec/standard.js'
import { isJsonExact } from '../src/codec/json-exact.js'
import { sameValue } from './support/same-value.js'

const codecs = new CodecTable()
const encode = (value: unknown): { codec: string; bytes: Uint8Array } => codecs.encode(value, undefined)
const roundTrip = (value: unknown): unknown => codecs.decode(encode(value))

/** Any UTF-16 units, lone surrogates among them. */
const anyString = fc.oneof(fc.string(), fc.array(fc.integer({ min: 0xd7f0, max: 0xe010 }), { maxLength: 5 }).map((units) => String.fromCharCode(...units)))
const anything = fc.anything({
  key: anyString,
  values: [anyString, fc.boolean(), fc.integer(), fc.double(), fc.constant(null), fc.constant(undefined), fc.constant(-0), fc.bigInt()],
  withBigInt: true,
  withDate: true,
  withMap: true,
  withSet: true,
  withTypedArray: true,
  withSparseArray: true,
  withNullPrototype: true,
  withBoxedValues: true,
  maxDepth: 4,
})

describe('a value encoded and decoded', () => {
  test('is what structuredClone makes of it', () => {
    fc.assert(fc.property(anything, (value) => sameValue(roundTrip(value), structuredClone(value))), { numRuns: 1000 })
  })

  test('is JSON text only where JSON gives what structuredClone would', () => {
    let exact = 0
    const mixed = fc.oneof(fc.jsonValue(), anything, fc.array(anything), fc.dictionary(anyString, fc.jsonValue()))
    fc.assert(
      fc.property(mixed, (value) => {
        if (!isJsonExact(value)) return
        exact++
        expect(sameValue(JSON.parse(JSON.stringify(value)), structuredClone(value))).toBe(true)
      }),
      { numRuns: 1000 },
    )
    expect(exact).toBeGreaterThan(200)
  })

  const shared = { a: 1 }
  const cycle: Record<string, unknown> = { name: 'cycle' }
  cycle.self = cycle
  class Point {
    x = 1
    get y(): number {
      return 2
    }
  }
  const sparse: number[] = [1]
  sparse[5] = 2
  const deep = Array.from({ length: 500 }).reduce<unknown>((inner) => [inner], 'bottom')
  const TRAPS: readonly (readonly [string, unknown])[] = [
    ['a shared reference', [shared, shared]],
    ['a cycle', cycle],
    ['minus zero', { a: [-0] }],
    ['a hole', sparse],
    ['an array that is all holes', new Array(3)],
    ['an array with a named property', Object.assign([1, 2], { name: 'x' })],
    ['an array with a property instead of a hole', Object.assign(new Array(1), { name: 'x' })],
    ['undefined in an array and an object', [{ a: undefined }, undefined]],
    ['a class instance', { point: new Point() }],
    ['boxed primitives', [Object('s'), Object(1), Object(true), Object(1n)]],
    ['an error', new RangeError('message')],
    ['an error with a cause', { error: new Error('outer', { cause: 'inner' }) }],
    ['a regular expression', [/a+/giu]],
    ['an invalid date', { at: new Date(Number.NaN) }],
    ['lone surrogates in values and names', { '\ud800': ['\udc00x', { 'a\udbff': '' }] }],
    ['an own property named __proto__', JSON.parse('{"__proto__":{"a":1},"b":[]}')],
    ['great depth', deep],
    ['a map within itself', ((map) => map.set('self', map))(new Map<string, unknown>())],
    ['a data view', [new DataView(Uint8Array.of(1, 2, 3, 4).buffer, 1, 2)]],
    ['a big array', Float64Array.from({ length: 1000 }, (_, i) => i / 3)],
  ]
  test.each(TRAPS)('%s comes back as structuredClone would give it', (_name, value) => {
    expect(sameValue(roundTrip(value), structuredClone(value))).toBe(true)
  })

  test('toJSON is not asked, neither its own nor an inherited one', () => {
    const value = { toJSON: 'text', at: Object.assign([1], {}) }
    expect(encode(value).codec).toBe('json')
    const arrayWith = Object.setPrototypeOf([1], { __proto__: Array.prototype, toJSON: () => 'changed' }) as unknown
    expect(isJsonExact(arrayWith)).toBe(false)
    expect(() => encode({ toJSON: () => 'changed' })).toThrow(/cannot be encoded/)
  })

  test('a getter is stored as what it returned', () => {
    const value = { get a() { return 1 } }
    expect(roundTrip(value)).toEqual({ a: 1 })
  })

  test('what is no value is refused, wherever it stands', () => {
    const refused = [() => 1, Symbol('s'), Promise.resolve(), new WeakMap(), new WeakRef({}), new SharedArrayBuffer(8), new Uint8Array(new SharedArrayBuffer(8)).buffer]
    for (const value of refused) {
      for (const holder of [value, [value], { a: { b: value } }, new Map([['k', value]])]) {
        expect(() => encode(holder)).toThrow(expect.objectContaining({ name: 'CacheError', code: 'not-encodable', operation: 'encode' }))
      }
    }
  })

  test('so is what is too deep for the stack, without ending the process', () => {
    const bottomless = Array.from({ length: 200_000 }).reduce<unknown>((inner) => [inner], 'bottom')
    expect(() => encode(bottomless)).toThrow(expect.objectContaining({ code: 'not-encodable' }))
  })

  test('strings are text, exact values JSON, bytes raw, the rest the structured form', () => {
    const codecOf = (value: unknown): string => encode(value).codec
    expect(['text', '', { a: [1] }, null, 0, true].map(codecOf)).toEqual(['utf8', 'utf8', 'json', 'json', 'json', 'json'])
    expect([Buffer.of(1), Uint8Array.of(1), Uint16Array.of(1), new Date(0), undefined, Number.NaN, 1n, '\ud800'].map(codecOf)).toEqual(['buffer', 'bytes', 'v8', 'v8', 'v8', 'v8', 'v8', 'v8'])
    expect(Buffer.from(encode({ a: 'ü' }).bytes).toString()).toBe('{"a":"ü"}')
  })
})

describe('a fixed codec', () => {
  const reversed: Codec = { id: 'reversed', encode: (value) => Buffer.from(String(value)).reverse(), decode: (bytes) => Buffer.from(bytes).reverse().toString() }

  test('is named or given as an object; then it is known by its id', () => {
    const table = new CodecTable()
    expect(table.resolve('auto', 'codec')).toBeUndefined()
    expect(table.resolve('v8', 'codec')?.id).toBe('v8')
    const codec = table.resolve(reversed, 'codec')
    const encoded = table.encode('abc', codec)
    expect(encoded).toEqual({ codec: 'reversed', bytes: Buffer.from('cba') })
    expect(table.decode(encoded)).toBe('abc')
    expect(new CodecTable([reversed]).decode(encoded)).toBe('abc')
  })

  test('refuses what would come back changed', () => {
    const refuses = (name: 'json' | 'utf8' | 'bytes' | 'buffer', value: unknown): void =>
      expect(() => codecs.encode(value, codecs.resolve(name, 'codec'))).toThrow(expect.objectContaining({ code: 'not-encodable' }))
    refuses('json', { a: undefined })
    refuses('utf8', 1)
    refuses('utf8', '\ud800')
    refuses('bytes', 'text')
    refuses('buffer', Uint16Array.of(1))
  })

  test('that returns something else than bytes is refused before anything is stored', () => {
    for (const wrong of ['text', Promise.resolve(Buffer.of(1)), undefined, [1]]) {
      const broken = { id: 'broken', encode: () => wrong as never, decode: () => undefined }
      expect(() => codecs.encode(1, broken)).toThrow(expect.objectContaining({ code: 'not-encodable' }))
    }
  })

  test.each([['a name nobody knows', 'gzip'], ['no codec', { id: 'x' }], ['a number', 1], ['null', null], ["another codec's id", { ...reversed, id: 'json' }]])(
    '%s is a TypeError that names the option',
    (_what, wanted) => expect(() => codecs.resolve(wanted as never, 'policies.docs.codec')).toThrow(/^policies\.docs\.codec/),
  )

  test('of the manager is refused when it is none, or takes the id of another', () => {
    expect(() => new CodecTable([null as never])).toThrow(/^codecs\[0\] must be/)
    expect(() => new CodecTable([reversed, { ...reversed }])).toThrow(/^codecs\[1\]: another codec has the id "reversed"/)
    expect(() => new CodecTable(reversed as never)).toThrow(/^codecs must be an array/)
  })

  test('unknown to the reader, or unable to read, is foreign data', () => {
    expect(() => codecs.decode({ codec: 'zstd', bytes: Buffer.of(1) })).toThrow(expect.objectContaining({ code: 'foreign', operation: 'decode' }))
    for (const codec of ['json', 'v8']) expect(() => codecs.decode({ codec, bytes: Buffer.of(1, 2, 3) })).toThrow(expect.objectContaining({ code: 'foreign' }))
  })
})

describe('text longer than the longest string', () => {
  const LONGEST = 1000
  const table = new CodecTable([], LONGEST)
  const LONG: readonly (readonly [string, unknown])[] = [
    ['JSON', { list: Array.from({ length: 400 }, (_, i) => i) }],
    ['JSON with fewer characters than bytes', { text: 'ü'.repeat(600) }],
    ['a string', 'x'.repeat(1001)],
    ['a string with fewer characters than bytes', '漢'.repeat(400)],
  ]

  test.each(LONG)('is stored in the structured form: %s', (_name, value) => {
    const encoded = table.encode(value, undefined)
    expect(encoded.codec).toBe('v8')
    expect(table.decode(encoded)).toEqual(value)
  })

  test.each(LONG)('is read in pieces where another wrote it as text: %s', (_name, value) => {
    expect(table.decode(codecs.encode(value, undefined))).toEqual(value)
  })

  test('is refused by a text codec that a policy fixes', () => {
    for (const [name, value] of [['json', LONG[0]?.[1]], ['utf8', LONG[2]?.[1]]] as const) {
      expect(() => table.encode(value, table.resolve(name, 'codec'))).toThrow(expect.objectContaining({ code: 'not-encodable', message: expect.stringContaining('1000') }))
    }
  })
})
