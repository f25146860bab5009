import { buffer, text } from 'node:stream/consumers'
import { describe, expect, test } from '@jest/globals'
import { TieredCacheManager, type CacheEvents, type PolicyOptions, type TenantCache, type TieredCacheManagerOptions, type TierOptions } from '@thermocline/core'
import { NetworkClock } from './network-clock.js'
import { deferred } from './rig.js'
import { until } from './servers/until.js'

const MINUTE = 60_000
/** Fresh for a minute, then stale for two while one refresh runs, then for two more if computing fails. */
const WINDOWS: PolicyOptions = { ttl: '1m', staleWhileRevalidate: '2m', staleIfError: '4m' }
const IF_ERROR: PolicyOptions = { ttl: '1m', staleIfError: '4m' }

/** A manager on a clock that tests move, and what it told. */
export class StaleStage {
  readonly clock = new NetworkClock(Date.now())
  readonly cache: TieredCacheManager
  readonly acme: TenantCache
  readonly stale: CacheEvents['stale'][] = []
  readonly refreshes: CacheEvents['refresh'][] = []

  constructor(tiers: Readonly<Record<string, TierOptions>>, policy: PolicyOptions, options: Partial<TieredCacheManagerOptions> = {}) {
    const watched = Object.fromEntries(Object.entries(tiers).map(([name, tier]) => [name, { budget: '1d', ...tier, layers: tier.backend.name === 'memory' ? [] : [this.clock.layer] }]))
    for (const { backend } of Object.values(tiers)) this.clock.watchCoordination(backend)
    this.cache = new TieredCacheManager({ tiers: watched, policies: { default: policy }, clock: this.clock, logger: false, ...options })
    this.cache.on('refresh', (event) => this.refreshes.push(event))
    this.acme = this.cache.tenant('acme')
  }

  /** Told of stale values from now on: without a listener, memory answers the short way. */
  listen(): void {
    this.cache.on('stale', (event) => this.stale.push(event))
  }

  /** A compute that returns values in turn; an error is thrown. */
  counting(...values: readonly unknown[]): { (): unknown; calls: number } {
    const compute = (): unknown => {
      const value = values[Math.min(compute.calls++, values.length - 1)]
      if (value instanceof Error) throw value
      return value
    }
    compute.calls = 0
    return compute
  }

  async refreshed(times = 1): Promise<void> {
    await until('it was refreshed', async () => {
      await this.clock.settle()
      return this.refreshes.length >= times
    })
  }

  async end(): Promise<void> {
    const closing = this.cache.close()
    await this.clock.advance(5000)
    await closing
  }
}

export interface StaleSubject {
  readonly tiers: Readonly<Record<string, TierOptions>>
  /** How the policies of all tests use them. */
  readonly uses?: PolicyOptions['tiers']
  readonly cleanUp?: () => Promise<void>
}

