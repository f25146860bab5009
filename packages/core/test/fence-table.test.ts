import { describe, expect, test } from '@jest/globals'
import { Invalidation, validateKey } from '@thermocline/backend'
import { FenceTable, type Fence } from '../src/flights/fence.js'
import { TenantRegistry } from '../src/state/tenant-state.js'

const key = validateKey('k')

describe('the table of fences keeps only what is open', () => {
  test.each([
    ['every invalidation breaks', (fences: FenceTable) => fences.open(key), (fences: FenceTable, fence: Fence) => fences.close(fence)],
    ['only later invalidations break', (fences: FenceTable) => fences.openLater(key), (fences: FenceTable, fence: Fence) => fences.closeLater(fence)],
  ])('a fence that %s is shared by those who hold it, and forgotten with the last of them', (_, open, close) => {
    const fences = new FenceTable()
    const first = open(fences)
    expect(open(fences)).toBe(first)
    close(fences, first)
    expect(open(fences)).toBe(first)
    close(fences, first)
    close(fences, first)
    expect(open(fences)).not.toBe(first)
  })

  test('one that was broken is not given to the next', () => {
    const fences = new FenceTable()
    for (const invalidation of [Invalidation.ofKey(key), Invalidation.ofPrefix('')]) {
      const first = fences.open(key)
      fences.break(invalidation)
      expect(first.broken).toBe(true)
      const next = fences.open(key)
      expect(next.broken).toBe(false)
      fences.close(first) // which must not take the next one along
      expect(fences.open(key)).toBe(next)
      fences.close(next)
      fences.close(next)
    }
  })
})

test('a tenant that nobody uses has no state', () => {
  expect(new TenantRegistry(1, 1).peek('nobody')).toBeUndefined()
})
