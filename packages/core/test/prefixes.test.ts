import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { commonPrefix, Prefixes } from '../src/tiers/prefixes.js'

const text = fc.string({ unit: fc.constantFrom('a', 'b', '/', '😀'), maxLength: 4 })
const step = fc.oneof(
  fc.record({ verb: fc.constant('set' as const), prefix: text, number: fc.nat(9) }),
  fc.record({ verb: fc.constant('delete' as const), prefix: text, number: fc.constant(0) }),
)

describe('a table of prefixes', () => {
  test('says what a plain map says', () => {
    fc.assert(fc.property(fc.array(step, { maxLength: 30 }), fc.array(text, { maxLength: 20 }), (steps, keys) => {
      const prefixes = new Prefixes()
      const plain = new Map<string, number>()
      for (const { verb, prefix, number } of steps) {
        prefixes[verb](prefix, number)
        plain[verb](prefix, number)
        expect([prefixes.size, prefixes.get(prefix), prefixes.has(prefix)]).toEqual([plain.size, plain.get(prefix), plain.has(prefix)])
      }
      expect([...prefixes.entries()]).toEqual([...plain])
      expect([...prefixes.keys()]).toEqual([...plain.keys()])
      for (const key of [...keys, ...plain.keys()]) expect([key, prefixes.covers(key)]).toEqual([key, [...plain.keys()].some((prefix) => key.startsWith(prefix))])
    }), { numRuns: 500 })
  })

  test('covers what begins with those that are left, however many of their length have gone', () => {
    const prefixes = Prefixes.of(['aa', 'ab', 'b'])
    const covered = (): boolean[] => ['aac', 'abc', 'bc'].map((key) => prefixes.covers(key))
    prefixes.set('aa', 1)
    prefixes.delete('aa')
    prefixes.delete('ac')
    expect(covered()).toEqual([false, true, true])
    prefixes.delete('ab')
    expect(covered()).toEqual([false, false, true])
    prefixes.set('aa', 2)
    expect(covered()).toEqual([true, false, true])
  })

  test('made of prefixes has each with the number 0', () => {
    expect([...Prefixes.of(['a', 'b/', 'a']).entries()]).toEqual([['a', 0], ['b/', 0]])
  })
})

test('the common beginning of texts ends within no character', () => {
  expect(commonPrefix([])).toBe('')
  expect(commonPrefix(['abc'])).toBe('abc')
  expect(commonPrefix(['abc', 'abd', 'ab'])).toBe('ab')
  expect(commonPrefix(['a😀', 'a😁'])).toBe('a')
  expect(commonPrefix(['abc😀', 'abc😁'])).toBe('abc')
  fc.assert(fc.property(fc.array(text, { minLength: 1, maxLength: 5 }), (texts) => {
    const common = commonPrefix(texts)
    expect(common.isWellFormed()).toBe(true)
    expect(texts.every((one) => one.startsWith(common))).toBe(true)
    const longer = /^./su.exec((texts[0] as string).slice(common.length))?.[0]
    if (longer !== undefined) expect(texts.every((one) => one.startsWith(common + longer))).toBe(false)
  }))
})
