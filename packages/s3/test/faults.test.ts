import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals'
import { CircuitBreaker, retry, TieredCacheManager, timeout } from '@thermocline/core'
import { isCacheError, systemClock, validateKey, type CacheError } from '@thermocline/backend'
import { MemoryBackend } from '@thermocline/memory'
import { S3Backend } from '@thermocline/s3'
import { bytesOf, HandFedStream, patterned, streamOf } from '@thermocline/testkit'
import { afterwards } from '../../../test/support/afterwards.js'
import type { GetWishes } from '../../../test/support/object-shelf.js'
import { startProxy, type Proxy } from '../../../test/support/proxy.js'
import { describeCeph, startCeph, type CephServer } from '../../../test/support/s3/index.js'
import { freePort } from '../../../test/support/servers/ports.js'
import { until } from '../../../test/support/servers/until.js'
import { freshPrefix, optionsFor, scopeOf, Shelf } from './support/shelf.js'

jest.setTimeout(30_000)

const MIB = 1024 ** 2

async function failureOf(promise: Promise<unknown>): Promise<CacheError> {
  const error: unknown = await promise.then(() => 'it resolved', (thrown: unknown) => thrown)
  if (!isCacheError(error)) throw new Error(`no CacheError: ${String(error)}`, { cause: error })
  return error
}

