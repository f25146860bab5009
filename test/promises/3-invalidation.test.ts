import { describe, expect, test } from '@jest/globals'
import { TieredCacheManager, type TenantCache } from '@thermocline/core'
import { MemoryBackend } from '@thermocline/memory'
import { deferred, STACKS, withRig } from '../support/rig.js'

/** Everything that invalidates one key. What must not come back is 'old'. */
const INVALIDATIONS: readonly (readonly [string, (acme: TenantCache) => Promise<unknown>, unknown])[] = [
  ['set', (acme) => acme.set('k', 'new'), 'new'],
  ['delete', (acme) => acme.delete('k'), undefined],
  ['clear', (acme) => acme.clear('k'), undefined],
  ['setMany', (acme) => acme.setMany([['k', 'new']]), 'new'],
  ['deleteMany', (acme) => acme.deleteMany(['k']), undefined],
  ['set with ttl 0', (acme) => acme.set('k', 'new', { ttl: 0 }), undefined],
]

describe.each(STACKS)('promise 3, on %s', (stack) => {
  test.each(INVALIDATIONS)('a compute that began before a %s stores nothing', (_name, invalidate, after) =>
    withRig(stack, {}, async ({ acme, clock }) => {
      const gate = deferred<string>()
      const computing = acme.getOrCompute('k', () => gate.promise)
      await clock.settle()
      await invalidate(acme)
      gate.resolve('old')
      expect(await computing).toBe('old') // its callers get its result
      expect(await acme.get('k')).toBe(after)
    }),
  )

  test.each(INVALIDATIONS)('the next caller after a %s starts a new compute', (_name, invalidate, after) =>
    withRig(stack, {}, async ({ acme, clock }) => {
      const gate = deferred<string>()
      const first = acme.getOrCompute('k', () => gate.promise)
      await clock.settle()
      await invalidate(acme)
      const second = acme.getOrCompute('k', () => 'fresh')
      expect(await second).toBe(after ?? 'fresh')
      gate.resolve('old')
      await first
      expect(await acme.get('k')).toBe(after ?? 'fresh')
    }),
  )

  test('the last of many writes and deletes called at once is what stays', () =>
    withRig(stack, {}, async ({ acme }) => {
      for (let round = 0; round < 30; round++) {
        const calls: Promise<unknown>[] = []
        for (let i = 0; i < 6; i++) calls.push(i % 3 === 2 ? acme.delete('k') : acme.set('k', `${round}.${i}`))
        const last = round % 2 === 0 ? acme.set('k', `last ${round}`) : acme.delete('k')
        await Promise.all([...calls, last])
        expect(await acme.get('k')).toBe(round % 2 === 0 ? `last ${round}` : undefined)
      }
    }))
})

describe('promise 3, between tiers', () => {
  test.each(INVALIDATIONS)('a promotion that began before a %s writes nothing', (_name, invalidate, after) =>
    withRig('memory and fs', {}, async ({ acme, faults, clock }) => {
      await acme.set('k', 'old', { tiers: { hot: false } })
      faults.warm?.inject('hang-after', 'get') // the read has its answer, which is on its way
      const reading = acme.get('k')
      await clock.settle()
      faults.warm?.heal()
      await invalidate(acme)
      faults.warm?.release()
      await reading
      expect(acme.peek('k')).toBe(after)
      expect(await acme.get('k')).toBe(after)
    }),
  )

  test('a read while a set is under way does not promote the old value into an around tier', () =>
    withRig('memory and fs', { policies: { default: { tiers: { hot: { write: 'around' } } } } }, async ({ acme, faults, clock }) => {
      await acme.set('k', 'old')
      faults.warm?.inject('hang', 'put')
      const setting = acme.set('k', 'new')
      await clock.settle()
      expect(await acme.get('k')).toBe('old') // the set has not resolved
      faults.warm?.heal()
      faults.warm?.release()
      await setting
      expect(await acme.get('k')).toBe('new')
      expect(await acme.get('k')).toBe('new')
    }))

  test('a write that outlives its budget cannot bring its value back when it lands late', () =>
    withRig('memory and fs', {}, async (rig) => {
      const { acme, cache } = rig
      const warm = rig.faultsOf('warm')
      warm.inject('hang', 'put')
      await rig.pass(acme.set('k', 'old'))
      expect((await cache.stats()).tiers.warm).toMatchObject({ keysInDoubt: 1, pendingInvalidations: 1 })
      warm.heal()
      await rig.passUntil(() => rig.seen('recovered').length === 1)
      await rig.pass(acme.set('k', 'new'))
      await rig.pass(acme.delete('k'))
      warm.release() // the first write lands now
      await rig.until(async () => (await cache.stats()).tiers.warm?.keysInDoubt === 0)
      await rig.until(async () => (await cache.stats()).tiers.warm?.pendingInvalidations === 0)
      expect(await acme.get('k')).toBeUndefined()
      expect(await acme.lookup('k')).toEqual({ status: 'miss' })
    }))

  test('a key in doubt is not asked for, others are', () =>
    withRig('fs', {}, async (rig) => {
      const { acme } = rig
      const warm = rig.faultsOf('warm')
      await acme.set('other', 1)
      warm.inject('hang', 'put')
      await rig.pass(acme.set('k', 'old'))
      warm.heal()
      await rig.passUntil(() => rig.seen('recovered').length === 1)
      const before = warm.calls.get
      expect(await acme.get('k')).toBeUndefined()
      expect(warm.calls.get).toBe(before)
      expect(await acme.get('other')).toBe(1)
    }))

  test('invalidations run slowest tier first', () =>
    withRig('memory and fs', {}, async ({ acme, faults, clock }) => {
      await acme.set('k', 1)
      faults.warm?.inject('hang', 'delete')
      const deleting = acme.delete('k')
      await clock.settle()
      expect(acme.peek('k')).toBe(1) // memory loses it after the disk
      faults.warm?.heal()
      faults.warm?.release()
      expect(await deleting).toBe(true)
      expect(acme.peek('k')).toBeUndefined()
    }))

  test('a clear and the sets around it apply in the order of the calls', () =>
    withRig('memory and fs', {}, async ({ acme }) => {
      for (let round = 0; round < 20; round++) {
        const before = acme.set('docs/k', 'before')
        const clearing = acme.clear('docs/')
        const after = acme.set('docs/k', 'after')
        await Promise.all([before, clearing, after])
        expect(await acme.get('docs/k', { tiers: { hot: false } })).toBe('after')
      }
    }))
})

test('in memory a change is over when its verb returns: what is called right behind it is stored', async () => {
  const cache = new TieredCacheManager({ tiers: { hot: { backend: new MemoryBackend() } }, logger: false })
  const acme = cache.tenant('acme')
  await acme.set('k', 'old')
  const [, computed] = await Promise.all([acme.delete('k'), acme.getOrCompute('k', () => 'new')])
  expect([computed, acme.peek('k')]).toEqual(['new', 'new'])
  await Promise.all([acme.set('stale', 'v', { staleIfError: '1m' }), acme.expire('stale', { staleIfError: '1m' })])
  expect((await acme.lookup('stale', { staleIfError: '1m' })).status).toBe('stale')
  await cache.close()
})
