import { describe, expect, test } from '@jest/globals'
import type { Ttl } from '@thermocline/backend'
import { STACKS, withRig } from '../support/rig.js'

describe.each(STACKS)('promise 2 and the TTL table, on %s', (stack) => {
  const fastest = stack === 'fs' ? 'warm' : 'hot'

  test('an entry lives exactly as long as its ttl', () =>
    withRig(stack, {}, async ({ acme, clock }) => {
      await acme.set('k', 1, { ttl: 10 })
      expect(await acme.lookup('k')).toEqual({ status: 'fresh', value: 1, tier: fastest, createdAt: clock.now(), expiresAt: clock.now() + 10_000 })
      await clock.advance(9_999)
      expect(await acme.get('k')).toBe(1)
      await clock.advance(1)
      expect(await acme.get('k')).toBeUndefined()
      expect(await acme.has('k')).toBe(false)
      expect(acme.peek('k')).toBeUndefined()
      expect(await acme.lookup('k')).toEqual({ status: 'miss' })
    }))

  test.each([[null], [Number.POSITIVE_INFINITY]])('ttl %p never ends', (ttl) =>
    withRig(stack, {}, async ({ acme, clock }) => {
      const createdAt = clock.now()
      await acme.set('k', 1, { ttl })
      clock.jump(1e13)
      expect(await acme.get('k')).toBe(1)
      expect(await acme.lookup('k')).toEqual({ status: 'fresh', value: 1, tier: fastest, createdAt, expiresAt: null })
    }),
  )

  test('ttl 0 stores nothing and removes what is there', () =>
    withRig(stack, {}, async ({ acme }) => {
      await acme.set('k', 1)
      await acme.set('k', 2, { ttl: 0 })
      expect(await acme.has('k')).toBe(false)
      expect(await acme.getOrCompute('c', () => 3, { ttl: 0 })).toBe(3)
      expect(await acme.has('c')).toBe(false)
    }))

  test('a ttl beyond 2^31 ms is kept', () =>
    withRig(stack, {}, async ({ acme, clock }) => {
      await acme.set('k', 1, { ttl: '60d' })
      clock.jump(59 * 86_400_000)
      expect(await acme.get('k')).toBe(1)
      clock.jump(86_400_000)
      expect(await acme.get('k')).toBeUndefined()
    }))

  test.each([[-1], [Number.NaN], ['10'], ['1 parsec'], [true], [{}], [10n]])('ttl %p is refused by name', (ttl) =>
    withRig(stack, {}, async ({ acme }) => {
      await expect(acme.set('k', 1, { ttl: ttl as Ttl })).rejects.toThrow(/^ttl must be/)
      await expect(acme.getOrCompute('k', () => 1, { ttl: ttl as Ttl })).rejects.toThrow(/^ttl must be/)
      await expect(acme.getOrCompute('k', (ctx) => ctx.setTtl(ttl as Ttl))).rejects.toThrow(/^setTtl\(ttl\) must be/)
      expect(await acme.has('k')).toBe(false)
    }),
  )

  test('the call, the policy, the tier and the manager decide in this order', () => {
    const name = stack === 'fs' ? 'warm' : 'hot'
    const maxTtl = null
    const both = { hot: { maxTtl, defaultTtl: 200 }, warm: { maxTtl, defaultTtl: 200 } }
    return withRig(stack, { tier: both, defaultTtl: 300, policies: { p: { ttl: 100 }, q: { tiers: { [name]: { ttl: 50 } }, ttl: 100 } } }, async ({ acme, clock }) => {
      const life = async (key: string): Promise<number | null | undefined> => {
        const found = await acme.lookup(key)
        return found.status === 'miss' || found.expiresAt === null ? null : (found.expiresAt - clock.now()) / 1000
      }
      await acme.set('p/call', 1, { ttl: 10 })
      await acme.set('p/policy', 1)
      await acme.set('q/slot', 1)
      await acme.set('tier', 1)
      expect([await life('p/call'), await life('p/policy'), await life('q/slot'), await life('tier')]).toEqual([10, 100, 50, 200])
    })
  })

  test('the manager decides last, an hour unless it says otherwise', () =>
    withRig(stack, {}, async ({ acme, clock }) => {
      await acme.set('k', 1)
      expect(await acme.lookup('k')).toEqual({ status: 'fresh', value: 1, tier: fastest, createdAt: clock.now(), expiresAt: clock.now() + 3_600_000 })
    }))

  test('a tier serves for its maxTtl only, without shortening the entry', () => {
    return withRig(stack, { tier: { [fastest]: { maxTtl: 5 } } }, async ({ acme, clock }) => {
      await acme.set('k', 1, { ttl: 60 })
      const before = await acme.lookup('k')
      expect(before).toEqual({ status: 'fresh', value: 1, tier: fastest, createdAt: clock.now(), expiresAt: clock.now() + 60_000 })
      await clock.advance(5_000)
      if (stack === 'memory and fs') expect(await acme.lookup('k')).toEqual({ ...before, tier: 'warm' })
      else expect(await acme.has('k')).toBe(false)
    })
  })
})

