import { Readable } from 'node:stream'
import { ReadableStream } from 'node:stream/web'
import { describe, expect, jest, test } from '@jest/globals'
import type { ByteSource } from '@thermocline/core'
import { deferred, STACKS, withRig, type Rig } from '../support/rig.js'

jest.setTimeout(30_000) // many megabytes, on a busy machine

const MIB = 1024 ** 2

/** Bytes that are different everywhere. */
function pattern(length: number): Buffer {
  const bytes = Buffer.allocUnsafe(length)
  for (let at = 0; at < length; at++) bytes[at] = (at * 31 + (at >> 8) * 17 + (at >> 16)) & 0xff
  return bytes
}

async function* chunksOf(bytes: Uint8Array, size = 64 * 1024): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += size) {
    await Promise.resolve()
    yield bytes.subarray(at, at + size)
  }
}

async function read(stream: AsyncIterable<Uint8Array> | undefined): Promise<Buffer | undefined> {
  if (stream === undefined) return undefined
  const chunks: Uint8Array[] = []
  for await (const chunk of stream) chunks.push(chunk)
  return Buffer.concat(chunks)
}

/** Jest compares bytes one by one, with a description of each. */
function expectBytes(got: unknown, bytes: Uint8Array): void {
  expect(Buffer.isBuffer(got) && got.equals(bytes)).toBe(true)
}

async function readKey(rig: Rig, key: string): Promise<Buffer | undefined> {
  return rig.pass(rig.acme.getStream(key).then(read))
}

