import { describe, expect, test } from '@jest/globals'
import { Invalidation, validateKey } from '@thermocline/backend'
import { FencedKey, FenceTable, type Fence } from '../src/flights/fence.js'
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

describe('a fence that only later invalidations break', () => {
  test.each([['its key', Invalidation.ofKey(key)], ['a prefix', Invalidation.ofPrefix('k')]])('is broken by one of %s when it is called, and from the beginning while that has not been applied', (_, invalidation) => {
    const fences = new FenceTable()
    const before = fences.openLater(key)
    const other = fences.openLater(validateKey('other'))
    const end = fences.whileInvalidating(invalidation, false)
    expect([before.broken, other.broken, fences.openLater(key).broken, fences.open(key).broken]).toEqual([true, false, true, true])
    end()
    expect([fences.openLater(key).broken, fences.open(key).broken]).toEqual([false, false])
  })

  test('is sound from the beginning where that has been applied at once, unlike any other', () => {
    const fences = new FenceTable()
    const ends = [fences.whileInvalidating(Invalidation.ofKey(key), true), fences.whileInvalidating(Invalidation.ofKey(key), true)]
    expect([fences.openLater(key).broken, fences.open(key).broken]).toEqual([false, true])
    ends[0]?.()
    expect(fences.open(key).broken).toBe(true)
    ends[1]?.()
    expect(fences.open(key).broken).toBe(false)
  })
})

describe('a fence on many keys', () => {
  test('is broken for what is invalidated while it is open, or was under way, and no more when the last has closed it', () => {
    const fences = new FenceTable()
    const end = fences.whileInvalidating(Invalidation.ofKey(validateKey('a')), true)
    const wide = fences.openWide(['a', 'b', 'c/1', 'd'])
    const letGo = fences.hold(new FencedKey('d', wide))
    fences.break(Invalidation.ofKey(validateKey('b')))
    fences.break(Invalidation.ofPrefix('c/'))
    const broken = (): boolean[] => ['a', 'b', 'c/1', 'd'].map((name) => wide.isBroken(name))
    expect(broken()).toEqual([true, true, true, false])
    end()
    fences.closeWide(wide)
    letGo()
    fences.break(Invalidation.ofKey(validateKey('d')))
    expect(broken()).toEqual([true, true, true, false])
    const held = fences.openWide(['d'])
    fences.hold(new FencedKey('d', held))
    fences.closeWide(held)
    fences.break(Invalidation.ofKey(validateKey('d')))
    expect(held.isBroken('d')).toBe(true)
  })
})

test('a tenant that nobody uses has no state', () => {
  expect(new TenantRegistry(1, 1).peek('nobody')).toBeUndefined()
})
