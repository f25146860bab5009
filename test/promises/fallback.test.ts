import type { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { describe, expect, test } from '@jest/globals'
import type { CacheBackend } from '@thermocline/backend'
import { FileSystemBackend } from '@thermocline/fs'
import { MemoryBackend } from '@thermocline/memory'
import { Rig, withRig } from '../support/rig.js'

const textOf = async (stream: Readable | undefined): Promise<string | undefined> => (stream === undefined ? undefined : text(stream))

/** A rig whose only tier has a fallback of two entries. */
function withFallback(body: (rig: Rig) => Promise<void>): Promise<void> {
  return withRig('fs', { tier: { warm: { fallback: new MemoryBackend({ maxEntries: 2 }) } } }, body)
}

/** The tier refuses everything from now on, and the breaker knows. */
async function outage(rig: Rig): Promise<void> {
  const before = rig.seen('degraded').length
  rig.faultsOf('warm').inject({ fail: 'unavailable' })
  await rig.acme.get('anything')
  expect(rig.seen('degraded')).toHaveLength(before + 1)
}

async function recovery(rig: Rig): Promise<void> {
  rig.faultsOf('warm').heal()
  await rig.passUntil(() => rig.seen('recovered').length === 1)
  // what the tier owes is paid
  await rig.passUntil(async () => (await rig.cache.stats()).tiers['warm']?.pendingInvalidations === 0)
}

describe('a fallback', () => {
  test('stands in while the tier cannot be reached: what is computed is computed once', () =>
    withFallback(async (rig) => {
      await outage(rig)
      let computed = 0
      const value = (): Promise<unknown> => rig.acme.getOrCompute('k', () => ({ n: ++computed }))
      expect(await value()).toEqual({ n: 1 })
      const again = await value()
      expect(again).toEqual({ n: 1 })
      expect(await rig.acme.lookup('k')).toEqual({ status: 'fresh', value: { n: 1 }, tier: 'warm', createdAt: expect.any(Number), expiresAt: expect.any(Number) })
      // values come back as from the tier itself: made anew
      ;(again as { n: number }).n = 7
      expect(await value()).toEqual({ n: 1 })
    }))

  test('keeps to its limit', () =>
    withFallback(async (rig) => {
      await outage(rig)
      for (const key of ['a', 'b', 'c']) await rig.acme.set(key, key)
      expect(await rig.acme.get('a')).toBeUndefined()
      expect(await rig.acme.get('c')).toBe('c')
    }))

  test('begins empty and is told of every set, delete and clear', () =>
    withFallback(async (rig) => {
      const { acme } = rig
      await acme.set('k', 'before')
      await outage(rig)
      expect(await acme.get('k')).toBeUndefined()
      await acme.set('k', 1)
      await acme.set('k', 2)
      expect(await acme.get('k')).toBe(2)
      await acme.delete('k')
      expect(await acme.get('k')).toBeUndefined()
      await acme.set('p/k', 3)
      await acme.clear('p/')
      expect(await acme.get('p/k')).toBeUndefined()
      await acme.set('k', 4)
      await acme.set('k', 5, { tiers: { warm: false } })
      expect(await acme.get('k')).toBeUndefined()
    }))

  test('is dropped when the tier is back, which serves nothing from before what was set or deleted meanwhile', () =>
    withFallback(async (rig) => {
      const { acme } = rig
      for (const key of ['set', 'deleted', 'untouched']) await acme.set(key, 'before')
      await outage(rig)
      await acme.set('set', 'meanwhile')
      await acme.delete('deleted')
      await recovery(rig)
      expect(await acme.get('set')).toBeUndefined()
      expect(await acme.get('deleted')).toBeUndefined()
      expect(await acme.get('untouched')).toBe('before')
      await acme.set('set', 'after')
      await outage(rig)
      expect(await acme.get('set')).toBeUndefined() // nothing is left of the first outage
    }))

  test('has entries that end like others', () =>
    withFallback(async (rig) => {
      await outage(rig)
      await rig.acme.set('k', 1, { ttl: '2s' })
      expect(await rig.acme.get('k')).toBe(1)
      await rig.clock.advance(2000)
      expect(await rig.acme.get('k')).toBeUndefined()
    }))

  test('has what a tier refuses that takes no writes and is still read, for a minute at most', () =>
    withFallback(async (rig) => {
      const { acme } = rig
      await acme.set('k', 1)
      rig.faultsOf('warm').inject({ fail: 'storage-full' }, 'put')
      await acme.set('first', 0)
      expect(rig.seen('degraded')).toHaveLength(1)
      let computed = 0
      const value = (): Promise<unknown> => acme.getOrCompute('other', () => ++computed)
      expect([await value(), await value(), await acme.get('k'), [...(await acme.getMany(['k', 'other']))]]).toEqual([1, 1, 1, [['k', 1], ['other', 1]]])
      await acme.set('k', 2)
      expect([await acme.get('k'), await textOf(await acme.getStream('k'))]).toEqual([2, '2'])
      await rig.clock.advance(61_000)
      expect([await acme.get('k'), await value()]).toEqual([undefined, 2])
      await acme.set('k', 3)
      await acme.delete('k')
      expect(await acme.get('k')).toBeUndefined()
      await acme.set('k', 4)
      await recovery(rig)
      expect(await acme.get('k')).toBeUndefined()
      await acme.set('k', 5)
      expect(await acme.get('k')).toBe(5)
    }))

  test('must be a backend in memory', () => {
    for (const fallback of [7, {}, new FileSystemBackend({ basePath: 'never-made' })]) {
      expect(() => new Rig('memory', '', { tier: { hot: { fallback: fallback as CacheBackend } } })).toThrow(/tiers\.hot\.fallback must be a backend in memory/)
    }
  })
})