describe.each(STACKS)('streams on %s', (stack) => {
  const withStack = (body: (rig: Rig) => Promise<void>, options = {}) => (): Promise<void> => withRig(stack, options, body)

  test('what was streamed in comes back whole and as a stream', withStack(async (rig) => {
    const bytes = pattern(300_001)
    await rig.pass(rig.acme.setStream('s', chunksOf(bytes, 7777), { metadata: { a: 'b' }, tags: ['t'] }))
    expectBytes(await rig.pass(rig.acme.get('s')), bytes)
    expectBytes(await readKey(rig, 's'), bytes)
    expect(await rig.pass(rig.acme.lookup('s', { value: false }))).toMatchObject({ status: 'fresh', metadata: { a: 'b' }, tags: ['t'] })
  }))

  test('what was set whole comes back as a stream: bytes, text, JSON', withStack(async (rig) => {
    await rig.pass(rig.acme.setMany([['bytes', pattern(1000)], ['text', 'héllo'], ['json', { a: 1 }]]))
    expectBytes(await readKey(rig, 'bytes'), pattern(1000))
    expect(String(await readKey(rig, 'text'))).toBe('héllo')
    expect(String(await readKey(rig, 'json'))).toBe('{"a":1}')
    expect(await readKey(rig, 'nothing')).toBeUndefined()
  }))

  test.each([
    ['a Readable', (bytes: Buffer) => Readable.from(chunksOf(bytes))],
    ['a web stream', (bytes: Buffer) => ReadableStream.from(chunksOf(bytes))],
    ['an array of chunks', (bytes: Buffer) => [bytes.subarray(0, 3), bytes.subarray(3)]],
    ['all at once', (bytes: Buffer) => bytes],
  ])('a source may be %s', (_name, sourceOf) => withRig(stack, {}, async (rig) => {
    const bytes = pattern(200_000)
    await rig.pass(rig.acme.setStream('s', sourceOf(bytes) as Readable))
    expectBytes(await rig.pass(rig.acme.get('s')), bytes)
  }))

  const TEXT = 'héllo, 日本 🙂🙃!'
  const units = (): string[] => Array.from({ length: TEXT.length }, (_, at) => TEXT.charAt(at)) // each pair in two chunks
  test.each([
    ['an async generator of text', async function* () { await Promise.resolve(); yield* units() }],
    ['an array of text', units],
    ['a Readable in object mode', () => Readable.from(units())],
    ['a Readable with an encoding', () => Readable.from(Array.from(Buffer.from(TEXT), (byte) => Buffer.of(byte)), { objectMode: false }).setEncoding('utf8')],
    ['a web stream of text', () => ReadableStream.from(units())],
    ['text and bytes by turns', () => ['héllo, ', Buffer.from('日本'), ' ', '\ud83d', '', '\ude42', '🙃', new Uint8Array(), '!']],
  ] as readonly (readonly [string, () => ByteSource])[])('a source may be %s, which is UTF-8', (_name, sourceOf) => withRig(stack, {}, async (rig) => {
    await rig.pass(rig.acme.setStream('s', sourceOf()))
    expect(String(await rig.pass(rig.acme.get('s')))).toBe(TEXT)
    for (let call = 0; call < 2; call++) expect(String(await rig.pass(rig.acme.getOrComputeStream('t', sourceOf).then(read)))).toBe(TEXT)
    expect(String(await rig.pass(rig.acme.getStream('t').then(read)))).toBe(TEXT)
    expect((await rig.cache.stats()).policies['default']).toMatchObject({ computes: 1 })
  }))

  test.each([
    ['at the end', ['a', '\ud83d']],
    ['before other text', ['\ud83d', 'a']],
    ['before bytes', ['\ud83d', Buffer.from('a')]],
    ['without its first half', ['a', '\ude42']],
  ])('half a character %s is refused, and nothing is stored', (_name, source) => withRig(stack, {}, async (rig) => {
    await expect(rig.pass(rig.acme.setStream('s', source))).rejects.toThrow(/^source gives text that is not well-formed Unicode/)
    await expect(rig.pass(rig.acme.getOrComputeStream('s', () => source).then(read))).rejects.toThrow(/^what produce returns gives text that is not well-formed/)
    expect(await rig.pass(rig.acme.has('s'))).toBe(false)
  }))

  test('an empty stream is a value', withStack(async (rig) => {
    await rig.pass(rig.acme.setStream('s', []))
    expect(await rig.pass(rig.acme.get('s'))).toEqual(Buffer.alloc(0))
    expect(await readKey(rig, 's')).toEqual(Buffer.alloc(0))
  }))

  test('what is no source, or gives no bytes, is refused and changes nothing', withStack(async (rig) => {
    await rig.pass(rig.acme.set('s', 'old'))
    for (const wrong of [undefined, null, 7, {}, 'text']) await expect(rig.pass(rig.acme.setStream('s', wrong as never))).rejects.toThrow(TypeError)
    for (const wrong of [42_424_242, ['secret'], { secret: 1 }, new Date(0), null, undefined, Symbol('secret')]) {
      const refused: unknown = await rig.pass(rig.acme.setStream('s', [Buffer.from('a'), wrong] as never)).catch((error: unknown) => error)
      expect(refused).toBeInstanceOf(TypeError)
      expect((refused as Error).message).toMatch(/^source must give chunks that are Uint8Arrays or strings, not (an? [a-z]+|null|undefined)$/)
    }
    const whole: unknown = await rig.pass(rig.acme.setStream('s', 'secret' as never)).catch((error: unknown) => error)
    expect((whole as Error).message).not.toContain('secret')
    await expect(rig.pass(rig.acme.getOrComputeStream('s', undefined as never))).rejects.toThrow(TypeError)
    expect(await rig.pass(rig.acme.get('s'))).toBe('old')
  }))

  test('a source that fails leaves what was there, in every tier', withStack(async (rig) => {
    await rig.pass(rig.acme.set('s', 'old'))
    const failing = async function* (): AsyncGenerator<Uint8Array> {
      yield* chunksOf(pattern(500_000))
      throw new Error('the source broke')
    }
    await expect(rig.pass(rig.acme.setStream('s', failing()))).rejects.toThrow('the source broke')
    expect(await rig.pass(rig.acme.get('s'))).toBe('old')
    for (const tier of Object.keys(rig.backends)) expect((await rig.cache.stats()).tiers[tier]?.keysInDoubt).toBe(0)
  }))

  test('nothing changes before the source has ended', withStack(async (rig) => {
    await rig.pass(rig.acme.set('s', 'old'))
    const gate = deferred()
    const slow = async function* (): AsyncGenerator<Uint8Array> {
      yield* chunksOf(pattern(500_000))
      await gate.promise
      yield Buffer.from('end')
    }
    const setting = rig.acme.setStream('s', slow())
    await rig.until(() => Promise.resolve(true))
    expect(await rig.pass(rig.acme.get('s'))).toBe('old')
    await rig.pass(rig.acme.set('s', 'between')) // called later, but ended earlier
    gate.resolve()
    await rig.pass(setting)
    expect(await rig.pass(rig.acme.get('s'))).toHaveProperty('byteLength', 500_003)
  }))

  test('an aborted set rejects with its reason and stores nothing', withStack(async (rig) => {
    const controller = new AbortController()
    const endless = async function* (): AsyncGenerator<Uint8Array> {
      for (;;) {
        await new Promise((resolve) => setImmediate(resolve))
        yield Buffer.alloc(1000)
      }
    }
    const setting = rig.acme.setStream('s', endless(), { signal: controller.signal })
    setTimeout(() => controller.abort(new Error('enough')), 20)
    await expect(rig.pass(setting)).rejects.toThrow('enough')
    expect(await rig.pass(rig.acme.has('s'))).toBe(false)
  }))

  test('a miss is produced once for all who ask, as a stream or whole, and stored', withStack(async (rig) => {
    const bytes = pattern(700_000)
    let produced = 0
    const produce = (): AsyncIterable<Uint8Array> => {
      produced++
      return chunksOf(bytes)
    }
    const streams = Array.from({ length: 20 }, () => rig.acme.getOrComputeStream('s', produce).then(read))
    const whole = rig.acme.getOrCompute('s', () => Promise.reject(new Error('not needed')))
    for (const got of await rig.pass(Promise.all(streams))) expectBytes(got, bytes)
    expectBytes(await rig.pass(whole), bytes)
    expect(produced).toBe(1)
    expectBytes(await rig.pass(rig.acme.get('s')), bytes)
    expectBytes(await rig.pass(rig.acme.getOrComputeStream('s', produce).then(read)), bytes)
    expect(produced).toBe(1)
    const { policies } = await rig.cache.stats()
    expect(policies['default']?.computes).toBe(1)
  }))

  test('who comes when the beginning has passed waits for what is stored, and computes nothing', withStack(async (rig) => {
    const bytes = pattern(12 * MIB)
    let produced = 0
    const gate = deferred()
    const produce = async function* (): AsyncGenerator<Uint8Array> {
      produced++
      yield* chunksOf(bytes.subarray(0, 10 * MIB), MIB)
      await gate.promise
      yield bytes.subarray(10 * MIB)
    }
    const first = await rig.pass(rig.acme.getOrComputeStream('s', produce))
    const reading = read(first)
    await rig.until(() => first.readableFlowing !== null || first.readableLength >= 0)
    for (let turn = 0; turn < 50; turn++) await rig.clock.settle()
    const late = Promise.all([1, 2, 3].map(() => rig.acme.getOrComputeStream('s', produce).then(read)))
    await rig.clock.settle()
    gate.resolve()
    expectBytes(await rig.pass(reading), bytes)
    if (stack !== 'memory') {
      for (const got of await rig.pass(late)) expectBytes(got, bytes)
      expect(produced).toBe(1)
    } else await rig.pass(late) // memory takes no stream as large as that
  }))

  test('who asks for a stream shares the compute of the whole value', withStack(async (rig) => {
    const gate = deferred<string>()
    const whole = rig.acme.getOrCompute('s', () => gate.promise)
    await rig.clock.settle()
    const stream = rig.acme.getOrComputeStream('s', () => { throw new Error('not needed') }).then(read)
    gate.resolve('value')
    expect(await rig.pass(whole)).toBe('value')
    expect(String(await rig.pass(stream))).toBe('value')
  }))

  test("the compute's own error reaches its callers, before the stream and in it, and nothing is stored", withStack(async (rig) => {
    const broken = new Error('no source')
    await expect(rig.pass(rig.acme.getOrComputeStream('s', () => Promise.reject(broken)))).rejects.toBe(broken)
    const halfway = async function* (): AsyncGenerator<Uint8Array> {
      yield* chunksOf(pattern(300_000))
      throw broken
    }
    await expect(rig.pass(rig.acme.getOrComputeStream('s', halfway).then(read))).rejects.toBe(broken)
    expect(await rig.pass(rig.acme.has('s'))).toBe(false)
  }))

  test('the wishes of the compute hold: doNotCache, setTtl', withStack(async (rig) => {
    await rig.pass(rig.acme.getOrComputeStream('a', (ctx) => { ctx.doNotCache(); return [Buffer.from('x')] }).then(read))
    expect(await rig.pass(rig.acme.has('a'))).toBe(false)
    await rig.pass(rig.acme.getOrComputeStream('b', (ctx) => { ctx.setTtl('10s'); return [Buffer.from('x')] }).then(read))
    expect(await rig.pass(rig.acme.has('b'))).toBe(true)
    await rig.clock.advance(11_000)
    expect(await rig.pass(rig.acme.has('b'))).toBe(false)
  }))

  test('a generator has its wishes until its first chunk; later they are refused, to the generator', withStack(async (rig) => {
    const refused: unknown[] = []
    await rig.pass(rig.acme.getOrComputeStream('k', async function* (ctx) {
      await Promise.resolve()
      ctx.setTtl('10s')
      ctx.addTags('early')
      yield pattern(100)
      for (const late of [() => ctx.setTtl('1h'), () => ctx.addTags('late')]) {
        try {
          late()
        } catch (error) {
          refused.push((error as Error).message)
        }
      }
      yield pattern(100)
    }).then(read))
    expect(refused).toEqual([expect.stringMatching(/^setTtl .* before the first chunk/), expect.stringMatching(/^addTags .* before the first chunk/)])
    expect(await rig.pass(rig.acme.lookup('k', { value: false }))).toMatchObject({ status: 'fresh', tags: ['early'] })
    await rig.clock.advance(11_000)
    expect(await rig.pass(rig.acme.has('k'))).toBe(false)
    await expect(rig.pass(rig.acme.getOrComputeStream('uncaught', async function* (ctx) {
      yield pattern(100)
      await Promise.resolve()
      ctx.setTtl('1h')
    }).then(read))).rejects.toThrow('before the first chunk')
    expect(await rig.pass(rig.acme.has('uncaught'))).toBe(false)
  }))

  test('a stream and a value that are asked for while somebody only looks for the key are computed once', withStack(async (rig) => {
    let computes = 0
    const gate = deferred()
    const compute = async (): Promise<Buffer> => {
      computes++
      await gate.promise
      return pattern(100)
    }
    const looking = rig.acme.getStream('k')
    const stream = rig.acme.getOrComputeStream('k', async () => [await compute()]).then(read)
    const value = rig.acme.getOrCompute<Buffer>('k', compute)
    await rig.clock.settle()
    gate.resolve()
    expect(await rig.pass(looking)).toBeUndefined()
    expectBytes(await rig.pass(stream), pattern(100))
    expectBytes(await rig.pass(value), pattern(100))
    expect(computes).toBe(1)
  }))

  test('a time to live of 0 stores nothing', withStack(async (rig) => {
    await rig.pass(rig.acme.getOrComputeStream('k', (ctx) => { ctx.setTtl(0); return [pattern(100)] }).then(read))
    await rig.pass(rig.acme.getOrComputeStream('generated', async function* (ctx) {
      await Promise.resolve()
      ctx.setTtl(0)
      yield pattern(100)
    }).then(read))
    await rig.pass(rig.acme.getOrComputeStream('asked', () => [pattern(100)], { ttl: 0 }).then(read))
    for (const key of ['k', 'generated', 'asked']) expect(await rig.pass(rig.acme.has(key))).toBe(false)
  }))

  test('a hit on what was streamed tells what it saved: the time to the first chunk', withStack(async (rig) => {
    await rig.pass(rig.acme.getOrComputeStream('k', async function* () {
      await new Promise<void>((resolve) => rig.clock.schedule(2000, resolve))
      yield pattern(100)
    }).then(read))
    await rig.pass(rig.acme.get('k'))
    expect((await rig.cache.stats()).policies['default']?.savedSeconds).toBeCloseTo(2, 1)
  }))

  test('the last caller who leaves ends the compute; nothing is stored', withStack(async (rig) => {
    let signal: AbortSignal | undefined
    let returned = false
    const endless = async function* (): AsyncGenerator<Uint8Array> {
      try {
        for (;;) {
          await new Promise((resolve) => setImmediate(resolve))
          yield pattern(10_000)
        }
      } finally {
        returned = true
      }
    }
    const produce = (ctx: { readonly signal: AbortSignal }): AsyncIterable<Uint8Array> => {
      signal = ctx.signal
      return endless()
    }
    const [one, other] = await rig.pass(Promise.all([rig.acme.getOrComputeStream('s', produce), rig.acme.getOrComputeStream('s', produce)]))
    one.destroy()
    await rig.until(() => one.closed)
    expect(signal?.aborted).toBe(false)
    for await (const _chunk of other) break // destroys it
    await rig.until(() => signal?.aborted === true && returned)
    await rig.clock.settle()
    expect(await rig.pass(rig.acme.has('s'))).toBe(false)
  }))

  test('a signal that fires while the stream is made, or read, is the caller\'s own error', withStack(async (rig) => {
    const controller = new AbortController()
    const reason = new Error('mine')
    const never = deferred<Uint8Array[]>()
    const waiting = rig.acme.getOrComputeStream('s', () => never.promise, { signal: controller.signal })
    const failed = expect(waiting).rejects.toBe(reason)
    await rig.clock.settle()
    controller.abort(reason)
    await rig.pass(failed)
    await rig.pass(rig.acme.set('k', pattern(100_000)))
    const second = new AbortController()
    const stream = await rig.pass(rig.acme.getStream('k', { signal: second.signal }))
    second.abort(reason)
    await expect(read(stream)).rejects.toBe(reason)
  }))

  test('a delete while a stream is stored wins', withStack(async (rig) => {
    const gate = deferred()
    const slow = async function* (): AsyncGenerator<Uint8Array> {
      yield* chunksOf(pattern(300_000))
      await gate.promise
      yield Buffer.from('end')
    }
    const reading = rig.acme.getOrComputeStream('s', slow).then(read)
    await rig.clock.settle()
    await rig.pass(rig.acme.delete('s'))
    gate.resolve()
    expect((await rig.pass(reading))?.byteLength).toBe(300_003) // who asked before gets it
    expect(await rig.pass(rig.acme.has('s'))).toBe(false)
  }))

  test('a closed cache only makes the stream, and reads end', withStack(async (rig) => {
    await rig.pass(rig.cache.close())
    await expect(rig.acme.getStream('s')).rejects.toMatchObject({ code: 'closed' })
    await expect(rig.acme.setStream('s', [])).rejects.toMatchObject({ code: 'closed' })
    expect(String(await read(await rig.acme.getOrComputeStream('s', () => [Buffer.from('x')])))).toBe('x')
  }))

  test('compressed on the way in, decompressed on the way out', withStack(async (rig) => {
    const text = Buffer.from('the same again and again; '.repeat(40_000))
    await rig.pass(rig.acme.setStream('s', chunksOf(text)))
    expectBytes(await rig.pass(rig.acme.get('s')), text)
    expectBytes(await readKey(rig, 's'), text)
    await rig.pass(rig.acme.set('whole', text))
    expectBytes(await readKey(rig, 'whole'), text)
    const noise = Buffer.from(Array.from({ length: 100_000 }, () => Math.floor(Math.random() * 256)))
    await rig.pass(rig.acme.getOrComputeStream('noise', () => chunksOf(noise)).then(read))
    expectBytes(await readKey(rig, 'noise'), noise)
    if (stack === 'fs') {
      const sizes = new Map<string, number>()
      for await (const { key, size } of rig.acme.list('', { detail: true })) sizes.set(key, size ?? 0)
      expect(sizes.get('s')).toBeLessThan(text.byteLength / 20)
      expect(sizes.get('whole')).toBeLessThan(text.byteLength / 20)
      expect(sizes.get('noise')).toBeGreaterThan(noise.byteLength)
    }
  }, { policies: { default: { compression: 'gzip' } } }))
})

