import { describe, expect, test } from '@jest/globals'
import { EXACT_VALUES, sameValue } from '@thermocline/testkit'
import { STACKS, withRig } from '../support/rig.js'

const FALSY: readonly unknown[] = [0, '', false, null, undefined, Buffer.alloc(0), -0, Number.NaN]

describe.each(STACKS)('promises 1 and 9, on %s', (stack) => {
  test.each(FALSY.map((value) => [value]))('a stored %p is a hit', (value) =>
    withRig(stack, {}, async ({ acme, cache }) => {
      await acme.set('k', value)
      expect(await acme.has('k')).toBe(true)
      expect((await acme.lookup('k')).status).toBe('fresh')
      let computed = 0
      const got = await acme.getOrCompute('k', () => ++computed)
      expect(sameValue(got, value)).toBe(true)
      expect(computed).toBe(0)
      expect((await acme.getMany(['k', 'other'])).size).toBe(1)
      expect((await cache.stats()).misses).toBe(1) // 'other'
    }),
  )

  test.each(EXACT_VALUES)('%s comes back as it went in: set, computed, promoted, and by a new manager', (_name, make) =>
    withRig(stack, {}, async ({ acme, clock }) => {
      await acme.set('set', make())
      expect(sameValue(await acme.get('set'), make())).toBe(true)
      await acme.getOrCompute('computed', make)
      expect(sameValue(await acme.get('computed'), make())).toBe(true)
      if (stack === 'memory and fs') {
        await clock.advance(61_000) // past what memory serves above a shared tier
        expect(await acme.lookup('set')).toMatchObject({ tier: 'warm' })
        expect(sameValue(await acme.get('set'), make())).toBe(true)
        expect(await acme.lookup('set')).toMatchObject({ tier: 'hot' })
        expect(sameValue(await acme.get('set'), make())).toBe(true)
      }
    }),
  )

  test('undefined in options means absent', () =>
    withRig(stack, {}, async ({ acme }) => {
      await acme.set('k', 1, { ttl: undefined, tags: undefined, metadata: undefined, policy: undefined, tiers: undefined, signal: undefined })
      expect(await acme.get('k', { policy: undefined, tiers: undefined, signal: undefined })).toBe(1)
    }))

  test('later mutation of a value that was set changes nothing stored', () =>
    withRig(stack, {}, async ({ acme, clock }) => {
      const bytes = Buffer.from('before')
      const setting = acme.set('bytes', bytes)
      bytes.write('after!')
      await setting
      expect(String(await acme.get('bytes'))).toBe('before')
      const object = { list: [1] }
      await acme.set('object', object)
      object.list.push(2)
      await clock.advance(61_000)
      // memory alone shares the reference: the one documented exception
      if (stack !== 'memory') expect(await acme.get('object')).toEqual({ list: [1] })
    }))

  test('a value the codec refuses is an error to set and changes nothing; getOrCompute hands it out uncached', () =>
    withRig(stack, {}, async (rig) => {
      const { acme } = rig
      await acme.set('k', 'old')
      const refused = { f: () => 1 }
      if (stack === 'memory') {
        await acme.set('k', refused)
        expect(await acme.get('k')).toBe(refused)
        return
      }
      await expect(acme.set('k', refused)).rejects.toMatchObject({ code: 'not-encodable' })
      expect(await acme.get('k')).toBe('old')
      expect(await acme.getOrCompute('fn', () => refused)).toBe(refused)
      expect(await acme.has('fn')).toBe(false)
      expect(rig.seen('error').map(({ error }) => error.code)).toContain('not-encodable')
    }))
})
