import { Readable } from 'node:stream'
import { describe, expect, test } from '@jest/globals'
import { TieredCacheManager, type PolicyOptions, type TenantCache, type TierOptions } from '@thermocline/core'
import type { CacheBackend } from '@thermocline/backend'
import { FileSystemBackend } from '@thermocline/fs'
import { MemoryBackend } from '@thermocline/memory'
import { FakeClock, Faults } from '@thermocline/testkit'
import { afterwards, temporaryDirectory } from '../support/afterwards.js'

const LARGE = Buffer.alloc(200_000, 'large')

/** A tier whose copies are looked at, over one that has everything. */
interface Bench {
  readonly cache: TieredCacheManager
  readonly acme: TenantCache
  readonly faults: Faults
  readonly clock: FakeClock
  /** What was reported so far. */
  readonly errors: unknown[]
  /** Waits, in real time, for what is written in the background. */
  readonly untilIn: (tier: string, key: string) => Promise<void>
}

const memory = (): CacheBackend => new MemoryBackend()
const disk = (): CacheBackend => new FileSystemBackend({ basePath: temporaryDirectory() })

const TOPS: readonly (readonly [string, () => CacheBackend])[] = [
  ['memory', memory],
  ['a disk', disk],
]

/** The tier that is looked at, over one that has everything: only a disk hands out streams. */
const STACKS: readonly (readonly [string, () => Stores])[] = [
  ['memory', () => ({ top: memory(), below: memory() })],
  ['memory over a disk', () => ({ top: memory(), below: disk() })],
  ['a disk', () => ({ top: disk(), below: memory() })],
  ['a disk over another', () => ({ top: disk(), below: disk() })],
]

interface Stores {
  readonly top: CacheBackend
  readonly below: CacheBackend
}

function bench({ top, below }: Stores, options: Partial<TierOptions> = {}, policies: Record<string, PolicyOptions> = {}): Bench {
  const clock = new FakeClock(Date.now())
  const faults = new Faults()
  const cache = new TieredCacheManager({
      coordination: false,
    tiers: { top: { backend: top, ...options }, below: { backend: below, layers: [faults.layer] } },
    policies,
    clock,
    logger: false,
  })
  const acme = cache.tenant('acme')
  closed(clock, cache)
  afterwards(() => faults.heal().release())
  const untilIn = async (tier: string, key: string): Promise<void> => {
    for (let i = 0; i < 500; i++) {
      await clock.settle()
      const found = await acme.lookup(key, { value: false })
      if (found.status !== 'miss' && found.tier === tier) return
    }
    throw new Error(`${key} is not in ${tier}`)
  }
  const errors: unknown[] = []
  cache.on('error', (event) => errors.push(event))
  return { cache, acme, faults, clock, errors, untilIn }
}

/** Closes them after the test, also one that failed with work under way. */
function closed(clock: FakeClock, ...caches: readonly TieredCacheManager[]): void {
  afterwards(async () => {
    const closing = Promise.all(caches.map((cache) => cache.close()))
    await clock.advance(3000)
    await closing
  })
}

async function whole(stream: Readable | undefined): Promise<Buffer | undefined> {
  if (stream === undefined) return undefined
  const chunks: Uint8Array[] = []
  for await (const chunk of stream) chunks.push(chunk as Uint8Array)
  return Buffer.concat(chunks)
}

type Way = (acme: TenantCache) => Promise<unknown>

/** How an entry comes into every tier at once. */
const STORED: readonly (readonly [string, Way])[] = [
  ['set', (acme) => acme.set('p/k', LARGE)],
  ['setMany', (acme) => acme.setMany([['p/k', LARGE], ['p/l', 1]])],
  ['setStream', (acme) => acme.setStream('p/k', [LARGE.subarray(0, 5), LARGE.subarray(5)])],
  ['a small setStream', (acme) => acme.setStream('p/k', [Buffer.from('small')])],
  ['getOrCompute', (acme) => acme.getOrCompute('p/k', () => LARGE)],
  ['getOrComputeStream', (acme) => acme.getOrComputeStream('p/k', () => [LARGE]).then(whole)],
]

