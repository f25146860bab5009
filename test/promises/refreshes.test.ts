import { execFile } from 'node:child_process'
import { AsyncLocalStorage } from 'node:async_hooks'
import path from 'node:path'
import { Readable } from 'node:stream'
import { performance } from 'node:perf_hooks'
import { promisify } from 'node:util'
import { describe, expect, test } from '@jest/globals'
import { CacheError, TieredCacheManager, type PolicyOptions } from '@thermocline/core'
import { MemoryBackend } from '@thermocline/memory'
import { deferred, withRig, type Rig } from '../support/rig.js'

const MINUTE = 60_000
const STALE: PolicyOptions = { ttl: '1m', staleWhileRevalidate: '1h' }

/** Values that are stale now. */
async function stale(rig: Rig, ...keys: string[]): Promise<void> {
  await Promise.all(keys.map((key) => rig.acme.set(key, 'old')))
  await rig.clock.advance(MINUTE)
}

describe('refreshes in the background', () => {
  test('close waits for those that run, and gives up those that wait', () =>
    withRig('memory', { policies: { default: STALE }, refreshConcurrency: 1 }, async (rig) => {
      await stale(rig, 'a', 'b', 'c')
      const gate = deferred<string>()
      for (const key of ['a', 'b', 'c']) expect(await rig.acme.getOrCompute(key, () => gate.promise)).toBe('old')
      await rig.clock.settle()
      expect((await rig.acme.stats()).pendingRefreshes).toBe(3)
      const { acme } = rig
      const before = await acme.stats()
      const closing = rig.cache.close()
      let isClosed = false
      void closing.then(() => (isClosed = true))
      await rig.clock.settle()
      expect(isClosed).toBe(false)
      gate.resolve('new')
      await closing
      expect(before.policies['default']!.refreshesGivenUp).toBe(0)
    }))

  test('close aborts one that does not end by its deadline', () =>
    withRig('memory', { policies: { default: STALE } }, async (rig) => {
      await stale(rig, 'a')
      let signal: AbortSignal | undefined
      await rig.acme.getOrCompute('a', (ctx) => {
        signal = ctx.signal
        return new Promise(() => undefined)
      })
      await rig.clock.settle()
      await rig.pass(rig.cache.close({ deadline: '1s' }))
      expect(signal?.reason).toBeInstanceOf(CacheError)
    }))

  test('no process is held up by one', async () => {
    const dist = (name: string): string => JSON.stringify(path.resolve('packages', name, 'dist/index.js'))
    const program = `
      import { TieredCacheManager } from ${dist('core')}
      import { MemoryBackend } from ${dist('memory')}
      const policy = { ttl: '10ms', staleWhileRevalidate: '1h', hardTimeout: '1h', errorTtl: '1h' }
      const acme = new TieredCacheManager({ tiers: { hot: { backend: new MemoryBackend() } }, policies: { default: policy } }).tenant('acme')
      await acme.set('hangs', 1); await acme.set('fails', 1)
      await new Promise((resolve) => setTimeout(resolve, 30))
      await acme.getOrCompute('hangs', () => new Promise(() => {}))
      await acme.getOrCompute('fails', () => { throw new Error('down') })
      await new Promise((resolve) => setTimeout(resolve, 30))
      console.log('done')`
    const startedAt = performance.now()
    const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', program], { timeout: 30_000 })
    expect(stdout).toBe('done\n')
    expect(performance.now() - startedAt).toBeLessThan(20_000)
  })

  test('they run in the async context of the caller, and as no part of its compute', () =>
    withRig('memory', { policies: { default: STALE }, refreshConcurrency: 1 }, async (rig) => {
      await stale(rig, 'a', 'b')
      const { acme } = rig
      const who = new AsyncLocalStorage<string>()
      const seen: unknown[] = []
      const compute = (key: string) => async (): Promise<string> => {
        seen.push([key, who.getStore()])
        await acme.getOrCompute('outer', () => 'not called') // the outer compute runs: it would be a circle if this were a part of it
        return 'new'
      }
      await acme.getOrCompute('outer', async () => {
        const values = await Promise.all([who.run('alice', () => acme.getOrCompute('a', compute('a'))), who.run('bob', () => acme.getOrCompute('b', compute('b')))])
        await rig.until(() => seen.length === 1)
        return values
      })
      await rig.until(async () => (await acme.get('b')) === 'new')
      expect(seen).toEqual([['a', 'alice'], ['b', 'bob']])
      expect(await acme.stats()).toMatchObject({ policies: { default: { refreshes: 2, refreshesGivenUp: 0 } } })
    }))

  test('a key that was removed meanwhile is not made anew; one that somebody else has made is not made twice', () =>
    withRig('memory and fs', { policies: { default: STALE }, refreshConcurrency: 1 }, async (rig) => {
      await stale(rig, 'first', 'gone', 'made')
      const { acme } = rig
      const gate = deferred<string>()
      let computes = 0
      const compute = (): string => {
        computes++
        return 'new'
      }
      await acme.getOrCompute('first', () => gate.promise)
      await rig.clock.settle()
      await Promise.all(['gone', 'made'].map((key) => acme.getOrCompute(key, compute)))
      await acme.delete('gone')
      await acme.set('made', 'set')
      gate.resolve('new')
      await rig.until(async () => (await acme.stats()).pendingRefreshes === 0)
      expect([computes, await acme.has('gone'), await acme.get('made')]).toEqual([0, false, 'set'])
    }))

  test('one that a slower tier has already is copied, and not made', async () => {
    await withRig('memory and fs', { policies: { default: STALE }, tier: { hot: { maxTtl: null } } }, async (rig) => {
      await stale(rig, 'k')
      const compute = (): never => {
        throw new Error('not called')
      }
      // as another process would have done
      const other = new TieredCacheManager({ tiers: { warm: { backend: rig.backends.warm! } }, policies: { default: STALE }, clock: rig.clock, logger: false })
      await other.tenant('acme').set('k', 'theirs')
      expect(await rig.acme.getOrCompute('k', compute)).toBe('old')
      await rig.until(async () => rig.acme.peek('k') === 'theirs')
      expect((await rig.acme.stats()).policies['default']).toMatchObject({ computes: 0, refreshesGivenUp: 0 })
      await rig.pass(other.close())
    })
  })

  test('a thousand keys that end in one second are not a thousand computes at once', () =>
    withRig('memory', { policies: { default: STALE }, refreshConcurrency: 5 }, async (rig) => {
      const keys = Array.from({ length: 1000 }, (_, n) => `k${n}`)
      await stale(rig, ...keys)
      let running = 0
      let most = 0
      const compute = async (): Promise<string> => {
        most = Math.max(most, ++running)
        await new Promise((resolve) => setImmediate(resolve))
        running--
        return 'new'
      }
      for (let round = 0; round < 3; round++) await Promise.all(keys.map((key) => rig.acme.getOrCompute(key, compute)))
      await rig.until(async () => (await rig.acme.stats()).pendingRefreshes === 0)
      expect([most <= 5, (await rig.acme.stats()).policies['default']!.computes]).toEqual([true, 1000])
    }))

  test('stale values are never promoted as fresh', () =>
    withRig('memory and fs', { policies: { default: { ...STALE, tiers: { hot: { ttl: '1m' } } } } }, async (rig) => {
      const { acme, clock } = rig
      await acme.set('k', 'old', { tiers: { hot: false } })
      await clock.advance(MINUTE)
      expect(await acme.getOrCompute('k', () => new Promise(() => undefined))).toBe('old')
      await clock.settle()
      expect([acme.peek('k'), await acme.get('k'), (await acme.lookup('k')).status]).toEqual([undefined, undefined, 'stale'])
    }))

  test('a tier with a shorter ttl holds nothing as stale while a slower one has it fresh', () =>
    withRig('memory and fs', { policies: { default: { ttl: '1h', staleWhileRevalidate: '1h', tiers: { hot: { ttl: '1m' } } } } }, async (rig) => {
      const { acme, clock } = rig
      await acme.set('k', 'v')
      await clock.advance(MINUTE)
      expect(await acme.lookup('k')).toMatchObject({ status: 'fresh', tier: 'warm' })
      expect(await acme.getOrCompute('k', () => 'not called')).toBe('v')
      expect((await acme.stats()).staleHits).toBe(0)
    }))
})