describe('streams from a slow tier to a fast one', () => {
  const options = { tier: { hot: { maxPayloadBytes: 64 * MIB } } }

  test('a stream that is read is promoted while it passes; small ones to memory, large ones not', () => withRig('memory and fs', options, async (rig) => {
    const small = pattern(2 * MIB)
    const large = pattern(9 * MIB)
    await rig.pass(rig.acme.setStream('small', chunksOf(small), { tiers: { hot: false } }))
    await rig.pass(rig.acme.setStream('large', chunksOf(large), { tiers: { hot: false } }))
    expect((await readKey(rig, 'small'))?.equals(small)).toBe(true)
    expect((await readKey(rig, 'large'))?.equals(large)).toBe(true)
    await rig.until(() => rig.acme.peek<Buffer>('small')?.equals(small) === true)
    expect(rig.acme.peek('large')).toBeUndefined()
    expect(rig.seen('promote').map(({ key }) => key)).toEqual(['small'])
  }))

  test('many readers of one stream share one read; one that stalls holds up nobody for long and gets everything', () => withRig('fs', options, async (rig) => {
    const bytes = pattern(12 * MIB)
    await rig.pass(rig.acme.setStream('s', chunksOf(bytes, MIB)))
    const gets = (): number => rig.faultsOf('warm').calls.get ?? 0
    const before = gets()
    const stalled = await rig.pass(rig.acme.getStream('s'))
    const readers = await rig.pass(Promise.all(Array.from({ length: 10 }, () => rig.acme.getStream('s'))))
    expect(gets() - before).toBe(1)
    for (const got of await rig.pass(Promise.all(readers.map(read)))) expect(got?.equals(bytes)).toBe(true)
    expect((await rig.pass(read(stalled)))?.equals(bytes)).toBe(true)
  }))
})
