import { beforeAll, describe, expect, test } from '@jest/globals'
import { estimateBytes } from '@thermocline/backend'
import fc from 'fast-check'
import { bytesOfSmall } from '../src/values/small-value-size.js'
import { estimateLarge } from '../src/values/value-size.js'
import { runBundled } from '../../../test/support/bundled.js'

interface Measured {
  readonly name: string
  readonly estimate: number
  readonly took: number
}

/** What the heap itself is unsure by. */
const SLACK_BYTES = 150_000

describe('what a value is estimated to take', () => {
  let measured: readonly Measured[] = []
  beforeAll(() => {
    const { status, stdout, stderr } = runBundled('packages/backend/test/outside-jest/value-sizes.ts', [], ['--expose-gc'])
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    measured = stdout.trim().split('\n').map((line) => JSON.parse(line) as Measured)
  }, 300_000)

  test('is within a factor of two of what it takes on the heap, whatever its shape', () => {
    const wrong = measured.filter(({ estimate, took }) => estimate > (took + SLACK_BYTES) * 2 || estimate < (took - SLACK_BYTES) / 2)
    expect(wrong).toEqual([])
    expect(measured.length).toBeGreaterThan(30)
  })
})

describe('an estimate', () => {
  test('comes to an end whatever an array claims to be, and counts what it has', () => {
    const sparse: unknown[] = []
    sparse[4_294_967_294] = 'x'.repeat(10_000)
    expect(estimateBytes(sparse)).toBeGreaterThan(10_000)
    expect(estimateBytes(sparse)).toBeLessThan(11_000)
    expect(estimateBytes(Array.from({ length: 100 }, () => new Array<unknown>(4_000_000_000)))).toBeLessThan(10_000)
  })

  test('needs no stack and no end: depth, cycles, getters that make more of themselves', () => {
    const deep = Array.from({ length: 100_000 }).reduce<unknown>((inner) => [inner], 'bottom')
    expect(estimateBytes(deep)).toBeGreaterThan(100_000)
    const cycle: unknown[] = []
    cycle.push(cycle, { cycle })
    expect(estimateBytes(cycle)).toBeLessThan(300)
    const endless = (): object => ({ get next() { return endless() } })
    expect(estimateBytes(endless())).toBeGreaterThan(0)
  })

  test('is that of a number for what has nothing inside', () => {
    for (const value of [undefined, null, 1, 1.5, true, '', Symbol('s')]) expect(estimateBytes(value)).toBe(8)
  })
})

describe('the way for small values', () => {
  const leaf = fc.oneof(fc.string({ maxLength: 20 }), fc.integer(), fc.double(), fc.boolean(), fc.bigInt(), fc.constant(null), fc.constant(undefined), fc.constantFrom('a', 'bc', 'a'.repeat(1500)))
  const value = fc.letrec((tie) => ({
    any: fc.oneof({ maxDepth: 4, withCrossShrink: true }, leaf, tie('list'), tie('map')),
    list: fc.oneof(fc.array(tie('any'), { maxLength: 20 }), fc.array(fc.double(), { maxLength: 70 }), fc.sparseArray(fc.integer(), { maxLength: 20, maxNumElements: 5 })),
    map: fc.dictionary(fc.oneof(fc.string({ maxLength: 12 }), fc.nat(40).map(String)), tie('any'), { maxKeys: 18 }),
  }))

  test('comes to the same sum as the one for all', () => {
    let small = 0
    fc.assert(
      fc.property(fc.oneof(value.list, value.map), (given) => {
        const bytes = bytesOfSmall(given)
        if (bytes === undefined) return
        small++
        expect(bytes).toBe(estimateLarge(given))
      }),
      { numRuns: 2000, seed: 1 },
    )
    expect(small).toBeGreaterThan(200)
  })

  test('counts what is there twice once, and ends where a value contains itself', () => {
    const shared = { text: 'long enough to count' }
    const cycle: unknown[] = [1, 'x']
    cycle.push(cycle)
    for (const given of [[shared, shared, { shared }], cycle, [new Map(), 1], [() => 1], [new Date()], new Proxy({}, {}), Object.create({ a: 1 }) as object]) {
      const bytes = bytesOfSmall(given)
      if (bytes !== undefined) expect(bytes).toBe(estimateLarge(given))
    }
    expect(bytesOfSmall([shared, shared])).toBeLessThan(estimateLarge([shared, { ...shared }]))
  })

  test('leaves to the other what has getters that throw, or that store something themselves', () => {
    const inner = { get nested() { return bytesOfSmall({ a: 1 }) === undefined ? 'left to the other' : 'measured inside another' } }
    expect(bytesOfSmall({ get broken() { throw new Error('no') } })).toBeUndefined()
    expect(bytesOfSmall(inner)).toBe(bytesOfSmall({ nested: 'left to the other' }))
    expect(bytesOfSmall({ a: 1 })).toBe(estimateLarge({ a: 1 }))
  })
})
