import { Readable } from 'node:stream'
import { describe, expect, test } from '@jest/globals'
import { deferred, STACKS, withRig, type Rig } from '../support/rig.js'

const MIB = 1024 ** 2
const never = new Promise<never>(() => undefined)

async function read(stream: AsyncIterable<Uint8Array> | undefined): Promise<Buffer | undefined> {
  if (stream === undefined) return undefined
  const chunks: Uint8Array[] = []
  for await (const chunk of stream) chunks.push(chunk)
  return Buffer.concat(chunks)
}

function errorsOf(rig: Rig): string[] {
  return rig.seen('error').map(({ error, operation }) => `${operation} ${error.code}`)
}

describe.each(STACKS)('what can go wrong with streams, on %s', (stack) => {
  const withStack = (body: (rig: Rig) => Promise<void>, options = {}) => (): Promise<void> => withRig(stack, options, body)

  test('a stream\'s caller who aborts takes nobody along who waits for the value', withStack(async (rig) => {
    const controller = new AbortController()
    const source = deferred<Uint8Array[]>()
    let aborted = false
    const stream = rig.acme.getOrComputeStream('k', ({ signal }) => {
      signal.addEventListener('abort', () => {
        aborted = true
        source.reject(signal.reason)
      })
      return source.promise
    }, { signal: controller.signal })
    const left = expect(stream).rejects.toThrow('mine')
    await rig.clock.settle()
    const value = rig.acme.getOrCompute('k', () => 'computed by itself')
    await rig.clock.settle()
    controller.abort(new Error('mine'))
    await rig.pass(left)
    expect(aborted).toBe(false)
    source.resolve([Buffer.from('streamed')])
    expect(await rig.pass(value)).toEqual(Buffer.from('streamed'))
    await rig.clock.settle()
    expect(String(await rig.pass(rig.acme.get('k')))).toBe('streamed')
  }))

  test('who waits for the value of a stream and leaves, as the last one, ends it', withStack(async (rig) => {
    const leave = new AbortController()
    let signal: AbortSignal | undefined
    const stream = await rig.pass(rig.acme.getOrComputeStream('k', (ctx) => {
      signal = ctx.signal
      return (async function* () {
        yield Buffer.from('a')
        await never
      })()
    }))
    const value = expect(rig.acme.getOrCompute('k', () => 1, { signal: leave.signal })).rejects.toThrow('enough')
    await rig.clock.settle()
    stream.destroy()
    await rig.until(() => stream.closed)
    expect(signal?.aborted).toBe(false)
    leave.abort(new Error('enough'))
    await rig.pass(value)
    await rig.until(() => signal?.aborted === true)
  }))

  test('a source that hangs is closed when nobody wants it any more', withStack(async (rig) => {
    const hanging = (): Readable => new Readable({ read() { /* never pushes */ } })
    const leave = new AbortController()
    const set = hanging()
    const setting = expect(rig.acme.setStream('a', set, { signal: leave.signal })).rejects.toThrow('enough')
    await rig.clock.settle()
    leave.abort(new Error('enough'))
    await rig.pass(setting)
    await rig.until(() => set.destroyed)
    const computed = hanging()
    const stream = await rig.pass(rig.acme.getOrComputeStream('b', () => computed))
    const reading = read(stream).catch(() => undefined)
    await rig.clock.settle()
    stream.destroy()
    await rig.until(() => computed.destroyed)
    await reading
    const unread = hanging()
    const other = await rig.pass(rig.acme.getOrComputeStream('c', () => unread))
    other.destroy()
    await rig.until(() => unread.destroyed)
  }))

  test('what a caller does with its chunks changes nothing stored and nothing of the others', withStack(async (rig) => {
    const wiped = async (stream: AsyncIterable<Uint8Array> | undefined): Promise<void> => {
      for await (const chunk of stream ?? []) chunk.fill(0)
    }
    const [one, other] = await rig.pass(Promise.all([1, 2].map(() => rig.acme.getOrComputeStream('k', () => [Buffer.from('first '), Buffer.from('second')]))))
    await rig.pass(wiped(one))
    expect(String(await rig.pass(read(other)))).toBe('first second')
    await rig.clock.settle()
    expect(String(await rig.pass(rig.acme.get('k')))).toBe('first second')
    await rig.pass(rig.acme.getStream('k').then(wiped))
    expect(String(await rig.pass(rig.acme.get('k')))).toBe('first second')
    await rig.pass(rig.acme.set('whole', Buffer.from('as it was')))
    await rig.pass(rig.acme.getStream('whole').then(wiped))
    expect(String(await rig.pass(rig.acme.get('whole')))).toBe('as it was')
  }))

  test('a source\'s own error is its callers\', and no failure of the cache; each of them counts a miss', withStack(async (rig) => {
    const broken = new Error('upstream')
    await expect(rig.pass(rig.acme.getOrComputeStream('k', () => Promise.reject(broken)))).rejects.toBe(broken)
    await expect(rig.pass(rig.acme.getOrComputeStream('k', async function* () {
      yield Buffer.alloc(100)
      throw broken
    }).then(read))).rejects.toBe(broken)
    await rig.clock.settle()
    expect(errorsOf(rig)).toEqual([])
    expect((await rig.cache.stats()).misses).toBe(2)
  }))

  test('doNotCache holds to the end of the stream', withStack(async (rig) => {
    await rig.pass(rig.acme.getOrComputeStream('k', async function* (ctx) {
      yield Buffer.from('only half of it')
      await Promise.resolve()
      ctx.doNotCache()
    }).then(read))
    await rig.clock.settle()
    expect(await rig.pass(rig.acme.has('k'))).toBe(false)
    expect(errorsOf(rig)).toEqual([])
  }))
})