/** How an entry of the slower tier comes into the faster one. */
const PROMOTED: readonly (readonly [string, Way])[] = [
  ['get', (acme) => acme.get('p/k')],
  ['getMany', (acme) => acme.getMany(['p/k', 'p/l'])],
  ['getMany of one key', (acme) => acme.getMany(['p/k'])],
  ['getOrCompute', (acme) => acme.getOrCompute('p/k', () => 'never')],
  ['getStream', (acme) => acme.getStream('p/k').then(whole)],
  ['getOrComputeStream', (acme) => acme.getOrComputeStream('p/k', () => []).then(whole)],
]

const ways = (list: readonly (readonly [string, Way])[]): [string, string, () => Stores, Way][] =>
  STACKS.flatMap(([kind, make]) => list.map(([name, way]): [string, string, () => Stores, Way] => [name, kind, make, way]))

/** Where `p/k` is served from now, and until when it lives. */
async function seen(acme: TenantCache): Promise<unknown> {
  const found = await acme.lookup('p/k', { value: false })
  return found.status === 'miss' ? 'nowhere' : [found.tier, found.expiresAt]
}

describe('a tier serves what it was given no longer than its maxTtl, and the entry keeps its life', () => {
  test.each(ways(STORED))('by %s into %s', async (_name, _kind, make, store) => {
    const { acme, clock, untilIn } = bench(make(), { maxTtl: 5 })
    await store(acme)
    const takenAt = clock.now()
    await untilIn('top', 'p/k')
    await clock.advance(takenAt + 4999 - clock.now())
    expect(await seen(acme)).toEqual(['top', takenAt + 3_600_000])
    await clock.advance(1)
    expect(await seen(acme)).toEqual(['below', takenAt + 3_600_000])
  })

  test.each(ways(PROMOTED))('promoted by %s into %s, from when it was taken in', async (_name, _kind, make, read) => {
    const { acme, clock, errors, untilIn } = bench(make(), { maxTtl: 5 })
    const createdAt = clock.now()
    await acme.setMany([['p/k', LARGE], ['p/l', 1]], { tiers: { top: false } })
    await clock.advance(60_000)
    await read(acme)
    await untilIn('top', 'p/k')
    await clock.advance(4999)
    expect(await seen(acme)).toEqual(['top', createdAt + 3_600_000])
    await clock.advance(1)
    expect(await seen(acme)).toEqual(['below', createdAt + 3_600_000])
    await read(acme) // and once more
    await untilIn('top', 'p/k')
    await clock.advance(4999)
    expect(await seen(acme)).toEqual(['top', createdAt + 3_600_000])
    await clock.advance(1)
    expect(await seen(acme)).toEqual(['below', createdAt + 3_600_000])
    expect(errors).toEqual([])
  })

  test.each(ways(PROMOTED))('promoted by %s into %s, for the rest of its life where that is less', async (_name, _kind, make, read) => {
    const { acme, clock, untilIn } = bench(make(), { maxTtl: 5 })
    const createdAt = clock.now()
    await acme.setMany([['p/k', LARGE], ['p/l', 1]], { ttl: 10, tiers: { top: false } })
    await clock.advance(8000)
    await read(acme)
    await untilIn('top', 'p/k')
    await clock.advance(1999)
    expect(await seen(acme)).toEqual(['top', createdAt + 10_000])
    await clock.advance(1)
    expect(await seen(acme)).toBe('nowhere')
  })

  test.each(ways(PROMOTED))("promoted by %s into %s, for the policy's ttl in that tier where that is less", async (_name, _kind, make, read) => {
    const { acme, clock, untilIn } = bench(make(), { maxTtl: 60 }, { p: { tiers: { top: { ttl: 5 } } } })
    const createdAt = clock.now()
    await acme.setMany([['p/k', LARGE], ['p/l', 1]], { tiers: { top: false } })
    await clock.advance(60_000)
    await read(acme)
    await untilIn('top', 'p/k')
    await clock.advance(4999)
    expect(await seen(acme)).toEqual(['top', createdAt + 3_600_000])
    await clock.advance(1)
    expect(await seen(acme)).toEqual(['below', createdAt + 3_600_000])
  })

  test.each(TOPS)('demoted into %s', async (_kind, make) => {
    const clock = new FakeClock(Date.now())
    const cache = new TieredCacheManager({
      coordination: false,
      tiers: { hot: { backend: new MemoryBackend({ maxEntries: 1 }) }, low: { backend: make(), maxTtl: 5 } },
      policies: { p: { tiers: { low: { write: 'demote' } } } },
      clock,
      logger: false,
    })
    closed(clock, cache)
    const acme = cache.tenant('acme')
    const createdAt = clock.now()
    await acme.set('p/k', LARGE)
    await clock.advance(30_000)
    const demoted = new Promise((resolve) => cache.on('demote', resolve))
    await acme.set('p/x', 1)
    await demoted
    await clock.advance(4999)
    expect(await seen(acme)).toEqual(['low', createdAt + 3_600_000])
    await clock.advance(1)
    expect(await seen(acme)).toBe('nowhere')
  })

  test.each([['set', (acme: TenantCache) => acme.set('p/k', 1)], ['getOrCompute', (acme: TenantCache) => acme.getOrCompute('p/k', () => 1)]])('by %s into what stands in for it', async (_name, store) => {
    const faults = new Faults()
    const clock = new FakeClock(Date.now())
    const cache = new TieredCacheManager({ tiers: { top: { backend: new MemoryBackend(), layers: [faults.layer], maxTtl: 5, fallback: new MemoryBackend() } }, clock, logger: false })
    closed(clock, cache)
    const acme = cache.tenant('acme')
    faults.inject({ fail: 'unavailable' })
    await acme.get('p/other') // it is found out
    await store(acme)
    await clock.advance(4999)
    expect(await acme.get('p/k')).toBe(1)
    await clock.advance(1)
    expect(await acme.get('p/k')).toBeUndefined()
  })

  test.each(PROMOTED.slice(0, 4))('promoted by %s into what stands in for it', async (_name, read) => {
    const faults = new Faults()
    const clock = new FakeClock(Date.now())
    const cache = new TieredCacheManager({
      coordination: false,
      tiers: { top: { backend: new MemoryBackend(), layers: [faults.layer], maxTtl: 5, fallback: new MemoryBackend() }, below: { backend: new MemoryBackend() } },
      clock,
      logger: false,
    })
    closed(clock, cache)
    const acme = cache.tenant('acme')
    const createdAt = clock.now()
    await acme.setMany([['p/k', LARGE], ['p/l', 1]])
    faults.inject({ fail: 'unavailable' })
    await acme.get('p/other')
    await read(acme)
    await clock.advance(4999)
    expect(await seen(acme)).toEqual(['top', createdAt + 3_600_000])
    await clock.advance(1)
    expect(await seen(acme)).toEqual(['below', createdAt + 3_600_000])
  })
})

