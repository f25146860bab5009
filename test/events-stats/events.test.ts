import { describe, expect, test } from '@jest/globals'
import { TieredCacheManager, type CacheEventName } from '@thermocline/core'
import { MemoryBackend } from '@thermocline/memory'
import { FakeClock } from '@thermocline/testkit'
import { STACKS, withRig, type Rig } from '../support/rig.js'

/** Everything the cache says from now on, in order. */
function listen({ cache }: Rig, ...names: CacheEventName[]): unknown[] {
  const heard: unknown[] = []
  for (const name of names) cache.on(name, (event) => heard.push([name, event]))
  return heard
}

describe('events', () => {
  test('tell of hits, misses, computes, sets, deletes and clears, with tenant, key, policy and tier', () =>
    withRig('memory and fs', { policies: { docs: {} } }, async (rig) => {
      const { acme, clock } = rig
      const heard = listen(rig, 'hit', 'miss', 'compute', 'set', 'delete', 'clear')
      const about = { tenant: 'acme', key: 'docs/1' }
      await acme.get('docs/1')
      await acme.getOrCompute('docs/1', () => clock.jump(40))
      await acme.get('docs/1')
      await acme.set('k', 1)
      await acme.delete('k')
      await acme.clear('docs/')
      expect(heard).toEqual([
        ['miss', { ...about, policy: 'docs' }],
        ['compute', { ...about, policy: 'docs', ms: 40 }],
        ['miss', { ...about, policy: 'docs' }],
        ['hit', { ...about, policy: 'docs', tier: 'hot' }],
        ['set', { tenant: 'acme', key: 'k', policy: 'default' }],
        ['delete', { tenant: 'acme', key: 'k' }],
        ['clear', { tenant: 'acme', prefix: 'docs/' }],
      ])
    }))

  test('tell of every member of a many-verb, and of nothing for has, lookup, peek and list', () =>
    withRig('memory', {}, async (rig) => {
      const { acme } = rig
      const heard = listen(rig, 'hit', 'miss', 'set', 'delete')
      await acme.setMany([['a', 1], ['b', 2]])
      await acme.getMany(['a', 'c'])
      await acme.deleteMany(['a'])
      expect(heard.map((one) => (one as [string])[0]).sort()).toEqual(['delete', 'hit', 'miss', 'set', 'set'])
      heard.length = 0
      await acme.has('b')
      await acme.lookup('b')
      acme.peek('b')
      for await (const _ of acme.list()) continue
      expect(heard).toEqual([])
    }))

  test('tell of promotions, from which tier to which', () =>
    withRig('memory and fs', {}, async (rig) => {
      await rig.acme.set('k', 1)
      await rig.clock.advance(61_000) // past what memory serves above a shared tier
      const heard = listen(rig, 'promote')
      await rig.acme.get('k')
      expect(heard).toEqual([['promote', { tenant: 'acme', key: 'k', from: 'warm', to: 'hot', policy: 'default' }]])
    }))

  test('tell of evictions and why', () =>
    withRig('memory', { tier: { hot: { backend: new MemoryBackend({ maxEntries: 3, tenantQuota: { maxEntries: 2 } }) } } }, async (rig) => {
      const { acme, cache, clock } = rig
      const heard = listen(rig, 'evict')
      for (const key of ['1', '2', '3']) await acme.set(key, key, { ttl: '10s' })
      for (const key of ['1', '2']) await cache.set(key, key, { tenant: 'other', ttl: '10m' })
      await clock.advance(60_000)
      expect(heard).toEqual([
        ['evict', { tenant: 'acme', key: '1', tier: 'hot', reason: 'quota' }],
        ['evict', { tenant: 'acme', key: '2', tier: 'hot', reason: 'space' }],
        ['evict', { tenant: 'acme', key: '3', tier: 'hot', reason: 'expired' }],
      ])
    }))

  test('tell of failures that no caller hears of, of a tier that degrades, and of its recovery', () =>
    withRig('memory and fs', {}, async (rig) => {
      const heard = listen(rig, 'error', 'degraded', 'recovered')
      rig.faultsOf('warm').inject({ fail: 'unavailable' })
      expect(await rig.acme.get('k')).toBeUndefined()
      const error = expect.objectContaining({ name: 'CacheError', code: 'unavailable' })
      expect(heard).toEqual([
        ['degraded', { tier: 'warm', circuit: 'read', error }],
        ['error', { error, operation: 'get', tier: 'warm', tenant: 'acme', key: 'k' }],
      ])
      rig.faultsOf('warm').heal()
      await rig.passUntil(() => rig.seen('recovered').length > 0)
      expect(heard.at(-1)).toEqual(['recovered', { tier: 'warm' }])
    }))
})

