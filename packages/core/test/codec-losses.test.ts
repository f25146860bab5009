import { describe, expect, test } from '@jest/globals'
import { Blob, File } from 'node:buffer'
import { createHash, createSecretKey } from 'node:crypto'
import { EventEmitter } from 'node:events'
import { BlockList } from 'node:net'
import { createHistogram } from 'node:perf_hooks'
import { Readable } from 'node:stream'
import vm from 'node:vm'
import type { CacheError } from '@thermocline/backend'
import { CodecTable } from '../src/codec/standard.js'
import { cloneValue, handOut, takeIn } from '../src/codec/isolate.js'
import { sameValue } from './support/same-value.js'

const codecs = new CodecTable()

class Hidden {
  readonly #secret = 1
  get secret(): number {
    return this.#secret
  }
}
class PartlyHidden extends Hidden {
  name = 'n'
}
class HiddenBeside {
  name = 'n'
  #secret
  constructor() {
    this.#secret = 1
  }
  get secret(): number {
    return this.#secret
  }
}
const elsewhere = new WeakMap<object, number>()
class Weak {
  constructor(state: number) {
    elsewhere.set(this, state)
  }
  get state(): number | undefined {
    return elsewhere.get(this)
  }
}
class Limited extends Map<string, number> {
  limit = 3
}
class OwnUrl extends URL {
  label = 'l'
}
class HttpError extends Error {
  status = 404
}
function* generator(): Generator<number> {
  yield 1
}
/** Node has it; the types of this project are without a browser's. */
const { Module, Memory } = (globalThis as unknown as { WebAssembly: Record<'Module' | 'Memory', new (of: unknown) => object> }).WebAssembly
const wasm = Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0)

const LOSING: readonly (readonly [name: string, make: () => unknown, said: RegExp])[] = [
  ['a Response', () => new Response('body'), /a Response.*arrayBuffer\(\)/],
  ['a Request', () => new Request('http://a/'), /a Request/],
  ['Headers', () => new Headers({ a: 'b' }), /Headers.*\[\.\.\.headers\]/],
  ['a URL', () => new URL('http://a/b'), /a URL.*href/],
  ['URLSearchParams', () => new URLSearchParams('a=b'), /URLSearchParams/],
  ['FormData', () => new FormData(), /FormData/],
  ['a Blob', () => new Blob(['x']), /a Blob/],
  ['a File', () => new File(['x'], 'name'), /a File/],
  ['a ReadableStream', () => new ReadableStream(), /setStream/],
  ['a subclass of URL with a field', () => new OwnUrl('http://a/'), /OwnUrl/],
  ['an AbortSignal', () => new AbortController().signal, /AbortSignal/],
  ['an AbortController', () => new AbortController(), /AbortController/],
  ['an Event', () => new Event('x'), /Event/],
  ['an EventTarget', () => new EventTarget(), /EventTarget/],
  ['a TextDecoder', () => new TextDecoder(), /TextDecoder/],
  ['a DOMException', () => new DOMException('a', 'b'), /DOMException/],
  ['a promise', () => Promise.resolve(1), /await/],
  ['a function', () => () => 1, /function/],
  ['a class', () => Hidden, /function/],
  ['a symbol', () => Symbol('s'), /symbol/],
  ['a boxed symbol', () => Object(Symbol('s')) as unknown, /symbol/],
  ['a WeakMap', () => new WeakMap(), /WeakMap/],
  ['a WeakSet', () => new WeakSet(), /WeakSet/],
  ['a WeakRef', () => new WeakRef({}), /WeakRef/],
  ['a FinalizationRegistry', () => new FinalizationRegistry(() => undefined), /FinalizationRegistry/],
  ['a generator', generator, /Generator/],
  ['an iterator of a Map', () => new Map().entries(), /Iterator/],
  ['an iterator of an array', () => [1][Symbol.iterator](), /value/],
  ['arguments', () => vm.runInThisContext('(function () { return arguments })(1)') as unknown, /Arguments/],
  ['a SharedArrayBuffer', () => new SharedArrayBuffer(2), /SharedArrayBuffer/],
  ['a Proxy', () => new Proxy({ a: 1 }, {}), /a Proxy/],
  ['a revoked Proxy', () => { const { proxy, revoke } = Proxy.revocable([], {}); revoke(); return proxy }, /a Proxy/],
  ['a number format', () => new Intl.NumberFormat('en'), /NumberFormat/],
  ['a segmenter', () => new Intl.Segmenter('en'), /Segmenter/],
  ['a WebAssembly module', () => new Module(wasm), /Module/],
  ['a WebAssembly memory', () => new Memory({ initial: 1 }), /Memory/],
  ['Math', () => Math, /Math/],
  ['JSON', () => JSON, /JSON/],
  ['a secret key', () => createSecretKey(Buffer.from('abc')), /SecretKeyObject/],
  ['a hash', () => createHash('sha256'), /Hash/],
  ['an EventEmitter', () => new EventEmitter(), /EventEmitter/],
  ['a stream', () => Readable.from(['a']), /Readable/],
  ['a histogram', () => createHistogram(), /Histogram/],
  ['a block list', () => new BlockList(), /BlockList/],
  ['an instance with private fields alone', () => new Hidden(), /Hidden/],
  ['an instance with private fields beside others', () => new HiddenBeside(), /HiddenBeside with private fields/],
  ['an instance that inherits private fields', () => new PartlyHidden(), /PartlyHidden/],
  ['an instance whose state is in a WeakMap', () => new Weak(1), /Weak/],
  ['an object that inherits its data', () => Object.create({ inherited: 1 }) as unknown, /prototype|Object/],
  ['a property named by a symbol', () => ({ a: 1, [Symbol('mark')]: 2 }), /Symbol\(mark\)/],
  ['an array with a property named by a symbol', () => Object.assign([1], { [Symbol('mark')]: 2 }), /Symbol\(mark\)/],
  ['an error with a code', () => Object.assign(new Error('m'), { code: 'ENOENT' }), /"code"/],
  ['an error of a class with fields', () => new HttpError('m'), /HttpError with the property "status"/],
  ['an AggregateError', () => new AggregateError([new Error('a')], 'm'), /"errors"/],
  ['a Map with a property', () => Object.assign(new Map(), { x: 1 }), /Map with the property "x"/],
  ['a subclass of Map with a field', () => new Limited(), /Limited with the property "limit"/],
  ['a Date with a property', () => Object.assign(new Date(0), { zone: 'utc' }), /"zone"/],
  ['a toJSON of its own', () => ({ toJSON: () => 1 }), /value\.toJSON is a function/],
]