describe('an entry that is there already', () => {
  /** Two processes, say: each with a manager of its own over the same stores. */
  function two(make: () => Stores): { one: TenantCache; other: TenantCache; puts: Faults; clock: FakeClock; middle: (acme: TenantCache) => Promise<unknown> } {
    const clock = new FakeClock(Date.now())
    const puts = new Faults()
    const stores = make()
    const managers = [new Faults(), puts].map(
      (faults) =>
        new TieredCacheManager({
      coordination: false,
          tiers: { middle: { backend: stores.top, layers: [faults.layer], budget: 10 }, below: { backend: stores.below } },
          clock,
          logger: false,
        }),
    )
    closed(clock, ...managers)
    afterwards(() => puts.heal().release())
    const [other, one] = managers.map((manager) => manager.tenant('acme')) as [TenantCache, TenantCache]
    return { one, other, puts, clock, middle: (acme) => acme.get('p/k', { tiers: { below: false } }) }
  }

  test.each(ways(PROMOTED))('is not replaced by what %s was to promote into %s and was held up', async (_name, _kind, make, read) => {
    const { one, other, puts, clock, middle } = two(make)
    await one.setMany([['p/k', LARGE], ['p/l', 1]], { tiers: { middle: false } })
    puts.inject('hang', 'put')
    await read(one)
    await clock.settle()
    expect(puts.hanging).toBeGreaterThan(0)
    await other.set('p/k', 'new')
    puts.heal()
    puts.release()
    await clock.settle()
    await one.set('p/sentinel', 1) // a put that comes later
    await clock.settle()
    expect([await middle(other), await middle(one)]).toEqual(['new', 'new'])
  })

  test.each(TOPS)('is not replaced by what was to be demoted into %s and was held up', async (_kind, make) => {
    const clock = new FakeClock(Date.now())
    const puts = new Faults()
    const low = make()
    const managers = [{ layers: [puts.layer], write: 'demote' as const }, { layers: [new Faults().layer], write: 'through' as const }].map(
      ({ layers, write }) =>
        new TieredCacheManager({
      coordination: false,
          tiers: { hot: { backend: new MemoryBackend({ maxEntries: 1 }) }, low: { backend: low, layers, budget: 10 } },
          policies: { p: { tiers: { low: { write } } } },
          clock,
          logger: false,
        }),
    )
    closed(clock, ...managers)
    const [one, other] = managers.map((manager) => manager.tenant('acme')) as [TenantCache, TenantCache]
    await one.set('p/k', 'old')
    puts.inject('hang', 'put')
    await one.set('p/x', 1)
    await clock.settle()
    expect(puts.hanging).toBe(1)
    await other.set('p/k', 'new')
    puts.heal()
    puts.release()
    await clock.settle()
    expect(await other.get('p/k', { tiers: { hot: false } })).toBe('new')
  })

  test('is replaced by what was computed', async () => {
    const { one, other, clock, middle } = two(() => ({ top: memory(), below: memory() }))
    const computing = one.getOrCompute('p/k', async () => {
      await other.set('p/k', 'elsewhere')
      return 'computed'
    })
    await computing
    await clock.settle()
    expect(await middle(other)).toBe('computed') // what began earlier elsewhere is not known here
  })
})

