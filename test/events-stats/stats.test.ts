import { describe, expect, test } from '@jest/globals'
import { MemoryBackend } from '@thermocline/memory'
import { deferred, STACKS, withRig, type Rig } from '../support/rig.js'

describe.each(STACKS)('stats, on %s', (stack) => {
  const tier = stack === 'fs' ? 'warm' : 'hot'

  test('count one hit or one miss for each key a verb reads, whatever the number of tiers', () =>
    withRig(stack, {}, async ({ acme, cache }) => {
      await acme.set('a', 1)
      await acme.get('a')
      await acme.get('none')
      await acme.get('a', { policy: 'default' })
      await acme.getOrCompute('a', () => 2)
      await acme.getOrCompute('b', () => 2)
      await expect(acme.getOrCompute('failing', () => Promise.reject(new Error('own')))).rejects.toThrow('own')
      await acme.getMany(['a', 'b', 'none'])
      for (const stats of [await cache.stats(), await acme.stats()]) {
        expect(stats).toMatchObject({ hits: 5, misses: 4, hitRate: 5 / 9, errors: 0, evictions: 0 })
        expect(Object.values(stats.tiers).reduce((sum, { hits }) => sum + hits, 0)).toBe(5)
      }
    }))

  test('do not change by has, lookup, peek, list and stats', () =>
    withRig(stack, {}, async ({ acme, cache }) => {
      await acme.set('a', 1)
      for (const key of ['a', 'none']) {
        await acme.has(key)
        await acme.lookup(key)
        acme.peek(key)
      }
      for await (const _ of acme.list()) continue
      expect(await cache.stats()).toMatchObject({ hits: 0, misses: 0, hitRate: 0, tiers: { [tier]: { hits: 0, misses: 0, hitRate: 0 } } })
    }))

  test('count every caller of a flight once and those who joined as coalesced', () =>
    withRig(stack, {}, async ({ acme }) => {
      const gate = deferred<number>()
      const callers = Array.from({ length: 5 }, () => acme.getOrCompute('k', () => gate.promise))
      gate.resolve(1)
      await Promise.all(callers)
      const stats = await acme.stats()
      expect(stats).toMatchObject({ hits: 0, misses: 5 })
      expect(stats.policies.default).toMatchObject({ misses: 5, computes: 1, coalesced: 4 })
    }))

  test('tell what computing took and what hits have saved of it', () =>
    withRig(stack, {}, async ({ acme, clock }) => {
      await acme.getOrCompute('k', () => clock.jump(2000))
      for (let i = 0; i < 3; i++) await acme.get('k')
      await acme.set('given', 1)
      await acme.get('given')
      expect((await acme.stats()).policies.default).toMatchObject({ computes: 1, computeSeconds: 2, savedSeconds: 6, hits: 4, misses: 1, hitRate: 0.8 })
    }))

  test('keep policies apart, and tenants', () =>
    withRig(stack, { policies: { docs: {} } }, async ({ cache }) => {
      const [a, b] = [cache.tenant('a'), cache.tenant('b')]
      await a.set('docs/1', 1)
      await a.get('docs/1')
      await b.get('docs/1')
      await b.get('other')
      const stats = await cache.stats()
      expect(stats.policies).toMatchObject({ docs: { hits: 1, misses: 1, hitRate: 0.5, tiers: { [tier]: { hits: 1, misses: 1 } } }, default: { hits: 0, misses: 1 } })
      expect(stats.tenants).toMatchObject({ a: { hits: 1, misses: 0, hitRate: 1 }, b: { hits: 0, misses: 2, hitRate: 0 } })
      expect(await b.stats()).toMatchObject({ hits: 0, misses: 2, policies: { docs: { misses: 1 } } })
      expect(await b.stats()).not.toHaveProperty('tenants')
    }))
})

describe('stats of a tier', () => {
  test('tell its backend, its reads, its contents and its limits', () =>
    withRig('memory and fs', { tier: { hot: { backend: new MemoryBackend({ maxEntries: 2, maxBytes: 1000 }), maxTtl: null } } }, async (rig) => {
      const { acme, cache } = rig
      for (const key of ['1', '2', '3']) await acme.set(key, Buffer.alloc(100))
      await acme.get('1') // in warm only; back to hot for the second eviction
      await acme.get('none')
      expect((await cache.stats()).tiers).toMatchObject({
        hot: { backend: 'memory', hits: 0, misses: 2, promotions: 1, evictions: 2, errors: 0, state: 'ok', entries: 2, bytes: 200, maxEntries: 2, maxBytes: 1000, pendingInvalidations: 0, keysInDoubt: 0 },
        warm: { backend: 'fs', hits: 1, misses: 1, hitRate: 0.5, promotions: 0, state: 'ok' },
      })
      expect((await acme.stats()).tiers.hot).toMatchObject({ entries: 2, bytes: 200, evictions: 2 })
      expect((await cache.tenant('other').stats()).tiers.hot).toMatchObject({ entries: 0, bytes: 0, evictions: 0 })
    }))

  test('tell that it is degraded, what failed, what is owed to it and what is in doubt', () =>
    withRig('memory and fs', {}, async (rig: Rig) => {
      const { acme, cache } = rig
      rig.faultsOf('warm').inject('hang', 'put')
      await rig.pass(acme.set('k', 1))
      const { warm } = (await cache.stats()).tiers
      expect(warm).toMatchObject({ state: 'degraded', keysInDoubt: 1, pendingInvalidations: 1 })
      expect(warm?.errors).toBeGreaterThan(0)
      rig.faultsOf('warm').heal()
      rig.faultsOf('warm').release()
      await rig.passUntil(async () => (await cache.stats()).tiers.warm?.state === 'ok')
      await rig.passUntil(async () => (await cache.stats()).tiers.warm?.pendingInvalidations === 0)
      expect((await cache.stats()).tiers.warm).toMatchObject({ keysInDoubt: 0 })
    }))
})