/** Everything about values that are not fresh any more, on tiers of a kind. */
export function describeStaleness(name: string, create: () => Promise<StaleSubject> | StaleSubject): void {
  const staged = (policy: PolicyOptions, body: (stage: StaleStage) => Promise<void>, options?: Partial<TieredCacheManagerOptions>) => async (): Promise<void> => {
    const { tiers, uses, cleanUp } = await create()
    const stage = new StaleStage(tiers, { ...policy, tiers: uses }, options)
    try {
      await body(stage)
    } finally {
      await stage.end()
      await cleanUp?.()
    }
  }

  describe(`stale values, on ${name}`, () => {
    test('an old value is served at once while one refresh runs behind', staged(WINDOWS, async (stage) => {
      const { acme, clock } = stage
      stage.listen()
      await acme.getOrCompute('k', () => 'old')
      await clock.advance(MINUTE)
      const gate = deferred<string>()
      let computes = 0
      const compute = (): Promise<string> => {
        computes++
        return gate.promise
      }
      expect(await acme.getOrCompute('k', compute)).toBe('old')
      await clock.settle()
      expect(await Promise.all(Array.from({ length: 5 }, () => acme.getOrCompute('k', compute)))).toEqual(Array.from({ length: 5 }, () => 'old'))
      expect(computes).toBe(1)
      gate.resolve('new')
      await stage.refreshed()
      expect(await acme.getOrCompute('k', () => 'other')).toBe('new')
      expect(await acme.get('k')).toBe('new')
      expect(stage.stale.map(({ reason }) => reason)).toEqual(Array.from({ length: 6 }, () => 'revalidate'))
      const { staleHits, hits, misses, policies } = await acme.stats()
      expect({ staleHits, hits, misses, refreshes: policies['default']!.refreshes }).toEqual({ staleHits: 6, hits: 2, misses: 1, refreshes: 1 })
    }))

    test('without a listener too', staged(WINDOWS, async (stage) => {
      const { acme, clock } = stage
      await acme.set('k', 'old')
      expect(await acme.get('k')).toBe('old')
      await clock.advance(MINUTE)
      const compute = stage.counting('new')
      expect(await Promise.all([1, 2, 3].map(() => acme.getOrCompute('k', compute)))).toEqual(['old', 'old', 'old'])
      await stage.refreshed()
      expect([await acme.getOrCompute('k', compute), compute.calls]).toEqual(['new', 1])
      expect((await acme.stats()).staleHits).toBe(3)
    }))

    test('it is a miss for get, getMany, has and peek, and stale for lookup, which says until when', staged(WINDOWS, async ({ acme, clock }) => {
      const createdAt = clock.now()
      await acme.set('k', 'old', { metadata: { a: 'b' } })
      expect(await acme.lookup('k')).toMatchObject({ status: 'fresh', expiresAt: createdAt + MINUTE, staleUntil: createdAt + 5 * MINUTE })
      await clock.advance(MINUTE)
      expect([await acme.get('k'), await acme.has('k'), acme.peek('k'), (await acme.getMany(['k'])).size]).toEqual([undefined, false, undefined, 0])
      expect(await acme.getStream('k')).toBeUndefined()
      expect(await acme.lookup('k')).toMatchObject({ status: 'stale', value: 'old', createdAt, expiresAt: createdAt + MINUTE, staleUntil: createdAt + 5 * MINUTE, metadata: { a: 'b' } })
      expect(await acme.lookup('k', { value: false })).toMatchObject({ status: 'stale' })
      expect(await acme.lookup('k', { staleIfError: 0, staleWhileRevalidate: 0 })).toEqual({ status: 'miss' })
      await clock.advance(4 * MINUTE)
      expect(await acme.lookup('k')).toEqual({ status: 'miss' })
    }))

    test('when its window is over a caller waits for the compute', staged(WINDOWS, async ({ acme, clock }) => {
      await acme.set('k', 'old')
      await clock.advance(3 * MINUTE)
      expect(await acme.getOrCompute('k', () => 'new')).toBe('new')
    }))

    test('the reader decides how old it may be', staged(WINDOWS, async ({ acme, clock }) => {
      await acme.set('k', 'old')
      await clock.advance(MINUTE)
      expect(await acme.getOrCompute('k', () => 'new', { staleWhileRevalidate: 0 })).toBe('new')
      await acme.set('l', 'old', { staleWhileRevalidate: 0, staleIfError: 0 })
      await clock.advance(MINUTE)
      expect(await acme.getOrCompute('l', () => 'new')).toBe('new')
    }))

    test('it is served when the compute fails, and only then', staged(IF_ERROR, async (stage) => {
      const { acme, clock } = stage
      stage.listen()
      await acme.set('k', 'old')
      await clock.advance(MINUTE)
      expect(await acme.getOrCompute('k', stage.counting(new Error('down')))).toBe('old')
      expect(stage.stale).toMatchObject([{ key: 'k', reason: 'error' }])
      expect(await acme.getOrCompute('k', () => 'new')).toBe('new')
      await clock.advance(5 * MINUTE)
      await expect(acme.getOrCompute('k', stage.counting(new Error('down again')))).rejects.toThrow('down again')
    }))

    test('it is not served after a delete, a set or a clear, even to a compute that began before', staged(IF_ERROR, async (stage) => {
      const { acme, clock } = stage
      for (const [key, change] of [['a', () => acme.delete('a')], ['b', () => acme.clear('b')]] as const) {
        await acme.set(key, 'old')
        await clock.advance(MINUTE)
        const gate = deferred<string>()
        const waiting = acme.getOrCompute(key, () => gate.promise)
        waiting.catch(() => undefined)
        await clock.settle()
        await change()
        gate.reject(new Error('down'))
        await expect(waiting).rejects.toThrow('down')
        expect(await acme.lookup(key)).toEqual({ status: 'miss' })
      }
      await acme.set('c', 'old')
      await clock.advance(MINUTE)
      const gate = deferred<string>()
      const waiting = acme.getOrCompute('c', () => gate.promise)
      await clock.settle()
      await acme.set('c', 'set meanwhile')
      gate.reject(new Error('down'))
      expect(await waiting).toBe('set meanwhile')
    }))

    test('a refresh that began before a delete or set brings nothing back', staged(WINDOWS, async (stage) => {
      const { acme, clock } = stage
      await acme.set('k', 'old')
      await acme.set('l', 'old')
      await clock.advance(MINUTE)
      const gate = deferred<string>()
      const old = await Promise.all(['k', 'l'].map((key) => acme.getOrCompute(key, () => gate.promise)))
      expect(old).toEqual(['old', 'old'])
      await clock.settle()
      await Promise.all([acme.delete('k'), acme.set('l', 'set')])
      gate.resolve('refreshed')
      await until('they have ended', async () => (await acme.stats()).pendingRefreshes === 0)
      expect(stage.refreshes).toEqual([]) // nothing has come of them
      expect([await acme.lookup('k'), await acme.get('l')]).toEqual([{ status: 'miss' }, 'set'])
    }))

    test('softTimeout: callers get it when the compute takes long, which goes on and is stored', staged({ ...IF_ERROR, softTimeout: '1s' }, async (stage) => {
      const { acme, clock } = stage
      stage.listen()
      await acme.set('k', 'old')
      await clock.advance(MINUTE)
      const gate = deferred<string>()
      const waiting = acme.getOrCompute('k', () => gate.promise)
      await clock.advance(999)
      const late = acme.getOrCompute('k', () => 'not called')
      await clock.advance(1)
      expect([await waiting, await late]).toEqual(['old', 'old'])
      expect(await acme.getOrCompute('k', () => 'not called')).toBe('old')
      gate.resolve('new')
      await until('it is stored', async () => (await acme.get('k')) === 'new')
      expect(stage.stale.map(({ reason }) => reason)).toEqual(['timeout', 'timeout', 'timeout'])
      await until('it was a refresh', async () => (await acme.stats()).policies['default']!.refreshes === 1)
      expect((await acme.stats()).policies['default']).toMatchObject({ computes: 1, hardTimeouts: 0 })
      // one that is quick is waited for
      await clock.advance(2 * MINUTE)
      expect(await acme.getOrCompute('k', () => 'quick')).toBe('quick')
    }))

    test('hardTimeout: the signal fires, the result is dropped, and callers are told', staged({ ttl: '1m', hardTimeout: '2s' }, async ({ acme, clock }) => {
      const gate = deferred<string>()
      let signal: AbortSignal | undefined
      const waiting = acme.getOrCompute('k', (ctx) => {
        signal = ctx.signal
        return gate.promise
      })
      waiting.catch(() => undefined)
      await clock.advance(1999)
      expect(signal?.aborted).toBe(false)
      await clock.advance(1)
      await expect(waiting).rejects.toMatchObject({ code: 'compute-timeout', message: expect.stringContaining('2000 ms') as unknown })
      expect(signal?.reason).toMatchObject({ code: 'compute-timeout' })
      gate.resolve('too late')
      await clock.settle()
      expect(await acme.has('k')).toBe(false)
      expect(await acme.getOrCompute('k', () => 'next')).toBe('next')
      expect((await acme.stats()).policies['default']!.hardTimeouts).toBe(1)
    }))

    test('hardTimeout with a stale value: that is served', staged({ ...IF_ERROR, hardTimeout: '2s' }, async ({ acme, clock }) => {
      await acme.set('k', 'old')
      await clock.advance(MINUTE)
      const gate = deferred<string>()
      const waiting = acme.getOrCompute('k', () => gate.promise)
      await clock.advance(2000)
      expect(await waiting).toBe('old')
      gate.resolve('too late')
      await clock.settle()
      expect(await acme.lookup('k')).toMatchObject({ status: 'stale', value: 'old' })
    }))

    test('errorTtl: an error is thrown again without computing; set, delete, clear and refresh forget it', staged({ ttl: '1m', errorTtl: '30s' }, async (stage) => {
      const { acme, clock } = stage
      const down = new Error('down')
      const compute = stage.counting(down)
      await expect(acme.getOrCompute('k', compute)).rejects.toBe(down)
      await expect(acme.getOrCompute('k', () => 'another function')).rejects.toBe(down)
      expect(compute.calls).toBe(1)
      await clock.advance(30_000)
      expect(await acme.getOrCompute('k', () => 'after it')).toBe('after it')
      const forgetters = [() => acme.delete('k'), () => acme.clear(''), () => acme.set('k', 'set'), () => acme.refresh('k', () => 'refreshed')]
      for (const [at, forget] of forgetters.entries()) {
        await acme.delete('k')
        await expect(acme.getOrCompute('k', compute)).rejects.toBe(down)
        await forget()
        expect(await acme.getOrCompute('k', () => 'computed')).toBe(['computed', 'computed', 'set', 'refreshed'][at])
      }
      // what was not to be cached is not remembered either, nor whose callers have left
      await acme.delete('k')
      const uncached = acme.getOrCompute('k', ({ doNotCache }) => {
        doNotCache()
        throw down
      })
      await expect(uncached).rejects.toBe(down)
      expect(await acme.getOrCompute('k', () => 'computed')).toBe('computed')
    }))

    test('errorTtl: a usable stale value goes before the error', staged({ ...IF_ERROR, errorTtl: '30s' }, async (stage) => {
      const { acme, clock } = stage
      await acme.set('k', 'old')
      await clock.advance(MINUTE)
      const compute = stage.counting(new Error('down'), 'new')
      expect([await acme.getOrCompute('k', compute), await acme.getOrCompute('k', compute)]).toEqual(['old', 'old'])
      expect(compute.calls).toBe(1)
      await clock.advance(30_000)
      expect(await acme.getOrCompute('k', compute)).toBe('new')
    }))

    test('a refresh that fails rests, twice as long each time, and the old value goes on being served', staged(WINDOWS, async (stage) => {
      const { acme, clock } = stage
      await acme.set('k', 'old')
      await clock.advance(MINUTE)
      const compute = stage.counting(new Error('down'))
      const ask = async (): Promise<number> => {
        expect(await acme.getOrCompute('k', compute)).toBe('old')
        await clock.settle()
        return compute.calls
      }
      expect(await ask()).toBe(1)
      await stage.refreshed(1)
      expect(await ask()).toBe(1)
      await clock.advance(1000)
      expect(await ask()).toBe(2)
      await stage.refreshed(2)
      await clock.advance(1999)
      expect(await ask()).toBe(2)
      await clock.advance(1)
      expect(await ask()).toBe(3)
      await stage.refreshed(3)
      expect(stage.refreshes.every(({ error }) => error instanceof Error && error.message === 'down')).toBe(true)
      expect((await acme.stats()).policies['default']).toMatchObject({ refreshes: 0, refreshesGivenUp: 3 })
    }))

    test('only so many keys are refreshed at once', staged(WINDOWS, async (stage) => {
      const { acme, clock } = stage
      const keys = Array.from({ length: 20 }, (_, n) => `k${n}`)
      await Promise.all(keys.map((key) => acme.set(key, 'old')))
      await clock.advance(MINUTE)
      let running = 0
      let most = 0
      const compute = async (): Promise<string> => {
        most = Math.max(most, ++running)
        await new Promise((resolve) => setTimeout(resolve, 2))
        running--
        return 'new'
      }
      expect(new Set(await Promise.all(keys.map((key) => acme.getOrCompute(key, compute))))).toEqual(new Set(['old']))
      await stage.refreshed(20)
      expect(most).toBeLessThanOrEqual(3)
      expect(new Set((await acme.getMany(keys)).values())).toEqual(new Set(['new']))
    }, { refreshConcurrency: 3 }))

    test('refresh makes a new value, which others share, and others are served what is there until then', staged({ ttl: '1h' }, async (stage) => {
      const { acme, clock } = stage
      await acme.set('k', 'old')
      const gate = deferred<string>()
      let computes = 0
      const compute = (): Promise<string> => {
        computes++
        return gate.promise
      }
      const refreshes = [acme.refresh('k', compute), acme.getOrCompute('k', compute, { refresh: true }), stage.cache.refresh('k', compute, { tenant: 'acme' })]
      await clock.settle()
      expect(await acme.getOrCompute('k', () => 'not called')).toBe('old')
      gate.resolve('new')
      expect(await Promise.all(refreshes)).toEqual(['new', 'new', 'new'])
      expect([await acme.get('k'), computes]).toEqual(['new', 1])
      // whoever finds nothing joins it
      const cold = deferred<string>()
      const first = acme.refresh('cold', () => cold.promise)
      await clock.settle()
      const second = acme.getOrCompute('cold', () => 'not called')
      await clock.settle()
      cold.resolve('shared')
      expect([await first, await second]).toEqual(['shared', 'shared'])
      // and one that fails changes nothing
      await expect(acme.refresh('k', stage.counting(new Error('down')))).rejects.toThrow('down')
      expect(await acme.get('k')).toBe('new')
    }))

    test('expire: not fresh any more, still there as stale', staged(WINDOWS, async (stage) => {
      const { acme, clock } = stage
      await acme.set('k', { a: 1 }, { tags: ['t'], metadata: { m: '1' } })
      await clock.advance(1000)
      const at = clock.now()
      expect(await acme.expire('k')).toBe(true)
      expect([await acme.get('k'), await acme.has('k')]).toEqual([undefined, false])
      expect(await acme.lookup('k')).toMatchObject({ status: 'stale', value: { a: 1 }, expiresAt: at, staleUntil: at + 4 * MINUTE, tags: ['t'], metadata: { m: '1' } })
      expect(await acme.getOrCompute('k', () => 'new')).toEqual({ a: 1 })
      await stage.refreshed()
      expect(await acme.get('k')).toBe('new')
      // at once after a set; again; of nothing
      await acme.set('l', 'l')
      await acme.expire('l')
      expect(await acme.lookup('l')).toMatchObject({ status: 'stale' })
      await clock.advance(MINUTE)
      await acme.expire('l')
      expect(await acme.lookup('l')).toMatchObject({ status: 'stale', expiresAt: clock.now() - MINUTE })
      expect(await acme.expire('nothing')).not.toBe(true)
      expect(await acme.lookup('nothing')).toEqual({ status: 'miss' })
    }))

    test('expire stops what began before, and gives way to what is called later', staged(WINDOWS, async ({ acme, clock }) => {
      const gate = deferred<string>()
      const computing = acme.getOrCompute('k', () => gate.promise)
      await clock.settle()
      await acme.expire('k')
      gate.resolve('begun before')
      expect(await computing).toBe('begun before')
      expect(await acme.has('k')).toBe(false)
      await acme.set('l', 'old')
      await Promise.all([acme.expire('l'), acme.set('l', 'newer')])
      expect(await acme.get('l')).toBe('newer')
      await Promise.all([acme.expire('l'), acme.delete('l')])
      expect(await acme.lookup('l')).toEqual({ status: 'miss' })
    }))

    test('expire without a window deletes', staged({ ttl: '1m' }, async ({ acme }) => {
      await acme.set('k', 'old')
      expect(await acme.expire('k')).not.toBe(false)
      expect(await acme.lookup('k')).toEqual({ status: 'miss' })
      await acme.set('k', 'old', { staleIfError: '1m' })
      await acme.expire('k', { staleIfError: '1m' })
      expect(await acme.lookup('k', { staleIfError: '1m' })).toMatchObject({ status: 'stale', value: 'old' })
    }))

    test('jitter shortens a ttl, of set too, by at most its part', staged({ ttl: '1000s', jitter: 0.5 }, async ({ acme, clock }) => {
      const lives = async (keys: readonly string[]): Promise<number[]> => Promise.all(keys.map(async (key) => ((await acme.lookup(key)) as { expiresAt: number }).expiresAt - clock.now()))
      const keys = Array.from({ length: 30 }, (_, n) => `k${n}`)
      await Promise.all(keys.map((key, n) => (n % 2 === 0 ? acme.set(key, n) : acme.getOrCompute(key, () => n))))
      const found = await lives(keys)
      expect(new Set(found).size).toBeGreaterThan(10)
      expect([Math.min(...found) >= 500_000, Math.max(...found) <= 1_000_000]).toEqual([true, true])
      await acme.set('exact', 1, { jitter: 0 })
      await acme.set('ever', 1, { ttl: null })
      expect([await lives(['exact']), (await acme.lookup('ever')) as unknown]).toMatchObject([[1_000_000], { expiresAt: null }])
    }))

    test('earlyRefresh makes a fresh value anew before its end, sooner the dearer it was', staged({ ttl: '1m', earlyRefresh: { beta: 2 } }, async (stage) => {
      const { acme, clock } = stage
      const dear = acme.getOrCompute('dear', async () => {
        await clock.advance(1000)
        return 'old'
      })
      expect(await dear).toBe('old')
      await acme.set('cheap', 'old') // a set has cost nothing
      await clock.advance(30_000)
      const compute = stage.counting('new')
      for (let n = 0; n < 50; n++) await acme.getOrCompute('dear', compute)
      await clock.settle()
      expect([compute.calls, stage.refreshes.length]).toEqual([0, 0]) // 30 s before its end the chance is e^-15 a call
      await clock.advance(27_900)
      for (let n = 0; n < 50 && stage.refreshes.length === 0; n++) {
        expect(['old', 'new']).toContain(await acme.getOrCompute('dear', compute))
        await acme.getOrCompute('cheap', compute)
        await clock.settle()
      }
      await stage.refreshed()
      expect([await acme.get('dear'), await acme.get('cheap'), compute.calls]).toEqual(['new', 'old', 1])
    }))

    test('streams: an old one is served at once while one refresh runs behind', staged(WINDOWS, async (stage) => {
      const { acme, clock } = stage
      stage.listen()
      expect(await text(await acme.getOrComputeStream('k', () => ['old']))).toBe('old')
      await clock.advance(MINUTE)
      let computes = 0
      const produce = (): string[] => {
        computes++
        return ['n', 'ew']
      }
      expect(await text(await acme.getOrComputeStream('k', produce))).toBe('old')
      await stage.refreshed()
      expect([await text(await acme.getOrComputeStream('k', produce)), computes]).toEqual(['new', 1])
      expect(await text((await acme.getStream('k'))!)).toBe('new')
      expect(stage.stale).toMatchObject([{ reason: 'revalidate' }])
    }))

    test('streams: an old one is served when the new one fails before its first chunk, or takes too long for that', staged({ ...IF_ERROR, softTimeout: '1s', hardTimeout: '3s' }, async (stage) => {
      const { acme, clock } = stage
      stage.listen()
      await acme.setStream('k', ['old'])
      await clock.advance(MINUTE)
      const failing = async function* (): AsyncGenerator<string> {
        await Promise.resolve()
        if (computes++ >= 0) throw new Error('down')
        yield ''
      }
      let computes = 0
      expect(await text(await acme.getOrComputeStream('k', failing))).toBe('old')
      expect(await text(await acme.getOrComputeStream('k', () => Promise.reject(new Error('down'))))).toBe('old')
      const gate = deferred<string[]>()
      const waiting = acme.getOrComputeStream('k', () => gate.promise)
      await clock.advance(1000)
      expect(await text(await waiting)).toBe('old')
      gate.resolve(['new'])
      await until('it is stored', async () => (await acme.get('k')) !== undefined)
      expect(await buffer((await acme.getStream('k'))!)).toEqual(Buffer.from('new'))
      expect(stage.stale.map(({ reason }) => reason)).toEqual(['error', 'error', 'timeout'])
      await clock.advance(MINUTE)
      const hanging = acme.getOrComputeStream('k', () => new Promise<never>(() => undefined), { softTimeout: '3s' })
      await clock.advance(3000)
      expect(await text(await hanging)).toBe('new')
    }))

    test('streams: hardTimeout ends one that hangs, before and after its first chunk', staged({ ttl: '1m', hardTimeout: '2s', errorTtl: '10s' }, async (stage) => {
      const { acme, clock } = stage
      const waiting = acme.getOrComputeStream('k', () => new Promise<never>(() => undefined))
      waiting.catch(() => undefined)
      await clock.advance(2000)
      await expect(waiting).rejects.toMatchObject({ code: 'compute-timeout' })
      await expect(acme.getOrComputeStream('k', () => ['not called'])).rejects.toMatchObject({ code: 'compute-timeout' })
      const hanging = async function* (): AsyncGenerator<string> {
        yield 'first'
        await new Promise(() => undefined)
      }
      clock.waits = false // for puts, which wait for the source
      const readable = await acme.getOrComputeStream('l', hanging)
      const read = text(readable)
      read.catch(() => undefined)
      await clock.advance(2000)
      await expect(read).rejects.toMatchObject({ code: 'compute-timeout' })
      expect(await acme.has('l')).toBe(false)
      expect((await acme.stats()).policies['default']!.hardTimeouts).toBe(2)
    }))

    test('streams: refresh and expire', staged(WINDOWS, async (stage) => {
      const { acme, clock } = stage
      const large = Buffer.alloc(300_000, 7)
      await acme.setStream('k', [large])
      expect(await acme.expire('k')).toBe(true)
      expect(await acme.getStream('k')).toBeUndefined()
      expect(await buffer(await acme.getOrComputeStream('k', () => ['new']))).toEqual(large)
      await stage.refreshed()
      expect(await text(await acme.getOrComputeStream('k', () => ['forced'], { refresh: true }))).toBe('forced')
      await until('it is stored', async () => (await acme.lookup('k')).status === 'fresh' && (await text((await acme.getStream('k'))!)) === 'forced')
      // a value that is refreshed as a stream, and the other way round
      await clock.advance(MINUTE)
      expect(Buffer.from((await acme.getOrCompute('k', () => Buffer.from('as a value'))) as Uint8Array).toString()).toBe('forced')
      await stage.refreshed(2)
      expect(await text((await acme.getStream('k'))!)).toBe('as a value')
    }))

    test('in real time, with the stores\' own expiry', async () => {
      const { tiers, uses, cleanUp } = await create()
      const cache = new TieredCacheManager({ tiers, policies: { default: { tiers: uses, ttl: '300ms', staleWhileRevalidate: '1m', staleIfError: '2m', softTimeout: '100ms' } }, logger: false })
      const acme = cache.tenant('acme')
      await acme.set('k', 'old')
      await acme.set('slow', 'old')
      await until('its ttl is over', async () => (await acme.lookup('k')).status === 'stale' && (await acme.lookup('slow')).status === 'stale')
      expect(await acme.get('k')).toBeUndefined()
      expect(await acme.getOrCompute('k', () => 'new', { ttl: '1h' })).toBe('old')
      await until('it was refreshed', async () => (await acme.get('k')) === 'new')
      const slow = deferred<string>()
      expect(await acme.getOrCompute('slow', () => slow.promise, { staleWhileRevalidate: 0, ttl: '1h' })).toBe('old')
      slow.resolve('new')
      await until('it is stored', async () => (await acme.get('slow')) === 'new')
      await cache.close()
      await cleanUp?.()
    })

    test('get takes a default for a miss', staged({ ttl: '1m' }, async ({ acme, cache }) => {
      await acme.set('undefined', undefined)
      expect([await acme.get('nothing', { default: 0 }), await acme.get('undefined', { default: 0 }), await cache.get('nothing', { tenant: 'acme', default: 'd' })]).toEqual([0, undefined, 'd'])
    }))
  })
}
