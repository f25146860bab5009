import { describe, expect, test } from '@jest/globals'
import { ILLEGAL_KEYS, WEIRD_KEYS, WEIRD_TENANTS } from '@thermocline/testkit'
import { STACKS, withRig } from '../support/rig.js'

describe.each(STACKS)('promise 7, on %s', (stack) => {
  test('weird keys of weird tenants never meet', () =>
    withRig(stack, {}, async ({ cache }) => {
      const tenants = WEIRD_TENANTS.filter((_, i) => i % 6 === 0)
      const keys = WEIRD_KEYS.filter((_, i) => i % 4 === 0)
      for (const tenant of tenants) await cache.tenant(tenant).setMany(keys.map((key) => [key, [tenant, key]]))
      for (const tenant of tenants) {
        for (const [key, value] of await cache.tenant(tenant).getMany(keys)) expect(value).toEqual([tenant, key])
      }
      const first = tenants[0] as string
      await cache.tenant(first).clear()
      for (const tenant of tenants) expect((await cache.tenant(tenant).getMany(keys)).size).toBe(tenant === first ? 0 : keys.length)
    }))

  test('listing, clearing and stats see one tenant', () =>
    withRig(stack, {}, async ({ cache }) => {
      const a = cache.tenant('a')
      const b = cache.tenant('b')
      await a.set('x/1', 1)
      await b.set('x/1', 2)
      await b.set('x/2', 2)
      await b.get('x/1')
      const listed = async (tenant: typeof a): Promise<string[]> => {
        const seen: string[] = []
        for await (const { key, tier } of tenant.list('x/', { detail: true })) seen.push(`${tier} ${key}`)
        return seen.sort()
      }
      expect((await listed(a)).every((line) => line.endsWith('x/1'))).toBe(true)
      expect(await a.clear()).toBe(1)
      expect(await listed(a)).toEqual([])
      expect(await listed(b)).toHaveLength(stack === 'memory and fs' ? 4 : 2)
      expect((await a.stats()).hits).toBe(0)
      expect((await b.stats()).hits).toBe(1)
      const { tenants = {} } = await cache.stats()
      expect(Object.entries(tenants).map(([tenant, { hits }]) => [tenant, hits]).sort()).toEqual([['a', 0], ['acme', 0], ['b', 1]])
    }))

  test('every verb on the manager takes the tenant in its options, and none works without one', () =>
    withRig(stack, {}, async ({ cache }) => {
      const tenant = 'acme'
      await cache.set('k', 1, { tenant })
      expect(await cache.get('k', { tenant })).toBe(1)
      expect(await cache.has('k', { tenant })).toBe(true)
      expect(await cache.lookup('k', { tenant, value: false })).not.toHaveProperty('value')
      expect(await cache.getOrCompute('k', () => 2, { tenant })).toBe(1)
      await cache.setMany(new Map([['m', 2]]), { tenant })
      expect([...(await cache.getMany(['k', 'm', 'n'], { tenant }))]).toEqual([['k', 1], ['m', 2]])
      expect(cache.peek('k', { tenant })).toBe(stack === 'fs' ? undefined : 1)
      const keys = new Set<string>()
      for await (const { key } of cache.list('', { tenant })) keys.add(key)
      expect(keys).toEqual(new Set(['k', 'm']))
      expect(await cache.deleteMany(['k', 'n'], { tenant })).toBe(1)
      expect(await cache.delete('m', { tenant })).toBe(true)
      expect(await cache.clear(undefined, { tenant })).toBe(0)
      await expect(cache.get('k', {} as { tenant: string })).rejects.toThrow(/tenant/)
      await expect(cache.getOrCompute('k', () => 1, undefined as never)).rejects.toThrow(/tenant/)
      expect(() => cache.tenant('')).toThrow(/tenant must not be empty/)
      expect(() => cache.tenant(undefined as never)).toThrow(TypeError)
    }))

  test.each(ILLEGAL_KEYS)('the key %p is refused by every verb, with the rule', (key, rule) =>
    withRig(stack, {}, async ({ acme }) => {
      const bad = key as string
      const message = new RegExp(rule)
      for (const verb of [
        () => acme.get(bad),
        () => acme.set(bad, 1),
        () => acme.getOrCompute(bad, () => 1),
        () => acme.delete(bad),
        () => acme.has(bad),
        () => acme.lookup(bad),
        () => acme.getMany([bad]),
        () => acme.setMany([[bad, 1]]),
        () => acme.deleteMany([bad]),
      ]) {
        await expect(verb()).rejects.toThrow(message)
      }
      expect(() => acme.peek(bad)).toThrow(message)
    }),
  )
})
