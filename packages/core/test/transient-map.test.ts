import { setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, test } from '@jest/globals'
import { TransientMap } from '../src/flights/transient-map.js'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as (options: { type: 'minor' | 'major' }) => void

describe('transient map', () => {
  test('holds what was put in and not removed, however many came and went', () => {
    const map = new TransientMap<string, number>()
    const expected = new Map<string, number>()
    for (let n = 0; n < 5000; n++) {
      map.set(`k${n}`, n)
      expected.set(`k${n}`, n)
      const gone = `k${n - (n % 7) * 3}`
      expect(map.delete(gone)).toBe(expected.delete(gone))
    }
    expect(map.size).toBe(expected.size)
    expect([...map.keys()]).toEqual([...expected.keys()])
    expect([...map.values()]).toEqual([...expected.values()])
    expect(map.has('none')).toBe(false)
  })

  test('all keys can be removed while they are gone through', () => {
    const map = new TransientMap<number, true>()
    for (let n = 0; n < 2000; n++) map.set(n, true)
    const seen: number[] = []
    for (const key of map.keys()) {
      seen.push(key)
      map.delete(key)
    }
    expect(seen).toHaveLength(2000)
    expect(map.size).toBe(0)
  })

  test('what came and went is gone with the next small collection', async () => {
    const BYTES = 1000 // so few in all that V8 begins no full collection by itself
    const PASSING = 5000
    const AT_ONCE = 64
    /** What is freed is counted when the collection after it begins, and is freed by another thread in between. */
    const bytesAfter = async (first: 'minor' | 'major'): Promise<number> => {
      for (const type of [first, 'minor', 'minor'] as const) {
        collect({ type })
        await sleep(10)
      }
      return process.memoryUsage().arrayBuffers
    }
    const retained = async (map: { set(key: number, value: Buffer): unknown; delete(key: number): boolean }): Promise<number> => {
      collect({ type: 'major' })
      const before = await bytesAfter('major') // the map's table is old now
      for (let n = 0; n < PASSING; n++) {
        map.set(n, Buffer.allocUnsafeSlow(BYTES))
        map.delete(n - AT_ONCE)
      }
      return ((await bytesAfter('minor')) - before) / BYTES
    }
    const median = async (make: () => Parameters<typeof retained>[0]): Promise<number> => {
      const each: number[] = []
      for (let n = 0; n < 5; n++) each.push(await retained(make()))
      return each.sort((a, b) => a - b)[2] as number
    }
    expect(await median(() => new Map())).toBeGreaterThan(PASSING / 4) // else V8 has changed, and the class is not needed
    expect(await median(() => new TransientMap())).toBeLessThan(PASSING / 5)
  })
})
