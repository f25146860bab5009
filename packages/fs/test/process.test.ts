import { performance } from 'node:perf_hooks'
import { describe, expect, test } from '@jest/globals'
import { temporaryDirectory } from '../../../test/support/afterwards.js'
import { startChild } from './support/processes.js'
import { Shelf } from './support/shelf.js'

const MANY = 12_000

describe('the process', () => {
  test.each([[true, undefined], [false, undefined], [true, 1e6], [false, 1e6]])('exits by itself when closed: %s, with maxBytes: %s', async (close, maxBytes) => {
    const child = startChild('visit', temporaryDirectory(), { close, maxBytes })
    expect(await child.ended).toBe(0)
    const doneAt = Number(/done (\d+)/.exec(child.output())?.[1])
    expect(Date.now() - doneAt).toBeLessThan(1500)
  })
})

describe('a directory with very many entries', () => {
  test(
    'delays neither the first get nor, beyond one scan, the first writes',
    async () => {
      const basePath = temporaryDirectory()
      const child = startChild('populate', basePath, { entries: MANY })
      expect(await child.ended).toBe(0)
      const firstGet = async (shelf: Shelf): Promise<number> => {
        const startedAt = performance.now()
        await shelf.get('entry-77')
        return performance.now() - startedAt
      }
      const empty = await firstGet(new Shelf({ maxBytes: 100e6 }))
      const full = new Shelf({ basePath, maxBytes: 100e6 })
      expect(await firstGet(full)).toBeLessThan(10 * empty + 100)
      expect(full.backend.stats().bytes).toBeUndefined()

      // while the first write scans, a get is served, and all who wait for room have their budgets renewed
      const renewed = [0, 0, 0]
      const puts = renewed.map((_, i) => full.put(`new-${i}`, 'x', { progress: () => renewed[i]!++ }))
      expect(await firstGet(full)).toBeLessThan(10 * empty + 500)
      expect(await Promise.all(puts)).toEqual([true, true, true])
      for (const times of renewed) expect(times).toBeGreaterThan(MANY / 100)
      expect(full.backend.stats().bytes).toBeGreaterThan(MANY * 100)
    },
    60_000,
  )
})
