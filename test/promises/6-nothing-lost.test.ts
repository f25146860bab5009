import { describe, expect, test } from '@jest/globals'
import { TieredCacheManager } from '@thermocline/core'
import { FileSystemBackend } from '@thermocline/fs'
import { MemoryBackend } from '@thermocline/memory'
import { FakeClock, Faults } from '@thermocline/testkit'
import { withRig, type Rig } from '../support/rig.js'

async function paid(rig: Rig): Promise<void> {
  await rig.passUntil(async () => (await rig.cache.stats()).tiers.warm?.pendingInvalidations === 0)
}

describe('promise 6: nothing is lost', () => {
  test('a delete while a tier is down is recorded, and the tier is not asked for the key until it is done', () =>
    withRig('fs', {}, async (rig) => {
      const { acme } = rig
      const warm = rig.faultsOf('warm')
      await acme.set('k', 'old')
      await acme.set('other', 1)
      warm.inject({ fail: 'unavailable' }, 'delete')
      expect(await acme.delete('k')).toBeUndefined()
      expect((await rig.cache.stats()).tiers.warm).toMatchObject({ pendingInvalidations: 1, state: 'degraded' })
      expect(await acme.get('k')).toBeUndefined()
      warm.heal()
      await rig.passUntil(() => rig.seen('recovered').length === 1)
      await paid(rig)
      expect(await acme.get('k')).toBeUndefined()
      expect(await acme.get('other')).toBe(1)
      await acme.set('k', 'new')
      expect(await acme.get('k')).toBe('new')
    }))

  test('a set while a tier is down deletes the old value there later', () =>
    withRig('memory and fs', {}, async (rig) => {
      const { acme } = rig
      const warm = rig.faultsOf('warm')
      await acme.set('k', 'old')
      warm.inject({ fail: 'unavailable' })
      await acme.set('k', 'new')
      expect(await acme.get('k')).toBe('new')
      expect(await acme.get('k', { tiers: { hot: false } })).toBeUndefined()
      warm.heal()
      await rig.passUntil(() => rig.seen('recovered').length === 1)
      await paid(rig)
      expect(await acme.get('k', { tiers: { hot: false } })).toBeUndefined()
    }))

  test('a clear is one record, however much it covers', () =>
    withRig('fs', {}, async (rig) => {
      const { acme } = rig
      const warm = rig.faultsOf('warm')
      await acme.setMany(Array.from({ length: 50 }, (_, i) => [`docs/${i}`, i] as const))
      await acme.set('keep', 1)
      warm.inject({ fail: 'unavailable' }, 'clear', 'delete')
      await acme.clear('docs/')
      expect((await rig.cache.stats()).tiers.warm?.pendingInvalidations).toBe(1)
      expect(await acme.get('docs/7')).toBeUndefined()
      warm.heal()
      await paid(rig)
      expect(await acme.get('docs/7')).toBeUndefined()
      expect(await acme.get('keep')).toBe(1)
      await acme.set('docs/7', 'new')
      expect(await acme.get('docs/7')).toBe('new')
    }))

  test.each([['left out by the call', { tiers: { warm: false } }], ['written around', { tiers: { warm: { write: 'around' as const } } }]])('a tier %s loses the key', (_how, options) =>
    withRig('memory and fs', {}, async ({ acme }) => {
      await acme.set('k', 'old')
      await acme.set('k', 'new', options)
      expect(await acme.get('k', { tiers: { hot: false } })).toBeUndefined()
      expect(await acme.get('k')).toBe('new')
    }),
  )

  test('a tier for which the value is too large loses the key, quietly', () =>
    withRig('memory and fs', { tier: { warm: { maxPayloadBytes: 1000 } } }, async (rig) => {
      const { acme } = rig
      await acme.set('k', 'small')
      const large = 'x'.repeat(2000)
      await acme.set('k', large)
      expect(await acme.get('k')).toBe(large)
      expect(await acme.get('k', { tiers: { hot: false } })).toBeUndefined()
      expect(rig.seen('error')).toEqual([])
    }))

  test('a write whose answer was lost is undone', () =>
    withRig('memory and fs', {}, async (rig) => {
      const { acme } = rig
      await acme.set('k', 'old')
      rig.faultsOf('warm').inject({ failAfter: 'failed' }, 'put')
      await acme.set('k', 'new')
      expect(await acme.get('k', { tiers: { hot: false } })).toBeUndefined()
      expect(await acme.get('k')).toBe('new')
    }))

  test('when no more can be recorded, set, delete and clear reject and say so', () =>
    withRig('fs', { tier: { warm: { maxRecords: 3 } } }, async (rig) => {
      const { acme } = rig
      rig.faultsOf('warm').inject({ fail: 'unavailable' })
      for (let i = 0; i < 3; i++) await acme.delete(`k${i}`)
      await acme.delete('k1') // recorded already
      await expect(acme.delete('k3')).rejects.toMatchObject({ code: 'not-recorded', operation: 'delete' })
      await expect(acme.set('k3', 1)).rejects.toMatchObject({ code: 'not-recorded' })
      await expect(acme.clear()).rejects.toMatchObject({ code: 'not-recorded' })
      expect(await acme.getOrCompute('k4', () => 4)).toBe(4)
      rig.faultsOf('warm').heal()
      await paid(rig)
      expect(await acme.clear()).toBe(0)
    }))

  test('with a disk tier the records survive a restart', () =>
    withRig('memory and fs', {}, async ({ basePath, cache: unused }) => {
      await unused.close()
      const cold = new MemoryBackend() // stands for a store that outlives the process
      const keep = cold.attach({ clock: new FakeClock(), evicted: () => undefined, demotes: () => false, report: () => undefined })
      const faults = new Faults()
      const clock = new FakeClock(Date.now())
      const open = (): TieredCacheManager =>
        new TieredCacheManager({
          tiers: { warm: { backend: new FileSystemBackend({ basePath }) }, cold: { backend: cold, layers: [faults.layer] } },
          clock,
          logger: false,
        })
      const first = open()
      await first.tenant('acme').set('k', 'old')
      await first.tenant('acme').set('docs/1', 'old')
      await first.tenant('acme').set('other', 1)
      faults.inject({ fail: 'unavailable' })
      await first.tenant('acme').delete('k')
      await first.tenant('acme').clear('docs/')
      // no close: the process is gone
      const second = open()
      faults.heal()
      const acme = second.tenant('acme')
      expect(await acme.get('k')).toBeUndefined()
      expect(await acme.get('docs/1')).toBeUndefined()
      expect(await acme.get('other')).toBe(1)
      for (let i = 0; i < 100 && (await second.stats()).tiers.cold?.pendingInvalidations !== 0; i++) await clock.advance(100)
      const third = open()
      expect((await third.stats()).tiers.cold?.pendingInvalidations).toBe(0)
      expect(await third.tenant('acme').get('k')).toBeUndefined()
      for (const cache of [first, second, third]) await cache.close()
      keep()
    }))
})