const refusal = (value: unknown): CacheError => {
  try {
    codecs.encode(value, undefined)
  } catch (error) {
    return error as CacheError
  }
  throw new Error('it was encoded')
}

describe('what would lose itself is refused', () => {
  test.each(LOSING)('%s, wherever it stands, and the message says where', (_name, make, said) => {
    expect(refusal(make())).toMatchObject({ name: 'CacheError', code: 'not-encodable', operation: 'encode', message: expect.stringMatching(said) })
    expect(refusal({ user: { photos: [1, make()] } }).message).toMatch(/value\.user\.photos\[1\]/)
    expect(refusal(new Map([['k', make()]])).message).toContain('value.k')
    expect(refusal([new Set([make()])]).message).toContain('value[0].member')
    expect(refusal({ at: new Date(0), error: new Error('e', { cause: make() }) }).message).toContain('value.error.cause')
  })

  test.each(LOSING)('%s is not copied either, where a memory tier clones or freezes', (_name, make) => {
    for (const isolation of ['clone', 'freeze'] as const) {
      for (const value of [{ it: make() }, { a: [make()] }]) {
        expect(() => takeIn(value, isolation)).toThrow(expect.objectContaining({ code: 'not-encodable' }))
        expect(() => handOut(value, isolation)).toThrow(expect.objectContaining({ code: 'not-encodable' }))
      }
    }
  })

  test.each(['json', 'v8'] as const)('also by the codec %s that a policy fixes', (name) => {
    expect(() => codecs.encode({ a: new Headers() }, codecs.resolve(name, 'codec'))).toThrow(/value\.a is an? Headers/)
  })

  test('a path shows no long names and no more than its last steps', () => {
    const deep = Array.from({ length: 40 }).reduce<unknown>((inner) => ({ a: inner }), { ['x'.repeat(1000)]: () => 1 })
    const { message } = refusal(deep)
    expect(message).toMatch(/value\.\.\.(\.a)+\["x+…"\]/)
    expect(message.length).toBeLessThan(300)
  })

  test('what is deep, wide or cyclic is walked to its end', () => {
    const wide = { at: new Date(0), list: Array.from({ length: 100_000 }, (_, i) => ({ i })) as unknown[] }
    wide.list.push({ lost: new URL('http://a/') })
    expect(refusal(wide).message).toContain('value.list[100000].lost')
    const cycle: Record<string, unknown> = { at: new Date(0) }
    cycle.self = [cycle, new Map([[cycle, cycle]])]
    expect(sameValue(codecs.decode(codecs.encode(cycle, undefined)), structuredClone(cycle))).toBe(true)
  })
})