describe('options that cannot be', () => {
  const make = (policy: PolicyOptions, more = {}): TieredCacheManager => new TieredCacheManager({ tiers: { hot: { backend: new MemoryBackend() } }, policies: { p: policy }, logger: false, ...more })

  test.each<[PolicyOptions, RegExp]>([
    [{ softTimeout: '1s' }, /^policies\.p\.softTimeout needs a stale value to serve: give staleIfError or staleWhileRevalidate too, or use hardTimeout$/],
    [{ softTimeout: '1s', staleIfError: 0 }, /needs a stale value/],
    [{ softTimeout: '3s', hardTimeout: '2s', staleIfError: '1m' }, /^policies\.p\.softTimeout \(3000 ms\) must not be longer than hardTimeout \(2000 ms\)$/],
    [{ hardTimeout: 0 }, /^policies\.p\.hardTimeout must be longer than zero/],
    [{ jitter: 0.6 }, /^policies\.p\.jitter must be a number from 0 to 0\.5, the part of a ttl, not the number 0\.6$/],
    [{ jitter: -0.1 }, /^policies\.p\.jitter/],
    [{ jitter: Number.NaN }, /^policies\.p\.jitter/],
    [{ jitter: '10%' as never }, /^policies\.p\.jitter/],
    [{ earlyRefresh: { beta: 0 } }, /^policies\.p\.earlyRefresh\.beta must be a number greater than 0, such as 1, not the number 0$/],
    [{ earlyRefresh: { beta: -1 } }, /beta/],
    [{ earlyRefresh: { gamma: 1 } as never }, /^policies\.p\.earlyRefresh must be true, false or \{ beta \}/],
    [{ earlyRefresh: 'yes' as never }, /earlyRefresh/],
    [{ errorTtl: null as never }, /^policies\.p\.errorTtl must be a number of seconds.* not null$/],
    [{ staleIfError: -1 }, /^policies\.p\.staleIfError must be/],
    [{ staleWhileRevalidate: '10' }, /^policies\.p\.staleWhileRevalidate must be/],
  ])('%j', (policy, message) => {
    expect(() => make(policy)).toThrow(TypeError)
    expect(() => make(policy)).toThrow(message)
    return expect(make({}).tenant('acme').getOrCompute('k', () => 1, policy)).rejects.toThrow(TypeError)
  })

  test('refreshConcurrency, refresh, and options of the wrong verb', async () => {
    for (const wrong of [0, 1.5, '5', -1]) expect(() => make({}, { refreshConcurrency: wrong })).toThrow(/^refreshConcurrency must be a positive whole number/)
    const acme = make({}).tenant('acme')
    await expect(acme.getOrCompute('k', () => 1, { refresh: 'yes' as never })).rejects.toThrow(/^refresh must be true or false/)
    await expect(acme.get('k', { staleIfError: '1m' } as never)).rejects.toThrow(/does not know the option staleIfError/)
    await expect(acme.set('k', 1, { hardTimeout: '1s' } as never)).rejects.toThrow(/does not know the option hardTimeout/)
    await expect(acme.refresh('k', () => 1, { refresh: true } as never)).rejects.toThrow(/does not know the option refresh/)
    await expect(acme.getOrCompute('k', () => 1, { hardTimeout: '1s' })).resolves.toBe(1)
  })

  test('a call may be in more of a hurry than its policy', async () => {
    const acme = make({ staleIfError: '1m', softTimeout: '2s', hardTimeout: '10s' }).tenant('acme')
    expect(await acme.getOrCompute('p/k', () => 1, { hardTimeout: '1s' })).toBe(1)
    await expect(acme.getOrCompute('p/l', () => 1, { softTimeout: '11s' })).rejects.toThrow(/must not be longer than hardTimeout/)
  })

  test('a window without an end', async () => {
    const acme = make({ ttl: '1m', staleIfError: Number.POSITIVE_INFINITY }).tenant('acme')
    await acme.set('p/k', 1)
    expect(await acme.lookup('p/k')).toMatchObject({ status: 'fresh', staleUntil: expect.any(Number) as unknown })
  })
})