describe('a memory tier above a disk that others may share', () => {
  test('serves for a minute, then the disk is asked again', () =>
    withRig('memory and fs', {}, async ({ acme, clock }) => {
      await acme.set('k', 1)
      const before = await acme.lookup('k')
      await clock.advance(59_999)
      expect(await acme.lookup('k')).toEqual({ ...before, tier: 'hot' })
      await clock.advance(1)
      expect(await acme.lookup('k')).toEqual({ ...before, tier: 'warm' })
    }))

  test('serves as long as the entry lives under a policy that does not use the disk', () =>
    withRig('memory and fs', { policies: { search_results: { tiers: { warm: false }, ttl: '1h' } } }, async ({ acme, clock }) => {
      await acme.set('search_results/q', 1)
      await clock.advance(3_599_999)
      expect(await acme.get('search_results/q')).toBe(1)
      await clock.advance(1)
      expect(await acme.get('search_results/q')).toBeUndefined()
    }))
})

describe('promotion', () => {
  test('never lengthens a life', () =>
    withRig('memory and fs', {}, async ({ acme, clock }) => {
      await acme.set('k', 1, { ttl: 100, tiers: { hot: false } })
      const before = await acme.lookup('k')
      await clock.advance(90_000)
      expect(await acme.get('k')).toBe(1)
      expect(await acme.lookup('k')).toEqual({ ...before, tier: 'hot' })
      await clock.advance(9_999)
      expect(await acme.get('k')).toBe(1)
      await clock.advance(1)
      expect(await acme.get('k')).toBeUndefined()
    }))

  test('passes tags and metadata on', () =>
    withRig('memory and fs', {}, async ({ acme }) => {
      await acme.set('k', 1, { tags: ['t'], metadata: { a: 'b' }, tiers: { hot: false } })
      const before = await acme.lookup('k')
      expect(before).toMatchObject({ tier: 'warm', tags: ['t'], metadata: { a: 'b' } })
      await acme.get('k')
      expect(await acme.lookup('k')).toEqual({ ...before, tier: 'hot' })
    }))

  test('happens on get, getMany and getOrCompute, not on has, lookup, peek or list', () =>
    withRig('memory and fs', {}, async (rig) => {
      const { acme, cache } = rig
      for (const key of ['a', 'b', 'c', 'd']) await acme.set(key, key, { tiers: { hot: false } })
      const hot = async (): Promise<string[]> => {
        const keys: string[] = []
        for await (const info of acme.list('')) if (info.tier === 'hot') keys.push(info.key)
        return keys.sort()
      }
      await acme.has('a')
      await acme.lookup('a')
      acme.peek('a')
      expect(await hot()).toEqual([])
      expect((await cache.stats()).hits).toBe(0)
      await acme.get('a')
      await acme.getMany(['b'])
      await acme.getOrCompute('c', () => 'never')
      expect(await hot()).toEqual(['a', 'b', 'c'])
      const stats = await cache.stats()
      expect(stats.hits).toBe(3)
      expect(stats.tiers.hot?.promotions).toBe(3)
      expect(rig.seen('promote')).toHaveLength(3)
    }))

  test('leaves out a tier that does not want it, and fills an around tier', () =>
    withRig('memory and fs', { policies: { no: { tiers: { hot: { promote: false } } }, around: { tiers: { hot: { write: 'around' } } } } }, async ({ acme, clock }) => {
      await acme.set('no/k', 1, { tiers: { hot: false } })
      await acme.get('no/k')
      const fresh = { status: 'fresh', value: 1, createdAt: clock.now(), expiresAt: clock.now() + 3_600_000 }
      expect(await acme.lookup('no/k')).toEqual({ ...fresh, tier: 'warm' })
      await acme.set('around/k', 1)
      expect(await acme.lookup('around/k')).toEqual({ ...fresh, tier: 'warm' })
      await acme.get('around/k')
      expect(await acme.lookup('around/k')).toEqual({ ...fresh, tier: 'hot' })
      await acme.set('around/k', 2)
      expect(await acme.lookup('around/k')).toEqual({ ...fresh, value: 2, tier: 'warm' })
    }))
})
