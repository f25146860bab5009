import { describe, expect, test } from '@jest/globals'
import { types } from 'node:util'
import type { TenantCache } from '@thermocline/core'
import { MemoryBackend } from '@thermocline/memory'
import { sameValue } from '@thermocline/testkit'
import { deferred, withRig, type Rig } from '../support/rig.js'

interface Value {
  readonly list: unknown[]
  readonly nested: { a: { b: number } }
  readonly at: Date
  readonly map: Map<string, unknown>
  readonly set: Set<unknown>
  readonly bytes: Uint8Array
}

const make = (): Value => ({ list: [1, { x: 1 }], nested: { a: { b: 1 } }, at: new Date(5), map: new Map([['k', { inner: 1 }]]), set: new Set([1]), bytes: Uint8Array.of(1, 2, 3) })
const VALUES: readonly (readonly [string, () => unknown])[] = [
  ['a nested value', make],
  ['plain data', () => ({ list: [1, [2], { x: { y: 'z' } }] })],
  ['a Buffer', () => Buffer.from('before')],
  ['a Uint8Array', () => Uint8Array.of(1, 2, 3)],
  ['a Date', () => new Date(5)],
  ['a Map', () => new Map([['k', [1]]])],
]

/** Changes whatever of a value can be changed. */
function vandalise(value: unknown): void {
  if (typeof value !== 'object' || value === null) return
  for (const part of types.isMap(value) ? value.values() : ArrayBuffer.isView(value) ? [] : Object.values(value)) vandalise(part)
  if (ArrayBuffer.isView(value)) new Uint8Array(value.buffer, value.byteOffset, value.byteLength).fill(255)
  for (const change of [() => (value as Date).setTime(99), () => (value as Map<string, unknown>).set('k', 'changed'), () => (value as Set<unknown>).add('changed'), () => (value as unknown[]).push('changed'), () => Object.assign(value, { changed: true })]) {
    try {
      change()
    } catch {
      // frozen, or of another kind
    }
  }
}

/** The mutable objects in a value: what two holders may not have in common. */
function mutableParts(value: unknown, found = new Set<object>()): Set<object> {
  if (typeof value !== 'object' || value === null || found.has(value)) return found
  const isFrozenPlain = Object.isFrozen(value) && (Array.isArray(value) || Object.prototype.toString.call(value) === '[object Object]')
  if (!isFrozenPlain) found.add(ArrayBuffer.isView(value) ? value.buffer : value)
  const parts = types.isMap(value) ? value.values() : ArrayBuffer.isView(value) ? [] : Object.values(value)
  for (const part of parts) mutableParts(part, found)
  return found
}

/** Every way to be handed a stored value. */
const WAYS: readonly (readonly [string, (acme: TenantCache) => Promise<unknown>])[] = [
  ['get', (acme) => acme.get('k')],
  ['get with options', (acme) => acme.get('k', { policy: 'default' })],
  ['getOrCompute', (acme) => acme.getOrCompute('k', () => 'not computed')],
  ['getMany', async (acme) => (await acme.getMany(['k'])).get('k')],
  ['lookup', async (acme) => ({ value: undefined, ...(await acme.lookup('k')) }).value],
  ['peek', (acme) => Promise.resolve(acme.peek('k'))],
]

/** Ways to give a value; all are done with it when they resolve. */
const GIVING: readonly (readonly [string, (acme: TenantCache, value: unknown) => Promise<unknown>])[] = [
  ['set', (acme, value) => acme.set('k', value)],
  ['setMany', (acme, value) => acme.setMany([['k', value]])],
  ['getOrCompute', (acme, value) => acme.getOrCompute('k', () => value)],
]

