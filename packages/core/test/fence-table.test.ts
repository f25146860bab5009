import { describe, expect, test } from '@jest/globals'
import { validateKey } from '@thermocline/core'
import { FenceTable } from '../src/compute/fence.js'
import { Invalidation } from '../src/contract/invalidation.js'
import { TenantRegistry } from '../src/manager/tenant-state.js'

const key = validateKey('k')

describe('the table of fences keeps only what is open', () => {
  test('a fence is shared by those who hold it, and forgotten with the last of them', () => {
    const fences = new FenceTable()
    const first = fences.open(key)
    expect(fences.open(key)).toBe(first)
    fences.close(first)
    expect(fences.open(key)).toBe(first)
    fences.close(first)
    fences.close(first)
    expect(fences.open(key)).not.toBe(first)
  })

  test('so is one that only later invalidations break', () => {
    const fences = new FenceTable()
    const first = fences.openLater(key)
    expect(fences.openLater(key)).toBe(first)
    fences.closeLater(first)
    expect(fences.openLater(key)).toBe(first)
    fences.closeLater(first)
    fences.closeLater(first)
    expect(fences.openLater(key)).not.toBe(first)
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