describeCeph('a store that fails', () => {
  let server: CephServer
  let bucket: string
  let proxy: Proxy
  beforeAll(async () => {
    server = await startCeph()
    bucket = await server.createBucket()
    proxy = await startProxy(server.port)
  }, 60_000)
  afterAll(() => server.stop())
  const open = async (): Promise<Shelf> => {
    await proxy.pass()
    return new Shelf(server, optionsFor(server, bucket, { port: proxy.port }))
  }

  describe('a body that is cut off', () => {
    test.each([[1000], [100_000], [3 * MIB]])('of a payload of %i bytes: unavailable, and the next read is whole', async (size) => {
      const shelf = await open()
      await shelf.put('k', patterned(size))
      await proxy.resetMidReply(Math.floor(size / 2) + 700)
      expect(await failureOf(shelf.get('k'))).toMatchObject({ code: 'unavailable', retryable: true, operation: 'get', key: 'k', backend: 's3' })
      expect((await shelf.get('k'))?.equals(patterned(size))).toBe(true)
      expect(shelf.reports).toEqual([])
      expect(await shelf.exists(shelf.nameOf('k'))).toBe(true)
    })

    test('of a stream: it throws instead of ending', async () => {
      const shelf = await open()
      await shelf.put('k', patterned(3 * MIB))
      await proxy.resetMidReply(2 * MIB)
      const stream = await shelf.stream('k')
      expect(await failureOf(bytesOf(stream))).toMatchObject({ code: 'unavailable', key: 'k' })
      expect(patterned(3 * MIB).equals(await bytesOf(await shelf.stream('k')))).toBe(true)
      expect(shelf.reports).toEqual([])
    })

    test('tried again by the layer around, a get is whole', async () => {
      const shelf = await open()
      await shelf.put('k', patterned(100_000))
      const layered = retry({ clock: systemClock, attempts: 2, baseDelayMs: 1 })(shelf.backend)
      await proxy.resetMidReply(50_000)
      const entry = await layered.get(scopeOf('acme'), validateKey('k'), { want: 'payload', touch: false })
      expect(patterned(100_000).equals(entry!.encoded!.bytes)).toBe(true)
    })
  })

  describe('a network that hangs in the middle', () => {
    const signalOnly = (signal: AbortSignal): GetWishes => ({ signal })
    const listener = (signal: AbortSignal): GetWishes => ({
      signal,
      onAbort(aborted) {
        signal.addEventListener('abort', aborted, { once: true })
        return true
      },
    })

    test.each([
      ['a signal', signalOnly],
      ['a listener', listener],
    ])('of a body: %s ends it at once, and its connection is closed', async (_how, aborting) => {
      const shelf = await open()
      await shelf.put('k', patterned(8 * MIB))
      await proxy.bandwidth(4 * MIB)
      const controller = new AbortController()
      let arrived = 0
      const got = failureOf(shelf.entry('k', { ...aborting(controller.signal), progress: () => arrived++ }))
      await until('some of it is there', () => arrived > 1)
      await proxy.blackHole()
      controller.abort(new Error('enough'))
      expect(await got).toMatchObject({ code: 'failed', message: expect.stringContaining('enough') })
      await proxy.pass()
      await until('its connection is closed', () => proxy.connections <= 1)
    })

    test.each([
      ['a signal', signalOnly],
      ['a listener', listener],
    ])('%s ends its own request and no other of the same kind', async (_how, aborting) => {
      const shelf = await open()
      await shelf.put('k', patterned(8 * MIB))
      await proxy.bandwidth(8 * MIB)
      const leaves = new AbortController()
      let arrived = 0
      const left = failureOf(shelf.entry('k', { ...aborting(leaves.signal), progress: () => arrived++ }))
      const stays = shelf.get('k', aborting(new AbortController().signal))
      await until('some of it is there', () => arrived > 1)
      leaves.abort(new Error('enough'))
      expect(await left).toMatchObject({ code: 'failed', message: expect.stringContaining('enough') })
      await proxy.pass()
      expect((await stays)?.equals(patterned(8 * MIB))).toBe(true)
    })

    test('without a signal, by itself a little after the budget', async () => {
      const shelf = await open()
      await shelf.put('k', patterned(8 * MIB))
      await proxy.bandwidth(4 * MIB)
      let arrived = 0
      const got = failureOf(shelf.entry('k', { progress: () => arrived++ }))
      await until('some of it is there', () => arrived > 1)
      const startedAt = performance.now()
      await proxy.blackHole()
      expect(await got).toMatchObject({ code: 'unavailable', retryable: true })
      expect(performance.now() - startedAt).toBeLessThan(9000)
      await proxy.pass()
    })

    test('of an upload: a signal ends it, and what was uploaded is removed once the store is there', async () => {
      const shelf = await open()
      const controller = new AbortController()
      const source = new HandFedStream()
      const put = failureOf(shelf.put('k', source, { signal: controller.signal }))
      for (let i = 0; i < 20; i++) await source.give(patterned(MIB, i))
      await proxy.blackHole()
      setTimeout(() => void proxy.pass(), 300)
      controller.abort(new Error('enough'))
      expect((await put).message).toContain('enough')
      expect(await shelf.uploads()).toEqual([])
      expect(await shelf.names()).toEqual([])
    })
  })

  test('nobody listens: unavailable at once', async () => {
    const shelf = new Shelf(server, optionsFor(server, bucket, { port: await freePort() }))
    const startedAt = performance.now()
    for (const work of [shelf.get('k'), shelf.put('k', 'x'), shelf.delete('k'), shelf.delete('k', 'l'), shelf.clear(), shelf.list(), shelf.holds('k')]) {
      expect(await failureOf(work)).toMatchObject({ code: 'unavailable', retryable: true })
    }
    const source = streamOf([patterned(100)])
    expect(await failureOf(shelf.put('k', source))).toMatchObject({ code: 'unavailable', retryable: false })
    expect(source.isReleased).toBe(true)
    expect(performance.now() - startedAt).toBeLessThan(3000)
  })

  test('connections that are reset while they are idle cost nothing', async () => {
    const shelf = await open()
    await shelf.put('k', 'x')
    for (let round = 0; round < 10; round++) {
      proxy.reset()
      await new Promise((resolve) => setTimeout(resolve, 20))
      expect(String(await shelf.get('k'))).toBe('x')
    }
  })

  test('a server that stands still is left after the budget, and used again when it goes on', async () => {
    const cache = new TieredCacheManager({
      tiers: { hot: { backend: new MemoryBackend() }, cold: { backend: new S3Backend({ ...optionsFor(server, bucket), prefix: freshPrefix() }), budget: '500ms' } },
      logger: false,
    })
    afterwards(() => cache.close())
    const acme = cache.tenant('acme')
    const seen: string[] = []
    cache.on('degraded', ({ tier }) => seen.push(`degraded ${tier}`))
    cache.on('recovered', ({ tier }) => seen.push(`recovered ${tier}`))
    await acme.set('k', 'x')
    server.pause()
    try {
      const startedAt = performance.now()
      expect(await acme.getOrCompute('new', () => 'computed', { tiers: { hot: false } })).toBe('computed')
      for (let i = 0; i < 20; i++) await acme.getOrCompute(`other ${i}`, () => 'computed', { tiers: { hot: false } })
      expect(performance.now() - startedAt).toBeLessThan(2500)
      expect(seen).toEqual(['degraded cold'])
    } finally {
      server.resume()
    }
    await until('it is in use again', async () => seen.includes('recovered cold') && (await acme.lookup('k', { tiers: { hot: false } })).status === 'fresh', { withinMs: 10_000 })
  })

  test('a server that was killed is used again after it has come back', async () => {
    const shelf = new Shelf(server, optionsFor(server, bucket))
    await shelf.put('k', 'x')
    await server.kill()
    expect(await failureOf(shelf.get('k'))).toMatchObject({ code: 'unavailable', retryable: true })
    await server.restart()
    expect(String(await shelf.get('k'))).toBe('x')
  })

  test('under breaker, timeout and retry: a slow body that moves is not left', async () => {
    const shelf = await open()
    await shelf.put('k', patterned(2 * MIB))
    const clock = systemClock
    const guarded = new CircuitBreaker({ clock, failureThreshold: 5 }).layer(timeout({ clock, budgetMs: 400 })(retry({ clock, attempts: 2, baseDelayMs: 1 })(shelf.backend)))
    await proxy.bandwidth(MIB)
    const entry = await guarded.get(scopeOf('acme'), validateKey('k'), { want: 'payload', touch: false })
    expect(patterned(2 * MIB).equals(entry!.encoded!.bytes)).toBe(true)
    await proxy.pass()
  })
})