describe('a value that throws when it is read is refused as the key\'s failure', () => {
  const boom = (): never => {
    throw new Error('boom')
  }
  const throwing = (thrown: unknown): never => {
    throw thrown as Error
  }
  const THROWING: readonly (readonly [string, () => unknown])[] = [
    ['a getter', () => Object.defineProperty({}, 'a', { get: boom, enumerable: true })],
    ['a getter among others', () => ({ list: [1, { get a() { return boom() } }], at: new Date(0) })],
    ['a getter of an array', () => Object.defineProperty([1, 2], 1, { get: boom, enumerable: true })],
    ['a getter that throws what has no words', () => ({ get a() { return throwing(Object.create(null)) } })],
    ['a getter that throws a revoked Proxy', () => ({ get a() { const { proxy, revoke } = Proxy.revocable({}, {}); revoke(); return throwing(proxy) } })],
    ['a Proxy', () => new Proxy({}, { ownKeys: boom, getPrototypeOf: boom, get: boom })],
    ['a toStringTag', () => ({ get [Symbol.toStringTag]() { return boom() } })],
  ]
  test.each(THROWING)('%s', (_name, make) => {
    for (const value of [make(), [make()], { a: make() }]) expect(refusal(value)).toMatchObject({ name: 'CacheError', code: 'not-encodable' })
    for (const isolation of ['clone', 'freeze'] as const) expect(() => takeIn(make(), isolation)).toThrow(expect.objectContaining({ code: 'not-encodable' }))
  })

  test('a toJSON', () => {
    const value = Object.defineProperty({ a: 1 }, 'toJSON', { get: boom })
    for (const given of [value, [value]]) expect(refusal(given)).toMatchObject({ code: 'not-encodable' })
  })
})

describe('what keeps itself is not refused', () => {
  class Point {
    static readonly #made = new Map<string, Point>()
    x = 1
    y = '#not; private'
    #sum(): number {
      return this.x
    }
    get sum(): number {
      Point.#made.clear()
      return this.#sum() // #comment;
    }
  }
  class Tagged {
    a = 1
    get [Symbol.toStringTag](): string {
      return 'Tagged'
    }
  }
  class List extends Array<number> {}
  class Index extends Map<string, number> {}
  const KEPT: readonly (readonly [string, () => unknown])[] = [
    ['an instance with fields of its own', () => new Point()],
    ['an instance with a tag and fields', () => new Tagged()],
    ['a subclass of Array', () => List.from([1, 2])],
    ['a subclass of Map', () => new Index([['a', 1]])],
    ['an object without a prototype', () => Object.create(null) as unknown],
    ['an empty object', () => ({})],
    ['an object of another realm', () => vm.runInNewContext('({ a: [1, new Map([[1, new Date(0)]])] })') as unknown],
    ['a match', (): unknown => /(?<a>x)/.exec('x')],
    ['an error', () => new TypeError('m', { cause: { a: 1 } })],
    ['an error that has a name of its own', () => Object.assign(new Error('m'), { name: 'NotFound' })],
    ['a mark that is not enumerable', () => Object.defineProperty({ a: 1 }, Symbol('mark'), { value: 1 })],
    ['a property that is not enumerable', () => Object.defineProperty({ a: 1 }, '_request', { value: 1 })],
    ['views of every kind', () => [Buffer.from('b'), new DataView(new ArrayBuffer(2)), new Float64Array(2), new ArrayBuffer(3)]],
    ['boxed primitives', (): unknown => [Object('abc'), Object(1), Object(1n), Object(false)]],
    ['a sparse array', (): unknown => Object.assign(new Array<unknown>(4_000_000_000), { 5: { a: 1 }, name: 'n' })],
  ]
  test.each(KEPT)('%s comes back as structuredClone gives it', (_name, make) => {
    const value = make()
    expect(sameValue(codecs.decode(codecs.encode(value, undefined)), structuredClone(value))).toBe(true)
    const holder = { at: new Date(0), in: [value] }
    expect(sameValue(cloneValue(holder), structuredClone(holder))).toBe(true)
  })
})
