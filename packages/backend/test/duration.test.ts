import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { durationMs, positiveDurationMs, ttlMs, type Ttl } from '@thermocline/backend'
import { instantAfter } from '../src/time/duration.js'

const UNITS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 } as const
const unit = fc.constantFrom(...(Object.keys(UNITS) as (keyof typeof UNITS)[]))
const WRONG: readonly unknown[] = [-1, -0.001, Number.NaN, Number.NEGATIVE_INFINITY, '', ' ', '5', '-5s', '5 minutes', '5M', '1e3s', '.5s', '5.s', 's', '1h30m', 'Infinity', true, {}, [], 1n, () => 1, Symbol('s')]

describe('a duration', () => {
  test('in numbers is seconds; in strings it has a unit', () => {
    expect([0, 1, 1.5, 3600].map((value) => durationMs(value, 'x'))).toEqual([0, 1000, 1500, 3_600_000])
    expect(['250ms', '15m', '30d', '1.5h', '2w', ' 3 s ', '0s'].map((value) => durationMs(value, 'x'))).toEqual([250, 900_000, 2_592_000_000, 5_400_000, 1_209_600_000, 3000, 0])
  })

  test('written with any whole number and unit is their product', () => {
    fc.assert(fc.property(fc.nat(), unit, (count, of) => durationMs(`${count}${of}`, 'x') === count * UNITS[of]))
  })

  test('written with decimals means what is written, not its binary neighbour', () => {
    fc.assert(
      fc.property(fc.nat({ max: 10 ** 9 }), (ms) => {
        const written = `${Math.floor(ms / 1000)}.${String(ms % 1000).padStart(3, '0')}`
        expect([durationMs(`${written}s`, 'x'), durationMs(Number(written), 'x')]).toEqual([ms, ms])
      }),
    )
    expect(durationMs(0.07, 'x')).toBe(70)
  })

  test('is rounded up to whole milliseconds, so that what is not zero never becomes zero', () => {
    fc.assert(
      fc.property(fc.double({ min: Number.MIN_VALUE, max: 1e12, noNaN: true }), (seconds) => {
        const ms = durationMs(seconds, 'x')
        expect(Number.isInteger(ms)).toBe(true)
        expect(ms).toBeGreaterThanOrEqual(1)
        expect(Math.abs(ms - seconds * 1000)).toBeLessThanOrEqual(1)
      }),
    )
    expect(durationMs('0.1ms', 'x')).toBe(1)
  })

  test('is a number that is not negative, or a TypeError; never NaN, whatever was given', () => {
    fc.assert(
      fc.property(fc.oneof(fc.anything(), fc.double(), fc.string(), fc.tuple(fc.double(), unit).map(([count, of]) => `${count}${of}`)), (given) => {
        try {
          expect(durationMs(given as number, 'x')).toBeGreaterThanOrEqual(0)
        } catch (error) {
          expect(error).toBeInstanceOf(TypeError)
        }
      }),
      { numRuns: 500 },
    )
  })

  test.each(WRONG.map((value) => [value]))('%p is refused with the name of the option', (value) => {
    for (const read of [durationMs, positiveDurationMs, ttlMs]) expect(() => read(value as number, 'tiers.hot.budget')).toThrow(/^tiers\.hot\.budget must be a number of seconds, or a string with a unit/)
  })

  test('of null or undefined is no duration', () => {
    for (const value of [null, undefined]) expect(() => durationMs(value as never, 'x')).toThrow(TypeError)
  })

  test('a long string is not repeated in the message', () => {
    expect(() => durationMs('secret'.repeat(20), 'x')).toThrow(/not a string of 120 characters$/)
  })

  test('that must be positive is not zero', () => {
    expect(() => positiveDurationMs(0, 'budget')).toThrow(/^budget must be longer than zero/)
    expect(() => positiveDurationMs('0ms', 'budget')).toThrow(TypeError)
    expect(positiveDurationMs('1ms', 'budget')).toBe(1)
    expect(positiveDurationMs(Number.POSITIVE_INFINITY, 'budget')).toBe(Number.POSITIVE_INFINITY)
  })
})

describe('a time to live', () => {
  test('not given leaves the choice to the next in the order; null and Infinity are for ever; zero is zero', () => {
    expect(([undefined, null, Number.POSITIVE_INFINITY, 0, '0s'] as Ttl[]).map((value) => ttlMs(value, 'ttl'))).toEqual([undefined, Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY, 0, 0])
  })

  test('beyond 2^31 milliseconds is kept', () => {
    expect(ttlMs('3650d', 'ttl')).toBe(315_360_000_000)
    expect(ttlMs(2 ** 31, 'ttl')).toBe(2 ** 31 * 1000)
  })

  test('ends that long after its beginning, or never', () => {
    fc.assert(fc.property(fc.nat({ max: 2 ** 40 }), fc.nat({ max: 2 ** 40 }), (from, ms) => instantAfter(from, ms) - from === ms))
    expect(instantAfter(5, Number.POSITIVE_INFINITY)).toBe(Number.POSITIVE_INFINITY)
  })
})