describe('a listener', () => {
  test.each(STACKS)('hears nothing after it unsubscribed, once or twice, on %s', (stack) =>
    withRig(stack, {}, async ({ acme, cache }) => {
      let first = 0
      let second = 0
      const same = (): unknown => first++
      const off = cache.on('hit', same)
      cache.on('hit', same)
      cache.on('hit', () => second++)
      await acme.set('k', 1)
      await acme.get('k')
      expect([first, second]).toEqual([2, 1])
      off()
      off()
      await acme.get('k')
      expect([first, second]).toEqual([3, 2]) // the other subscription of the same function goes on
    }),
  )

  test('added or removed while an event is told does not disturb the others', () =>
    withRig('memory', {}, async ({ acme, cache }) => {
      const heard: string[] = []
      const off = cache.on('set', () => {
        heard.push('first')
        off()
        cache.on('set', () => heard.push('late'))
      })
      cache.on('set', () => heard.push('second'))
      await acme.set('k', 1)
      expect(heard).toEqual(['first', 'second'])
      await acme.set('k', 2)
      expect(heard).toEqual(['first', 'second', 'second', 'late'])
    }))

  test('that throws or rejects is logged, and neither the caller nor the next listener notices', async () => {
    const warnings: string[] = []
    const logger = { info: () => undefined, warn: (message: string) => void warnings.push(message) }
    await withRig('memory', { logger }, async ({ acme, cache, clock }) => {
      let heard = 0
      for (const name of ['hit', 'miss', 'set', 'compute'] as const) {
        cache.on(name, () => {
          throw new Error(`broken ${name}`)
        })
        cache.on(name, async () => Promise.reject(new Error(`rejected ${name}`)))
        cache.on(name, () => heard++)
      }
      await acme.set('k', 1)
      expect(await acme.get('k')).toBe(1)
      expect(await acme.getOrCompute('c', () => 2)).toBe(2)
      await clock.settle()
      expect(heard).toBe(4)
      for (const name of ['hit', 'miss', 'set', 'compute']) {
        expect(warnings).toContainEqual(expect.stringMatching(new RegExp(`listener for "${name}" threw.*broken ${name}`)))
        expect(warnings).toContainEqual(expect.stringContaining(`rejected ${name}`))
      }
    })
  })

  test('may call the cache, from an eviction too', () =>
    withRig('memory', { tier: { hot: { backend: new MemoryBackend({ maxEntries: 2 }) } } }, async ({ acme, cache }) => {
      const evicted: string[] = []
      cache.on('evict', ({ key }) => {
        evicted.push(key)
        if (evicted.length < 3) void acme.set(`again ${key}`, Buffer.alloc(10))
      })
      for (const key of ['a', 'b', 'c']) await acme.set(key, Buffer.alloc(100))
      expect(evicted.length).toBeGreaterThan(1)
      const { entries, bytes } = (await cache.stats()).tiers.hot ?? {}
      expect({ entries, bytes }).toEqual({ entries: 2, bytes: (await acme.stats()).tiers.hot?.bytes })
    }))

  test('that is none, or for an event that does not exist, is a TypeError', async () => {
    const cache = new TieredCacheManager({ tiers: { hot: { backend: new MemoryBackend() } }, clock: new FakeClock() })
    expect(() => cache.on('hit', undefined as never)).toThrow(TypeError)
    for (const name of ['hits', 'constructor', '__proto__', '']) expect(() => cache.on(name as never, () => undefined)).toThrow(TypeError)
    await cache.close()
  })
})