describe('health', () => {
  test('tells which tiers are left out, for what and why', () =>
    withRig('memory and fs', {}, async (rig) => {
      expect(await rig.cache.health()).toEqual({
        status: 'ok',
        tiers: {
          hot: { status: 'ok', backend: 'memory', leftOut: {}, pendingInvalidations: 0, keysInDoubt: 0 },
          warm: { status: 'ok', backend: 'fs', leftOut: {}, pendingInvalidations: 0, keysInDoubt: 0 },
        },
        coordination: { status: 'off' },
      })
      rig.faultsOf('warm').inject({ fail: 'unavailable' })
      await rig.acme.set('k', 1)
      const { status, tiers } = await rig.cache.health()
      expect([status, tiers['hot']!.status, tiers['warm']]).toEqual(['degraded', 'ok', { status: 'degraded', backend: 'fs', leftOut: { read: 'unavailable', write: 'unavailable' }, pendingInvalidations: 1, keysInDoubt: 0 }])
      rig.faultsOf('warm').heal()
      await rig.passUntil(async () => (await rig.cache.health()).status === 'ok')
      await expect(rig.cache.health({} as never)).rejects.toThrow(/takes no options/)
    }))
})

describe('flights that end otherwise than they began', () => {
  const policy = (options: PolicyOptions) => ({ policies: { default: options } })
  const pause = (ms = 20): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

  test('a stream that shared the value of a refresh and was left leaves no flight behind', () =>
    withRig('memory', policy({ ttl: '1s' }), async ({ acme, clock }) => {
      const gate = deferred<string>()
      const refreshing = acme.refresh('k', () => gate.promise)
      const streaming = acme.getOrComputeStream('k', () => ['not called'])
      await clock.settle()
      gate.resolve('old')
      const stream = await streaming
      stream.destroy()
      await refreshing
      await clock.advance(1000)
      expect(await acme.getOrCompute('k', () => 'new')).toBe('new')
    }))

  test('a flight that was detached and is given up later does nothing to its successor', () =>
    withRig('memory', policy({ ttl: '1h', errorTtl: '1m' }), async ({ acme, clock }) => {
      for (const end of ['left', 'timed out'] as const) {
        const controller = new AbortController()
        const first = acme.getOrCompute('k', () => new Promise<never>(() => undefined), end === 'left' ? { signal: controller.signal } : { hardTimeout: '1s' })
        first.catch(() => undefined)
        await clock.settle()
        await acme.delete('k')
        const gate = deferred<string>()
        const second = acme.getOrCompute('k', () => gate.promise)
        await clock.settle()
        controller.abort(new Error('enough'))
        await clock.advance(1000)
        gate.resolve('second')
        expect(await second).toBe('second')
        if (end === 'timed out') await expect(first).rejects.toMatchObject({ code: 'compute-timeout' })
        expect(await acme.get('k')).toBe('second')
        await acme.delete('k')
        expect(await acme.getOrCompute('k', () => 'third')).toBe('third') // no error is remembered
        await acme.delete('k')
      }
    }))

  test('what was computed since forgets a remembered error', () =>
    withRig('memory', policy({ ttl: '1s', staleWhileRevalidate: '3s', errorTtl: '1m' }), async (rig) => {
      const { acme, clock } = rig
      await acme.set('k', 'old')
      await clock.advance(1000)
      await acme.getOrCompute('k', () => Promise.reject(new Error('down')))
      await clock.settle()
      await clock.advance(1200)
      await acme.getOrCompute('k', () => 'new')
      await rig.until(async () => (await acme.get('k')) === 'new')
      await clock.advance(10_000)
      expect(await acme.getOrCompute('k', () => 'newer')).toBe('newer')
    }))

  test('what others leave out a caller with a stale value makes by its own function', () =>
    withRig('memory', policy({ ttl: '1s', staleIfError: '1h' }), async ({ acme, clock }) => {
      await acme.set('k', 'old')
      await clock.advance(1000)
      const gate = deferred()
      const many = acme.getOrComputeMany(['k'], () => gate.promise.then(() => new Map<string, string>()), { refresh: true })
      await clock.settle()
      const single = acme.getOrCompute('k', () => 'own')
      gate.resolve()
      expect([(await many).size, await single]).toEqual([0, 'own'])
    }))

  test('a refresh that hangs gives its place up after ten minutes, and a set of its key begins anew', () =>
    withRig('memory', { ...policy({ ttl: '1m', staleWhileRevalidate: '1h' }), refreshConcurrency: 1 }, async (rig) => {
      const { acme, clock } = rig
      await stale(rig, 'hangs', 'other')
      await acme.getOrCompute('hangs', () => new Promise(() => undefined))
      await clock.settle()
      await acme.getOrCompute('other', () => 'new')
      await clock.advance(599_000)
      expect(await acme.has('other')).toBe(false)
      await clock.advance(2000)
      await rig.until(async () => (await acme.get('other')) === 'new')
      await acme.set('hangs', 'set')
      await clock.advance(MINUTE)
      await acme.getOrCompute('hangs', () => 'new')
      await rig.until(async () => (await acme.get('hangs')) === 'new')
    }))

  test('a compute that hangs behind a soft timeout is given up too, and callers compute anew', () =>
    withRig('memory', policy({ ttl: '1m', staleIfError: '2m', softTimeout: '1s' }), async ({ acme, clock }) => {
      await acme.set('k', 'old')
      await clock.advance(MINUTE)
      const waiting = acme.getOrCompute('k', () => new Promise(() => undefined))
      await clock.advance(1000)
      expect(await waiting).toBe('old')
      await clock.advance(601_000)
      expect(await acme.getOrCompute('k', () => 'new')).toBe('new')
    }))

  test('expire makes no life longer, and takes the newest entry there is', () =>
    withRig('memory and fs', { ...policy({ ttl: '1h' }), tier: { hot: { maxTtl: null } } }, async (rig) => {
      const { acme, clock } = rig
      await acme.set('k', 'v1')
      const end = clock.now() + 3_600_000
      await clock.advance(1000)
      await acme.expire('k', { staleIfError: '10h' })
      expect(await acme.lookup('k', { staleIfError: '10h' })).toMatchObject({ status: 'stale', staleUntil: end })
      await acme.set('k', 'v1')
      await clock.advance(1000)
      const other = new TieredCacheManager({ tiers: { warm: { backend: rig.backends.warm! } }, clock: rig.clock, logger: false })
      await other.tenant('acme').set('k', 'v2')
      await acme.expire('k', { staleIfError: '10h' })
      expect(await acme.lookup('k', { staleIfError: '10h' })).toMatchObject({ status: 'stale', value: 'v2' })
      await rig.pass(other.close())
    }))

  test('a source that comes too late, or hangs before its first chunk, is closed', () =>
    withRig('memory', policy({ ttl: '1h', hardTimeout: '1s' }), async (rig) => {
      const { acme, clock } = rig
      const sources = [new Readable({ read: () => undefined }), new Readable({ read: () => undefined }), new Readable({ read: () => undefined })] as const
      const gate = deferred<Readable>()
      const late = acme.getOrComputeStream('late', () => gate.promise)
      const stalls = acme.getOrComputeStream('stalls', () => sources[1])
      const controller = new AbortController()
      const left = acme.getOrComputeStream('left', () => sources[2], { refresh: true, signal: controller.signal })
      for (const stream of [late, stalls, left]) stream.catch(() => undefined)
      await clock.settle()
      controller.abort(new Error('enough'))
      await expect(left).rejects.toThrow('enough')
      await clock.advance(1000)
      await expect(late).rejects.toMatchObject({ code: 'compute-timeout' })
      await expect(stalls).rejects.toMatchObject({ code: 'compute-timeout' })
      gate.resolve(sources[0])
      await rig.until(() => sources.every(({ destroyed }) => destroyed))
    }))

  test('a caller who leaves a stream that is refreshed does not end it', () =>
    withRig('memory', policy({ ttl: '1m', staleWhileRevalidate: '1h' }), async (rig) => {
      const { acme } = rig
      await stale(rig, 'k')
      const gate = deferred()
      const produce = async function* (): AsyncGenerator<string> {
        yield 'n'
        await gate.promise
        yield 'ew'
      }
      ;(await acme.getOrComputeStream('k', produce)).destroy()
      await pause()
      const joined = await acme.getOrComputeStream('k', produce, { refresh: true })
      joined.destroy()
      await pause()
      gate.resolve()
      await rig.until(async () => (await acme.lookup('k')).status === 'fresh')
      expect(String(await acme.get('k'))).toBe('new')
      expect((await acme.stats()).policies['default']!.refreshesGivenUp).toBe(0)
    }))

  test('a value whose stream has passed is not computed under a flight that ends before: a delete stays', () =>
    withRig('memory', policy({ ttl: '1m', staleIfError: '1h' }), async (rig) => {
      const { acme, clock } = rig
      await stale(rig, 'k')
      const gate = deferred()
      const produce = async function* (): AsyncGenerator<Uint8Array> {
        for (let n = 0; n < 12; n++) yield Buffer.alloc(1024 ** 2)
        await gate.promise
      }
      const stream = await acme.getOrComputeStream('k', produce, { refresh: true })
      const reading = stream.resume()
      await pause(200)
      const slow = deferred<string>()
      const waiting = acme.getOrCompute('k', () => slow.promise, { softTimeout: '1s' })
      await clock.settle()
      gate.resolve()
      await new Promise((resolve) => reading.once('close', resolve))
      await clock.advance(1000)
      await waiting
      await acme.delete('k')
      slow.resolve('from before the delete')
      await clock.settle()
      expect(await acme.lookup('k')).toEqual({ status: 'miss' })
    }))

  test('what others leave out behind a soft timeout: this caller\'s own compute goes on, is stored and told', () =>
    withRig('memory', policy({ ttl: '1m', staleIfError: '1h' }), async (rig) => {
      const { acme, clock, cache } = rig
      const told: unknown[] = []
      cache.on('refresh', (event) => told.push(event))
      cache.on('error', (event) => told.push(event))
      for (const [key, refresh] of [['a', true], ['b', false]] as const) {
        await stale(rig, key)
        const leavesOut = deferred()
        const many = acme.getOrComputeMany([key], () => leavesOut.promise.then(() => new Map<string, string>()), { refresh, softTimeout: '10ms' })
        many.catch(() => undefined)
        await clock.advance(20) // one of them goes on in the background
        const gate = deferred<string>()
        let signal: AbortSignal | undefined
        const single = acme.getOrCompute(key, (ctx) => ((signal = ctx.signal), gate.promise), { softTimeout: '1s' })
        await clock.settle()
        leavesOut.resolve()
        await clock.settle()
        await clock.advance(1000)
        expect(await single).toBe('old')
        gate.resolve('own')
        await rig.until(async () => (await acme.get(key)) === 'own')
        expect(signal!.aborted).toBe(false)
      }
      expect(told).toMatchObject([{ key: 'a' }, { key: 'b' }])
      expect(told.every((event) => !('error' in (event as object)))).toBe(true)
    }))

  test('the same for a stream, which is stored though nobody reads it', () =>
    withRig('memory', policy({ ttl: '1m', staleIfError: '1h' }), async (rig) => {
      const { acme, clock } = rig
      await stale(rig, 'k')
      const leavesOut = deferred()
      const many = acme.getOrComputeMany(['k'], () => leavesOut.promise.then(() => new Map<string, string>()), { refresh: true })
      await clock.settle()
      const gate = deferred()
      const streaming = acme.getOrComputeStream('k', async function* () {
        await gate.promise
        yield 'own'
      }, { softTimeout: '1s' })
      leavesOut.resolve()
      await many
      await clock.settle()
      await clock.advance(1000)
      expect(String(Buffer.concat(await (await streaming).toArray() as Uint8Array[]))).toBe('old')
      gate.resolve()
      await rig.until(async () => String(await acme.get('k')) === 'own')
    }))

  test('a soft timeout over a stream that others make and leave: it goes on and is stored', () =>
    withRig('memory', policy({ ttl: '1m', staleIfError: '1h' }), async (rig) => {
      const { acme, clock } = rig
      await stale(rig, 'k')
      const gate = deferred()
      const stream = await acme.getOrComputeStream('k', async function* () {
        yield 'n'
        await gate.promise
        yield 'ew'
      }, { refresh: true })
      const value = acme.getOrCompute('k', () => 'not called', { softTimeout: '1s' })
      await clock.settle()
      stream.destroy()
      await clock.advance(1000)
      expect(await value).toBe('old')
      await pause()
      gate.resolve()
      await rig.until(async () => String(await acme.get('k')) === 'new')
    }))

  test('a generator that is given up before its first chunk runs its finally', () =>
    withRig('memory', policy({ ttl: '1h', hardTimeout: '1s' }), async (rig) => {
      const { acme, clock } = rig
      const gate = deferred()
      let isClosed = false
      const waiting = acme.getOrComputeStream('k', async function* () {
        try {
          await gate.promise
          yield 'late'
        } finally {
          isClosed = true
        }
      })
      waiting.catch(() => undefined)
      await clock.settle()
      await clock.advance(1000)
      await expect(waiting).rejects.toMatchObject({ code: 'compute-timeout' })
      gate.resolve()
      await rig.until(() => isClosed)
    }))
})
