import { describe, expect, test } from '@jest/globals'
import { MemoryBackend } from '@thermocline/memory'
import { STACKS, withRig } from '../support/rig.js'

const LOSING: readonly (readonly [string, () => unknown])[] = [
  ['a Response', () => new Response('body')],
  ['Headers inside', () => ({ status: 200, headers: new Headers({ a: 'b' }) })],
  ['a URL in a Map', () => new Map([['home', new URL('http://a/')]])],
  ['URLSearchParams', () => new URLSearchParams('a=b')],
  ['FormData', () => [new FormData()]],
  ['an error with a code', () => Object.assign(new Error('m'), { code: 'E' })],
  ['a getter that throws', () => ({ get a(): never { throw new Error('boom') } })],
  ['a Proxy that throws', () => ({ proxy: new Proxy({}, { ownKeys: () => { throw new Error('boom') }, getPrototypeOf: () => { throw new Error('boom') } }) })],
]

describe.each(STACKS)('values in %s', (stack) => {
  test.each(LOSING)('%s is kept by reference or refused, and never the tier\'s failure', (_name, make) =>
    withRig(stack, {}, async (rig) => {
      const { acme } = rig
      for (let i = 0; i < 12; i++) {
        const value = make()
        if (stack === 'memory') {
          await acme.set(`k${i}`, value)
          expect(await acme.get(`k${i}`)).toBe(value)
        } else {
          await acme.set(`k${i}`, 'old')
          await expect(acme.set(`k${i}`, value)).rejects.toMatchObject({ name: 'CacheError', code: 'not-encodable' })
          expect(await acme.getOrCompute(`computed${i}`, () => value)).toBe(value)
          expect(await acme.has(`computed${i}`)).toBe(false)
          expect(await acme.get(`k${i}`)).toBe('old')
        }
      }
      await acme.set('other', 1)
      expect(await acme.get('other')).toBe(1)
      expect(rig.seen('degraded')).toEqual([])
    }))
})

describe.each(['clone', 'freeze'] as const)('values in a memory tier that may %s', (isolation) => {
  test.each(LOSING)('%s is refused: the copy would be worth nothing', (_name, make) =>
    withRig('memory', { tier: { hot: { backend: new MemoryBackend({ isolation }) } } }, async (rig) => {
      const { acme } = rig
      for (let i = 0; i < 12; i++) await expect(acme.set('k', make())).rejects.toMatchObject({ code: 'not-encodable' })
      const value = make()
      const both = await Promise.all([acme.getOrCompute('k', () => value), acme.getOrCompute('k', () => value)])
      expect(both[0]).toBe(value)
      expect(both[1]).toBe(value)
      expect(await acme.has('k')).toBe(false)
      expect(rig.seen('degraded')).toEqual([])
    }))
})
