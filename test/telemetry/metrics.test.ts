import { afterEach, describe, expect, test } from '@jest/globals'
import { MemoryBackend } from '@thermocline/memory'
import { STACKS, withRig, type Rig } from '../support/rig.js'
import { Sdk, unregister } from './sdk.js'

afterEach(unregister)

const HOT = { tier: 'hot', backend: 'memory' }
const WARM = { tier: 'warm', backend: 'fs' }

describe('counters', () => {
  test('hits, misses and promotions by tier, backend and policy', () =>
    withRig('memory and fs', { policies: { docs: {} } }, async ({ acme, clock }) => {
      const sdk = new Sdk()
      await sdk.register()
      await acme.set('docs/1', 1)
      await acme.get('docs/1')
      await acme.get('docs/1')
      await acme.get('nothing')
      await clock.advance(61_000) // past what memory serves above a shared tier
      await acme.getOrCompute('docs/1', () => 2)
      const byTier = (tier: string) => (a: { attributes: { tier?: unknown } }) => a.attributes.tier === tier
      expect((await sdk.points('cache.hits')).filter(byTier('hot'))).toEqual([{ value: 2, attributes: { ...HOT, policy: 'docs' } }])
      expect((await sdk.points('cache.hits')).filter(byTier('warm'))).toEqual([{ value: 1, attributes: { ...WARM, policy: 'docs' } }])
      expect(await sdk.points('cache.misses')).toEqual(
        expect.arrayContaining([
          { value: 1, attributes: { ...HOT, policy: 'default' } },
          { value: 1, attributes: { ...HOT, policy: 'docs' } },
          { value: 1, attributes: { ...WARM, policy: 'default' } },
        ]),
      )
      expect(await sdk.points('cache.promotions')).toEqual([{ value: 1, attributes: { ...HOT, policy: 'docs' } }])
    }))

  test('evictions by tier and backend', () =>
    withRig('memory', { tier: { hot: { backend: new MemoryBackend({ maxEntries: 2 }) } } }, async ({ acme }) => {
      const sdk = new Sdk()
      await sdk.register()
      for (let i = 0; i < 5; i++) await acme.set(`k${i}`, i)
      await acme.get('k4')
      expect(await sdk.points('cache.evictions')).toEqual([expect.objectContaining({ value: 3, attributes: expect.objectContaining({ ...HOT, policy: 'default' }) })])
    }))

  test('errors by tier, backend, operation and reason', () =>
    withRig('fs', {}, async (rig) => {
      const sdk = new Sdk()
      await sdk.register()
      rig.faultsOf('warm').inject({ fail: 'failed' }, 'get')
      await rig.pass(rig.acme.get('k'))
      expect(await sdk.points('cache.errors')).toEqual([{ value: 1, attributes: expect.objectContaining({ ...WARM, operation: 'get', reason: 'failed', policy: 'default' }) }])
    }))

  test('stale hits, refreshes by outcome and time limits by kind, apart from hits and misses; the span says why', () =>
    withRig('memory', { policies: { docs: { ttl: '1m', staleWhileRevalidate: '1m', staleIfError: '2m', softTimeout: '1s' } } }, async (rig) => {
      const { acme, clock } = rig
      const sdk = new Sdk()
      await sdk.register()
      await acme.set('docs/1', 'old')
      await acme.set('docs/2', 'old')
      await clock.advance(60_000)
      await sdk.inRequest(async () => {
        await acme.getOrCompute('docs/1', () => 'new')
      })
      await acme.getOrCompute('docs/2', () => Promise.reject(new Error('down')))
      await rig.until(async () => (await acme.stats()).pendingRefreshes === 0)
      await clock.advance(60_000)
      const slow = acme.getOrCompute('docs/2', () => new Promise(() => undefined))
      await clock.advance(1000)
      expect(await slow).toBe('old')
      const hard = acme.getOrCompute('docs/3', () => new Promise<never>(() => undefined), { hardTimeout: '1s' })
      hard.catch(() => undefined)
      await clock.advance(1000)
      await expect(hard).rejects.toMatchObject({ code: 'compute-timeout' })
      const policy = 'docs'
      expect(await sdk.points('cache.stale_hits')).toEqual([{ value: 3, attributes: { ...HOT, policy } }])
      expect(await sdk.points('cache.refreshes')).toEqual(expect.arrayContaining([{ value: 1, attributes: { policy, outcome: 'refreshed' } }, { value: 1, attributes: { policy, outcome: 'given-up' } }]))
      expect(await sdk.points('cache.timeouts')).toEqual(expect.arrayContaining([{ value: 1, attributes: { policy, kind: 'soft' } }, { value: 1, attributes: { policy, kind: 'hard' } }]))
      expect(sdk.spans('cache.get').map(({ attributes }) => attributes['cache.stale'])).toEqual(expect.arrayContaining(['revalidate', 'timeout']))
      expect(sdk.spans('cache.compute').length).toBeGreaterThan(0)
    }))

  test('the tenant is an attribute only when asked for', async () => {
    const reads = async ({ cache }: Rig): Promise<void> => {
      for (const tenant of ['a', 'a', 'b']) await cache.get('k', { tenant })
    }
    for (const [tenantAttribute, expected] of [[undefined, [[3, undefined]]], [true, [[2, 'a'], [1, 'b']]]] as const) {
      const sdk = new Sdk()
      await withRig('memory', { telemetry: { meterProvider: sdk.meterProvider, tenantAttribute } }, async (rig) => {
        await reads(rig)
        expect((await sdk.points('cache.misses')).map(({ value, attributes }) => [value, attributes.tenant])).toEqual(expected)
        const gauged = await sdk.points('cache.entries')
        expect(gauged.map(({ attributes }) => attributes.tenant)).toEqual(expect.arrayContaining(expected.map(([, tenant]) => tenant)))
      })
    }
  })
})

