import { beforeAll, describe, expect, test } from '@jest/globals'
import { estimateBytes } from '@thermocline/backend'
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