describe('promotion', () => {
  test.each(PROMOTED)('by %s goes into every faster tier that wants it, and into no slower one', async (_name, read) => {
    const clock = new FakeClock(Date.now())
    const tiers = Object.fromEntries(['a', 'b', 'c', 'd', 'e'].map((name) => [name, { backend: new MemoryBackend(), maxTtl: null }]))
    const cache = new TieredCacheManager({
      coordination: false,
      tiers,
      policies: { p: { tiers: { a: true, b: { promote: false }, c: { write: 'around' }, d: true, e: true } } },
      clock,
      logger: false,
    })
    closed(clock, cache)
    const acme = cache.tenant('acme')
    await acme.setMany([['p/k', LARGE], ['p/l', 1]], { tiers: { a: false, b: false, c: false, e: false } })
    await read(acme)
    await clock.settle()
    const holding: string[] = []
    for await (const { key, tier } of acme.list('p/k')) if (key === 'p/k') holding.push(tier)
    expect(holding.sort()).toEqual(['a', 'c', 'd'])
  })

  test.each(PROMOTED)('by %s leaves out a tier for which it is too large', async (_name, read) => {
    const clock = new FakeClock(Date.now())
    const cache = new TieredCacheManager({
      coordination: false,
      tiers: { top: { backend: new FileSystemBackend({ basePath: temporaryDirectory() }), maxPayloadBytes: LARGE.byteLength - 1 }, below: { backend: new MemoryBackend() } },
      clock,
      logger: false,
    })
    closed(clock, cache)
    const acme = cache.tenant('acme')
    const errors: unknown[] = []
    cache.on('error', (event) => errors.push(event))
    await acme.setMany([['p/k', LARGE], ['p/l', 1]], { tiers: { top: false } })
    await read(acme)
    await clock.settle()
    expect([await acme.get('p/k', { tiers: { below: false } }), errors]).toEqual([undefined, []])
  })

  test.each(PROMOTED)('by %s into a tier that takes no writes is left out, and nothing is said of it', async (_name, read) => {
    const clock = new FakeClock(Date.now())
    const puts = new Faults()
    const cache = new TieredCacheManager({ tiers: { top: { backend: new MemoryBackend(), layers: [puts.layer] }, below: { backend: new MemoryBackend() } }, clock, logger: false })
    closed(clock, cache)
    const acme = cache.tenant('acme')
    puts.inject({ fail: 'read-only' }, 'put')
    await acme.setMany([['p/k', LARGE], ['p/l', 1]])
    const errors: unknown[] = []
    cache.on('error', (event) => errors.push(event))
    const before = puts.calls.put
    await read(acme)
    await clock.settle()
    expect([puts.calls.put - before, errors]).toEqual([0, []])
  })
})
