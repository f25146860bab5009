import { describe, expect, test } from '@jest/globals'
import { TieredCacheManager } from '@thermocline/core'
import { FileSystemBackend } from '@thermocline/fs'
import { MemoryBackend } from '@thermocline/memory'
import { FakeClock, Faults } from '@thermocline/testkit'
import { afterwards, temporaryDirectory } from '../support/afterwards.js'
import { until } from '../support/servers/until.js'

interface Stack {
  readonly cache: TieredCacheManager
  readonly acme: ReturnType<TieredCacheManager['tenant']>
  readonly faults: Faults
  readonly demoted: string[]
  readonly clock: FakeClock
}

/** A small memory over a disk that takes what it has no room for. */
function smallOverDisk({ maxEntries = 3, compression }: { maxEntries?: number; compression?: 'gzip' } = {}): Stack {
  const faults = new Faults()
  const clock = new FakeClock(Date.now())
  const cache = new TieredCacheManager({
    tiers: {
      hot: { backend: new MemoryBackend({ maxEntries }) },
      warm: { backend: new FileSystemBackend({ basePath: temporaryDirectory() }), layers: [faults.layer] },
    },
    policies: { default: { tiers: { warm: { write: 'demote' } }, compression } },
    logger: false,
    clock,
  })
  afterwards(async () => {
    faults.heal()
    faults.release()
    const closing = cache.close()
    await clock.advance(3000)
    await closing
  })
  const demoted: string[] = []
  cache.on('demote', ({ key, from, to }) => demoted.push(`${key} ${from} ${to}`))
  return { cache, acme: cache.tenant('acme'), faults, demoted, clock }
}

describe('demotion', () => {
  test('what memory has no room for goes to the disk, and comes back from there', async () => {
    const { acme, demoted, cache, clock } = smallOverDisk()
    for (const at of [1, 2, 3, 4, 5]) await acme.set(`k${at}`, { at })
    await until('it is demoted', () => demoted.length === 2)
    expect([...demoted].sort()).toEqual(['k1 hot warm', 'k2 hot warm'])
    const fresh = { status: 'fresh', createdAt: clock.now(), expiresAt: clock.now() + 3_600_000 }
    expect(await acme.lookup('k1')).toEqual({ ...fresh, tier: 'warm', value: { at: 1 } })
    expect(await acme.lookup('k5')).toEqual({ ...fresh, tier: 'hot', value: { at: 5 } })
    expect(await acme.get('k1')).toEqual({ at: 1 })
    const { tiers } = await cache.stats()
    expect(tiers['warm']?.demotions).toBeGreaterThanOrEqual(2)
  })

  test('what is found below such a tier is promoted past it', async () => {
    const tiers = { hot: { backend: new MemoryBackend() }, warm: { backend: new MemoryBackend() }, cold: { backend: new MemoryBackend() } }
    const cache = new TieredCacheManager({ tiers, policies: { default: { tiers: { warm: { write: 'demote' } } } }, logger: false })
    afterwards(() => cache.close())
    const acme = cache.tenant('acme')
    await acme.set('k', 1, { tiers: { hot: false } })
    expect(await acme.get('k')).toBe(1)
    const held: string[] = []
    for await (const { tier } of acme.list()) held.push(tier)
    expect(held).toEqual(['hot', 'cold'])
  })

  test('a burst is demoted too: all of setMany, and each entry once', async () => {
    const { acme, faults } = smallOverDisk({ maxEntries: 10 })
    await acme.setMany(Array.from({ length: 200 }, (_, at) => [`k${at}`, 'x'.repeat(100)] as const))
    await until('it is demoted', async () => {
      let count = 0
      for await (const { tier } of acme.list()) if (tier === 'warm') count++
      return count === 190
    })
    expect(faults.calls.put).toBe(190)
  })

  test('the end of life travels along', async () => {
    const { acme, demoted } = smallOverDisk({ maxEntries: 1 })
    await acme.set('a', 1, { ttl: '10m' })
    const before = await acme.lookup('a', { value: false })
    await acme.set('b', 1)
    await until('it is demoted', () => demoted.length === 1)
    expect(await acme.lookup('a', { value: false })).toEqual({ ...before, tier: 'warm' })
  })

  test('what is over is not demoted', async () => {
    const { acme, clock, faults } = smallOverDisk({ maxEntries: 1 })
    await acme.set('a', 1, { ttl: '1s' })
    await clock.advance(2000)
    await acme.set('b', 1)
    await clock.settle()
    expect(faults.calls.put).toBe(0)
  })

  test('a set writes nothing to the disk and takes away what is there', async () => {
    const { acme, demoted, faults } = smallOverDisk({ maxEntries: 1 })
    await acme.set('a', 'old')
    await acme.set('b', 1)
    await until('it is demoted', () => demoted.length === 1)
    await acme.set('a', 'new')
    await until('it is demoted', () => demoted.length === 2) // b, which a has pushed out
    expect(faults.calls.put).toBe(2)
    expect(await acme.has('a', { tiers: { hot: false } })).toBe(false)
    expect(await acme.get('a')).toBe('new')
  })

  test('a delete that comes while an entry is demoted wins', async () => {
    const { acme, faults, clock } = smallOverDisk({ maxEntries: 1 })
    await acme.set('a', 'old')
    faults.inject('hang', 'put')
    await acme.set('b', 1)
    await until('it is demoted', () => faults.hanging === 1)
    const deleting = acme.delete('a')
    faults.heal()
    faults.release()
    await clock.advance(10)
    await deleting
    await clock.settle()
    expect(await acme.has('a')).toBe(false)
  })

  test('values are compressed as their policy says', async () => {
    const { acme, demoted } = smallOverDisk({ maxEntries: 1, compression: 'gzip' })
    await acme.set('a', 'the same again; '.repeat(10_000))
    await acme.set('b', 1)
    await until('it is demoted', () => demoted.length === 1)
    for await (const { key, tier, size } of acme.list('a', { detail: true })) if (tier === 'warm') expect([key, (size ?? 0) < 5000]).toEqual(['a', true])
    expect(await acme.get('a')).toBe('the same again; '.repeat(10_000))
  })

  test('a disk that takes no writes costs nobody anything', async () => {
    const { acme, faults } = smallOverDisk({ maxEntries: 1 })
    faults.inject({ fail: 'storage-full' }, 'put')
    for (const at of [1, 2, 3]) await acme.set(`k${at}`, at)
    expect(await acme.get('k3')).toBe(3)
  })

  test('the first tier cannot be filled by a tier above it', () => {
    expect(() => new TieredCacheManager({ tiers: { hot: { backend: new MemoryBackend() } }, policies: { p: { tiers: { hot: { write: 'demote' } } } } })).toThrow("policies.p.tiers.hot.write: 'demote' needs a tier above it")
  })

  test.each(['delete', 'clear', 'setStream'] as const)('what memory evicts while a %s is under way is older, and does not come back', async (verb) => {
    const { acme, faults, clock } = smallOverDisk({ maxEntries: 1 })
    await acme.set('k', 'old')
    faults.inject('hang', 'delete', 'clear')
    const done = verb === 'delete' ? acme.delete('k') : verb === 'clear' ? acme.clear('k') : acme.setStream('k', [Buffer.from('new')])
    await until('the disk is asked', () => faults.hanging === 1)
    const other = acme.set('j', 1) // evicts it
    faults.heal()
    faults.release()
    await Promise.all([done, other])
    await clock.settle()
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(await acme.get('k', { tiers: { hot: false } })).not.toBe('old')
    expect(await acme.get('k')).not.toBe('old')
  })
})