describe('histograms', () => {
  test('cache.compute.duration is in seconds, by policy', () =>
    withRig('memory', { policies: { docs: {} } }, async ({ acme, clock }) => {
      const sdk = new Sdk()
      await sdk.register()
      await acme.getOrCompute('docs/1', () => clock.jump(1500))
      await acme.getOrCompute('docs/2', () => clock.jump(500))
      const [point] = await sdk.histograms('cache.compute.duration')
      expect(point?.attributes).toEqual({ policy: 'docs' })
      expect(point?.value).toMatchObject({ count: 2, sum: 2, min: 0.5, max: 1.5 })
      expect(await sdk.unitOf('cache.compute.duration')).toBe('s')
    }))

  test('cache.latency is in seconds, by tier, backend and operation', () =>
    withRig('memory and fs', {}, async (rig) => {
      const sdk = new Sdk()
      await sdk.register()
      await rig.acme.getOrCompute('other', () => 1)
      const warm = rig.faultsOf('warm').inject('hang', 'get')
      const reading = rig.acme.get('k')
      await rig.clock.advance(200)
      warm.heal()
      warm.release()
      await reading
      const points = await sdk.histograms('cache.latency')
      const slow = points.find(({ attributes }) => attributes.tier === 'warm' && attributes.operation === 'get')
      expect(slow?.attributes).toEqual({ ...WARM, operation: 'get' })
      expect(slow?.value.max).toBeCloseTo(0.2)
      expect(points.map(({ attributes }) => attributes.operation)).toEqual(expect.arrayContaining(['get', 'put']))
      expect(await sdk.unitOf('cache.latency')).toBe('s')
    }))
})

describe('gauges', () => {
  test('entries and bytes, where counting is cheap', () =>
    withRig('memory', {}, async ({ acme }) => {
      const sdk = new Sdk()
      await sdk.register()
      await acme.set('a', Buffer.alloc(1000))
      await acme.set('b', Buffer.alloc(500))
      await acme.get('a')
      expect(await sdk.points('cache.entries')).toEqual([{ value: 2, attributes: HOT }])
      const [size] = await sdk.points('cache.size')
      expect(size?.value).toBeGreaterThanOrEqual(1500)
      expect(await sdk.unitOf('cache.size')).toBe('By')
    }))
})

describe.each(STACKS)('the meter provider, on %s', (stack) => {
  const use = async ({ acme }: Rig): Promise<void> => {
    await acme.getOrCompute('k', () => 1)
    await acme.getOrCompute('k', () => 2)
  }
  const expectCounted = async (sdk: Sdk): Promise<void> => {
    expect((await sdk.points('cache.hits')).reduce((sum, { value }) => sum + value, 0)).toBe(1)
    expect((await sdk.histograms('cache.compute.duration'))[0]?.value.count).toBe(1)
  }

  test('is found when it was registered before the manager was made', async () => {
    const sdk = new Sdk()
    await sdk.register()
    await withRig(stack, {}, async (rig) => {
      await use(rig)
      await expectCounted(sdk)
    })
  })

  test('is found when it is registered afterwards', () =>
    withRig(stack, {}, async (rig) => {
      const sdk = new Sdk()
      await sdk.register()
      await use(rig)
      await expectCounted(sdk)
    }))

  test('is found later on by a cache that was in use, with what had been counted before', () =>
    withRig(stack, {}, async (rig) => {
      await use(rig)
      const sdk = new Sdk()
      await sdk.register()
      await rig.acme.getOrCompute('later', () => 1)
      await rig.acme.getOrCompute('k', () => 2)
      expect((await sdk.points('cache.hits')).reduce((sum, { value }) => sum + value, 0)).toBe(2)
      expect((await sdk.histograms('cache.compute.duration'))[0]?.value.count).toBe(1)
    }))

  test('given by option is used instead of the registered one', async () => {
    const registered = new Sdk()
    await registered.register()
    const given = new Sdk()
    await withRig(stack, { telemetry: { meterProvider: given.meterProvider } }, async (rig) => {
      await use(rig)
      await expectCounted(given)
    })
    expect(await registered.points('cache.hits')).toEqual([])
  })

  test('is no longer fed by a cache that was closed', async () => {
    const sdk = new Sdk()
    await withRig(stack, { telemetry: { meterProvider: sdk.meterProvider } }, use)
    expect(await sdk.points('cache.hits')).toEqual([])
    expect(await sdk.points('cache.entries')).toEqual([])
  })

  test('never sees a key', () =>
    withRig(stack, { telemetry: { tenantAttribute: true } }, async (rig) => {
      const sdk = new Sdk()
      await sdk.register()
      await use(rig)
      rig.faultsOf(stack === 'memory' ? 'hot' : 'warm').inject({ fail: 'failed' })
      await rig.acme.get('a secret key')
      const names = new Set([...(await sdk.collected()).values()].flatMap((attributes) => [...attributes]))
      for (const name of names) expect(['tier', 'backend', 'policy', 'tenant', 'operation', 'reason']).toContain(name)
    }))
})