describe('a disk in mid-stream', () => {
  test.each(['none', 'gzip'] as const)('a disk that fails does not keep the callers from the end (compression: %s)', (compression) =>
    withRig('fs', compression === 'none' ? {} : { policies: { default: { compression } } }, async (rig) => {
      rig.faultsOf('warm').injectBody({ fail: 'failed', afterBytes: 1000 }, 'put')
      const text = Buffer.from('the same again and again; '.repeat(200_000))
      const chunks = Array.from({ length: 80 }, (_, at) => text.subarray((at * text.length) / 80, ((at + 1) * text.length) / 80))
      const got = await rig.pass(rig.acme.getOrComputeStream('k', () => chunks).then(read))
      expect(got?.equals(text)).toBe(true)
      expect(await rig.pass(rig.acme.has('k'))).toBe(false)
    }))

  test('a source that pauses is not the fault of the disk, which has written what there was', () => withRig('fs', {}, async (rig) => {
    const gate = deferred()
    const setting = rig.acme.setStream('k', (async function* () {
      yield Buffer.alloc(5 * MIB, 1)
      await gate.promise
      yield Buffer.alloc(5, 2)
    })())
    await new Promise((resolve) => setTimeout(resolve, 200)) // what came first is on the disk
    await rig.clock.advance(10_000)
    gate.resolve()
    await rig.pass(setting)
    expect(errorsOf(rig)).toEqual([])
    expect(await rig.pass(rig.acme.get('k'))).toHaveProperty('byteLength', 5 * MIB + 5)
  }))

  test.each(['a stream', 'a whole value'])('%s with a time to live of 0 takes along what a tier had that could not be read', (what) => withRig('fs', {}, async (rig) => {
    await rig.pass(rig.acme.set('k', 'old'))
    rig.faultsOf('warm').inject({ fail: 'failed' }, 'get')
    if (what === 'a stream') await rig.pass(rig.acme.getOrComputeStream('k', (ctx) => { ctx.setTtl(0); return [Buffer.alloc(100)] }).then(read))
    else await rig.pass(rig.acme.getOrCompute('k', (ctx) => { ctx.setTtl(0); return 1 }))
    rig.faultsOf('warm').heal()
    expect(await rig.pass(rig.acme.get('k'))).toBeUndefined()
  }))

  test.each([
    ['leave', 'fs', true],
    ['leave', 'memory', false],
    ['read on', 'fs', true],
  ] as const)('who was left behind gets the rest from the disk when the others %s; on %s: %s', (others, kind, gets) => withRig(kind, {}, async (rig) => {
    let aborted = false
    const produce = async function* ({ signal }: { readonly signal: AbortSignal }): AsyncGenerator<Uint8Array> {
      signal.addEventListener('abort', () => (aborted = true))
      for (let at = 0; at < 30; at++) {
        await Promise.resolve()
        yield Buffer.alloc(MIB, at)
      }
    }
    const [slow, fast] = await rig.pass(Promise.all([1, 2].map(() => rig.acme.getOrComputeStream('k', produce)))) as [Readable, Readable]
    let passed = 0
    const reading = (async () => {
      for await (const chunk of fast) {
        passed += (chunk as Buffer).byteLength
        if (others === 'leave' && passed >= 20 * MIB) return
      }
    })()
    await rig.pass(reading) // the slow one is a window behind for too long on the way
    const rest = rig.pass(read(slow))
    if (!gets) {
      await expect(rest).rejects.toMatchObject({ code: 'failed' })
      await rig.until(() => aborted)
      return
    }
    const bytes = await rest
    expect(bytes?.byteLength).toBe(30 * MIB)
    expect([0, 10, 29].map((at) => bytes?.[at * MIB])).toEqual([0, 10, 29])
    expect(aborted).toBe(false)
    expect(await rig.pass(rig.acme.has('k'))).toBe(true)
  }))

  test('when who was left behind leaves too, the compute ends', () => withRig('fs', {}, async (rig) => {
    let aborted = false
    const produce = async function* ({ signal }: { readonly signal: AbortSignal }): AsyncGenerator<Uint8Array> {
      signal.addEventListener('abort', () => (aborted = true))
      for (let at = 0; at < 20; at++) yield await Promise.resolve(Buffer.alloc(MIB, at))
      await never
    }
    const [slow, fast] = await rig.pass(Promise.all([1, 2].map(() => rig.acme.getOrComputeStream('k', produce)))) as [Readable, Readable]
    let passed = 0
    await rig.pass((async () => {
      for await (const chunk of fast) if ((passed += (chunk as Buffer).byteLength) >= 15 * MIB) return
    })())
    expect(aborted).toBe(false)
    slow.destroy()
    await rig.until(() => aborted)
    expect(await rig.pass(rig.acme.has('k'))).toBe(false)
  }))

  test('an entry with a compression that is not known here is a miss, and is not left open', () => withRig('fs', {}, async (rig) => {
    const { FileSystemBackend } = await import('@thermocline/fs')
    const { CacheEntry, TenantScope, systemClock } = await import('@thermocline/backend')
    const newer = new FileSystemBackend({ basePath: rig.basePath })
    const detach = newer.attach({ clock: systemClock, evicted: () => undefined, demotes: () => false, report: () => undefined })
    const now = rig.clock.now()
    const entry = CacheEntry.ofBytes({ codec: 'buffer+lz9', bytes: Buffer.alloc(200_000, 7) }, { createdAt: now, expiresAt: now + 60_000 })
    await newer.put(new TenantScope('acme' as never), 'k' as never, entry, { onlyIfAbsent: false, keepUntil: now + 60_000 })
    detach()
    await newer[Symbol.asyncDispose]()
    expect(await rig.pass(rig.acme.getStream('k'))).toBeUndefined()
    expect(await rig.pass(rig.acme.get('k'))).toBeUndefined()
    expect(errorsOf(rig)).toEqual(['get foreign', 'get foreign'])
    expect(String(await rig.pass(rig.acme.getOrComputeStream('k', () => [Buffer.from('anew')]).then(read)))).toBe('anew')
    expect(String(await rig.pass(rig.acme.get('k')))).toBe('anew')
  }))

  test('memory takes no stream whose value is larger than it takes, however small it is when compressed', () =>
    withRig('memory and fs', { policies: { default: { compression: 'gzip' } }, tier: { hot: { maxPayloadBytes: MIB } } }, async (rig) => {
      await rig.pass(rig.acme.setStream('k', Array.from({ length: 20 }, () => Buffer.alloc(MIB, 1))))
      expect(rig.acme.peek('k')).toBeUndefined()
      expect((await rig.pass(rig.acme.getStream('k').then(read)))?.byteLength).toBe(20 * MIB)
      await rig.clock.settle()
      expect(rig.acme.peek('k')).toBeUndefined()
      expect(await rig.pass(rig.acme.get('k'))).toHaveProperty('byteLength', 20 * MIB)
      expect(rig.acme.peek('k')).toBeUndefined()
      expect(errorsOf(rig)).toEqual([])
    }))
})