describe.each(['clone', 'freeze'] as const)('isolation: %s', (isolation) => {
  describe.each(['memory', 'memory and fs'] as const)('on %s', (stack) => {
    const onRig = (body: (rig: Rig) => Promise<void>): Promise<void> => withRig(stack, { tier: { hot: { backend: new MemoryBackend({ isolation }) } } }, body)

    describe.each(VALUES)('%s', (_name, fresh) => {
      test.each(GIVING)('given by %s may be changed afterwards', (_verb, give) =>
        onRig(async ({ acme }) => {
          const value = fresh()
          const got = await give(acme, value)
          vandalise(value)
          vandalise(got)
          for (const [, way] of WAYS) expect(sameValue(await way(acme), fresh())).toBe(true)
        }),
      )

      test('handed out in any way may be changed, and the next caller sees nothing of it', () =>
        onRig(async ({ acme, clock }) => {
          await acme.set('k', fresh())
          for (let round = 0; round < 2; round++) {
            for (const [, way] of WAYS) {
              const got = await way(acme)
              expect(sameValue(got, fresh())).toBe(true)
              vandalise(got)
            }
            // in the second round memory has it by promotion
            await clock.advance(61_000)
            if (stack === 'memory and fs') vandalise(await acme.get('k'))
          }
        }))

      test('is shared in no changeable part by any two callers', () =>
        onRig(async ({ acme }) => {
          const given = fresh()
          await acme.set('k', given)
          const held = [given]
          for (let round = 0; round < 2; round++) for (const [, way] of WAYS) held.push(await way(acme))
          const seen = new Set<object>()
          for (const value of held) {
            for (const part of mutableParts(value)) {
              expect(seen.has(part)).toBe(false)
              seen.add(part)
            }
          }
        }))

      test('computed once for many is nobody\'s to change for the others', () =>
        onRig(async ({ acme }) => {
          const gate = deferred()
          const original = fresh()
          const compute = async (): Promise<unknown> => gate.promise.then(() => original)
          const callers = Array.from({ length: 4 }, async () => {
            const got = await acme.getOrCompute('k', compute)
            const isWhole = sameValue(got, fresh())
            vandalise(got)
            return isWhole
          })
          gate.resolve()
          expect(await Promise.all(callers)).toEqual([true, true, true, true])
          vandalise(original)
          expect(sameValue(await acme.get('k'), fresh())).toBe(true)
        }))
    })

    test('metadata and tags given and handed out are nobody\'s way into the entry', () =>
      onRig(async ({ acme }) => {
        const metadata = { source: 'a' }
        const tags = ['t']
        await acme.set('k', 1, { metadata, tags })
        metadata.source = 'changed'
        tags.push('changed')
        for (let i = 0; i < 2; i++) {
          const looked = await acme.lookup('k')
          expect(looked).toMatchObject({ metadata: { source: 'a' }, tags: ['t'] })
          vandalise(looked)
        }
      }))

    test('what cannot be copied is refused by set, and handed out uncached by getOrCompute', () =>
      onRig(async ({ acme }) => {
        const value = { f: () => 1 }
        await expect(acme.set('k', value)).rejects.toMatchObject({ code: 'not-encodable' })
        expect(await acme.getOrCompute('k', () => value)).toBe(value)
        expect(await acme.has('k')).toBe(false)
      }))
  })
})

describe('isolation: freeze', () => {
  test('hands plain data out frozen, the same object to everybody: no copy is paid for', () =>
    withRig('memory', { tier: { hot: { backend: new MemoryBackend({ isolation: 'freeze' }) } } }, async ({ acme }) => {
      await acme.set('k', { a: [{ b: 1 }] })
      const first = await acme.get<{ a: [{ b: number }] }>('k')
      expect(Object.isFrozen(first?.a[0])).toBe(true)
      expect(await acme.get('k')).toBe(first)
      expect(acme.peek('k')).toBe(first)
    }))
})

describe('isolation: share', () => {
  test('of one tier gives way to a stricter one beside it', () =>
    withRig('memory and fs', { tier: { hot: { backend: new MemoryBackend() }, warm: { backend: new MemoryBackend({ isolation: 'clone' }), layers: [] } } }, async ({ acme }) => {
      await acme.set('k', make())
      vandalise(await acme.get('k'))
      expect(sameValue(await acme.get('k'), make())).toBe(true)
    }))
})
