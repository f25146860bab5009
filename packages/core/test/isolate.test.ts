import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { cloneValue, handOut, takeIn } from '../src/codec/isolate.js'
import { sameValue } from './support/same-value.js'

const nested = (): { list: { a: number }[]; at: Date; map: Map<string, number[]>; bytes: Buffer } => ({ list: [{ a: 1 }], at: new Date(5), map: new Map([['k', [1]]]), bytes: Buffer.from('raw') })
const plain = (): { list: { a: number }[] } => ({ list: [{ a: 1 }] })
const PRIMITIVES: readonly unknown[] = [undefined, null, 0, -0, Number.NaN, '', 'text', true, 1n]

describe.each(['share', 'freeze', 'clone'] as const)('isolation %s', (isolation) => {
  test('takes and hands out primitives as they are', () => {
    for (const value of PRIMITIVES) {
      expect(takeIn(value, isolation)).toBe(value)
      expect(handOut(value, isolation)).toBe(value)
    }
  })

  test('changes no value', () => {
    fc.assert(fc.property(fc.anything({ withDate: true, withMap: true, withSet: true, withTypedArray: true, withBigInt: true }), (value) => sameValue(handOut(takeIn(value, isolation), isolation), structuredClone(value))))
  })
})

describe('share', () => {
  test('is the reference itself, of whatever kind', () => {
    for (const value of [nested(), () => 1, Symbol('s'), new WeakMap()]) expect(handOut(takeIn(value, 'share'), 'share')).toBe(value)
  })
})

describe('clone', () => {
  test('is a copy each time, inside too, and bytes keep their class', () => {
    const stored = takeIn(nested(), 'clone') as ReturnType<typeof nested>
    const first = handOut(stored, 'clone') as ReturnType<typeof nested>
    const second = handOut(stored, 'clone') as ReturnType<typeof nested>
    for (const part of ['list', 'at', 'map', 'bytes'] as const) {
      expect(first[part]).not.toBe(second[part])
      expect(first[part]).not.toBe(stored[part])
    }
    expect(Buffer.isBuffer(cloneValue(Buffer.from('b')))).toBe(true)
    expect(Buffer.isBuffer(cloneValue(Uint8Array.of(1)))).toBe(false)
  })

  test('of bytes has memory of its own', () => {
    const pool = Buffer.alloc(1000)
    for (const view of [pool.subarray(1, 5), new Uint8Array(pool.buffer, pool.byteOffset, 4)]) expect((cloneValue(view) as Uint8Array).buffer.byteLength).toBe(4)
  })

  test('refuses what structuredClone refuses, a function too: it can be changed and not copied', () => {
    for (const value of [() => 1, { f: () => 1 }, [Symbol('s')], Promise.resolve(), new WeakMap()]) {
      for (const isolation of ['clone', 'freeze'] as const) expect(() => takeIn(value, isolation)).toThrow()
    }
  })
})

describe('freeze', () => {
  test('takes a copy: the caller keeps an object that can be changed', () => {
    const given = plain()
    const stored = takeIn(given, 'freeze')
    expect(stored).not.toBe(given)
    expect(Object.isFrozen(given) || Object.isFrozen(given.list)).toBe(false)
    given.list.push({ a: 2 })
    expect(stored).toEqual(plain())
  })

  test('hands out plain data as the one frozen object, without a copy', () => {
    const stored = takeIn(plain(), 'freeze') as ReturnType<typeof plain>
    expect(handOut(stored, 'freeze')).toBe(stored)
    expect(handOut(stored, 'freeze')).toBe(stored) // found frozen before: no second walk
    expect([stored, stored.list, stored.list[0]].every((part) => Object.isFrozen(part))).toBe(true)
  })

  test('does not walk again what it found frozen throughout', () => {
    let walks = 0
    const stored = Object.freeze(new Proxy(Object.freeze({ a: 1 }), { ownKeys: (target) => (walks++, Reflect.ownKeys(target)) }))
    handOut(stored, 'freeze')
    const after = walks
    handOut(stored, 'freeze')
    expect(walks).toBe(after)
  })

  test('hands out a copy where a Date, a Map or bytes are inside, its plain parts frozen', () => {
    for (const part of ['at', 'map', 'bytes'] as const) {
      const stored = takeIn({ part: nested()[part], list: [[1]] }, 'freeze') as { part: unknown; list: number[][] }
      const [first, second] = [handOut(stored, 'freeze'), handOut(stored, 'freeze')] as (typeof stored)[]
      expect(first?.part).not.toBe(second?.part)
      expect(first?.part).not.toBe(stored.part)
      expect([first, first?.list, first?.list[0]].every((plainPart) => Object.isFrozen(plainPart))).toBe(true)
    }
  })

  test('a frozen Date or Map is still one that can be changed: it is copied', () => {
    for (const value of [Object.freeze(new Date(5)), Object.freeze(new Map([['k', 1]])), Object.freeze({ at: Object.freeze(new Date(5)) }), Buffer.from('b'), new Set([1])]) {
      expect(handOut(value, 'freeze')).not.toBe(value)
    }
  })

  test('an object frozen only at the top is copied', () => {
    const value = Object.freeze({ inner: { a: 1 } })
    const handed = handOut(value, 'freeze') as typeof value
    expect(handed).not.toBe(value)
    expect(Object.isFrozen(handed.inner)).toBe(true)
    expect(Object.isFrozen(value.inner)).toBe(false)
  })

  test('comes to an end with cycles and shared parts', () => {
    const cycle: Record<string, unknown> = { shared: { a: 1 } }
    cycle.self = cycle
    cycle.again = cycle.shared
    const stored = takeIn(cycle, 'freeze') as typeof cycle
    expect(Object.isFrozen(stored.shared)).toBe(true)
    expect(handOut(stored, 'freeze')).toBe(stored)
    expect(stored.self).toBe(stored)
  })
})