describe('close', () => {
  test('finishes background writes, then verbs reject and getOrCompute just computes', () =>
    withRig('memory and fs', {}, async ({ acme, cache }) => {
      const writing = acme.set('k', 1)
      await Promise.all([cache.close(), writing])
      await cache.close()
      for (const verb of [() => acme.get('k'), () => acme.set('k', 1), () => acme.delete('k'), () => acme.clear(), () => acme.has('k'), () => acme.getMany(['k']), () => acme.stats()]) {
        await expect(verb()).rejects.toMatchObject({ code: 'closed' })
      }
      expect(() => acme.peek('k')).toThrow(/closed/)
      expect(await acme.getOrCompute('k', ({ key }) => `computed ${key}`)).toBe('computed k')
    }))

  test('leaves at its deadline and says what was left', () => {
    const lines: string[] = []
    return withRig('fs', { logger: { info: () => undefined, warn: (line) => lines.push(line) }, tier: { warm: { budget: '1h' } } }, async (rig) => {
      rig.faultsOf('warm').inject('hang', 'put')
      void rig.acme.set('k', 1)
      const before = rig.clock.now()
      await rig.pass(rig.cache.close({ deadline: '500ms' }), 50)
      expect(rig.clock.now() - before).toBeLessThanOrEqual(550)
      expect(lines.join()).toMatch(/close left work behind after 500 ms/)
    })
  })

  test('a backend that serves two managers ends with the last', () =>
    withRig('memory and fs', {}, async ({ cache, acme, backends }) => {
      const other = new TieredCacheManager({ tiers: { hot: { backend: backends.hot as MemoryBackend } }, logger: false })
      await acme.set('k', 1)
      await cache.close()
      expect(await other.tenant('acme').get('k')).toBe(1)
      await other.close()
    }))
})
