import { Readable } from 'node:stream'
import { describe, expect, test } from '@jest/globals'
import { TieredCacheManager, type PolicyOptions, type TenantCache } from '@thermocline/core'
import { MemoryBackend } from '@thermocline/memory'
import { FakeClock, Faults } from '@thermocline/testkit'
import { afterwards } from '../support/afterwards.js'
import { deferred } from '../support/rig.js'

interface Bench {
  readonly cache: TieredCacheManager
  readonly acme: TenantCache
  /** Puts, deletes and clears of the slow tier; its reads hang by `reads`. */
  readonly writes: Faults
  readonly reads: Faults
  readonly clock: FakeClock
}

/** A memory over a slower store, of which what is read and what is written can hang apart. */
function bench(tiers: PolicyOptions['tiers'] = {}): Bench {
  const clock = new FakeClock()
  const writes = new Faults()
  const reads = new Faults()
  const cache = new TieredCacheManager({
    tiers: { hot: { backend: new MemoryBackend(), maxTtl: null }, cold: { backend: new MemoryBackend(), layers: [writes.layer, reads.layer], budget: 10 } },
    policies: { default: { tiers } },
    clock,
    logger: false,
  })
  afterwards(async () => {
    for (const faults of [writes, reads]) {
      faults.heal()
      faults.release()
    }
    const closing = cache.close()
    await clock.advance(3000)
    await closing
  })
  return { cache, acme: cache.tenant('acme'), writes, reads, clock }
}

type Call = (acme: TenantCache) => Promise<unknown>

/** What removes `k`. */
const REMOVALS: readonly (readonly [string, Call])[] = [
  ['delete', (acme) => acme.delete('k')],
  ['deleteMany', (acme) => acme.deleteMany(['other', 'k'])],
  ['clear', (acme) => acme.clear()],
  ['clear of a prefix', (acme) => acme.clear('k')],
  ['set with ttl 0', (acme) => acme.set('k', 'gone', { ttl: 0 })],
]

/** What replaces or removes `k`. */
const INVALIDATIONS: readonly (readonly [string, Call])[] = [
  ...REMOVALS,
  ['set', (acme) => acme.set('k', Buffer.from('new'))],
  ['setMany', (acme) => acme.setMany([['other', 1], ['k', Buffer.from('new')]])],
  ['setStream', (acme) => acme.setStream('k', [Buffer.from('new')])],
]

/** What has nothing to do with `k`. */
const OTHERS: readonly (readonly [string, Call])[] = [
  ['delete', (acme) => acme.delete('k2')],
  ['deleteMany', (acme) => acme.deleteMany(['other', 'k2'])],
  ['clear of a prefix', (acme) => acme.clear('k2')],
  ['clear of a prefix that ends as the key does', (acme) => acme.clear('/k')],
  ['set', (acme) => acme.set('k2', 1)],
  ['setStream', (acme) => acme.setStream('k2', [Buffer.from('new')])],
]

async function whole(stream: Readable | undefined): Promise<unknown> {
  if (stream === undefined) return undefined
  const chunks: Uint8Array[] = []
  for await (const chunk of stream) chunks.push(chunk as Uint8Array)
  return Buffer.concat(chunks)
}

/** Each way to compute `k` from a source that may change. */
const COMPUTES: readonly (readonly [string, (acme: TenantCache, source: () => Promise<Buffer>) => Promise<unknown>])[] = [
  ['getOrCompute', (acme, source) => acme.getOrCompute('k', source)],
  ['getOrComputeStream', (acme, source) => acme.getOrComputeStream('k', async () => [await source()]).then(whole)],
]

/** Each way to read `k`, and with it to promote it. */
const READS: readonly (readonly [string, Call])[] = [
  ['get', (acme) => acme.get('k')],
  ['getMany', async (acme) => (await acme.getMany(['other', 'k'])).get('k')],
  ['getOrCompute', (acme) => acme.getOrCompute('k', () => Buffer.from('computed'))],
  ['getStream', (acme) => acme.getStream('k').then(whole)],
  ['getOrComputeStream', (acme) => acme.getOrComputeStream('k', () => [Buffer.from('computed')]).then(whole)],
]

const pairs = <A, B>(first: readonly A[], second: readonly B[]): [A, B][] => first.flatMap((one) => second.map((other): [A, B] => [one, other]))
const named = <A extends readonly [string, ...unknown[]], B extends readonly [string, ...unknown[]]>(first: readonly A[], second: readonly B[]): [string, string, A[1], B[1]][] =>
  pairs(first, second).map(([one, other]) => [one[0], other[0], one[1], other[1]])
const text = (value: unknown): unknown => (Buffer.isBuffer(value) ? value.toString() : value)

/** A source that answers, late, what it was when it was asked. */
class Source {
  now = Buffer.from('old')
  asked = 0
  readonly #waiting: (() => void)[] = []

  readonly ask = (): Promise<Buffer> => {
    this.asked++
    const answer = this.now
    return new Promise((resolve) => this.#waiting.push(() => resolve(answer)))
  }

  answer(): void {
    for (const resolve of this.#waiting.splice(0)) resolve()
  }
}

describe('a compute that begins while an invalidation is under way', () => {
  test.each(named(COMPUTES, INVALIDATIONS))('%s during a %s is not joined, nor kept, once that has resolved', async (_compute, _verb, compute, invalidate) => {
    const { acme, writes, clock } = bench()
    const source = new Source()
    writes.inject('hang', 'put', 'delete', 'clear')
    const invalidating = invalidate(acme)
    await clock.settle()
    const early = compute(acme, source.ask)
    await clock.advance(30)
    source.now = Buffer.from('new')
    await clock.advance(30)
    writes.heal()
    writes.release()
    await invalidating
    const late = compute(acme, source.ask)
    await clock.advance(140)
    source.answer()
    await clock.settle()
    expect(text(await late)).toBe('new')
    source.answer()
    await early
    await clock.settle()
    expect([text(acme.peek('k')), text(await acme.get('k')), text(await acme.get('k', { tiers: { hot: false } }))]).toEqual(['new', 'new', 'new'])
  })

  test.each(named(COMPUTES, REMOVALS))('%s during a %s leaves nothing when its callers were the only ones', async (_compute, _verb, compute, invalidate) => {
    const { acme, writes, clock } = bench()
    const source = new Source()
    writes.inject('hang', 'delete', 'clear')
    const invalidating = invalidate(acme)
    await clock.settle()
    const early = compute(acme, source.ask)
    await clock.settle()
    writes.heal()
    writes.release()
    await invalidating
    source.answer()
    expect(text(await early)).toBe('old')
    await clock.settle()
    expect(await acme.lookup('k')).toEqual({ status: 'miss' })
  })
})

describe('what has nothing to do with a key', () => {
  test.each(named(COMPUTES, OTHERS))('%s is joined and kept whatever a %s of another does meanwhile', async (_compute, _verb, compute, invalidate) => {
    const { acme, clock } = bench()
    const source = new Source()
    const first = compute(acme, source.ask)
    await clock.settle()
    await invalidate(acme)
    const second = compute(acme, source.ask)
    await clock.settle()
    source.answer()
    expect([text(await first), text(await second), source.asked]).toEqual(['old', 'old', 1])
    await clock.settle()
    expect([text(acme.peek('k')), text(await acme.get('k', { tiers: { hot: false } }))]).toEqual(['old', 'old'])
  })

  test.each(named(COMPUTES, OTHERS))('%s that begins while a %s of another is under way is joined and kept', async (_compute, _verb, compute, invalidate) => {
    const { acme, writes, clock } = bench()
    const source = new Source()
    writes.inject('hang', 'put', 'delete', 'clear')
    const invalidating = invalidate(acme)
    await clock.settle()
    const first = compute(acme, source.ask)
    await clock.settle()
    writes.heal()
    writes.release()
    await invalidating
    const second = compute(acme, source.ask)
    await clock.settle()
    source.answer()
    expect([text(await first), text(await second), source.asked]).toEqual(['old', 'old', 1])
    await clock.settle()
    expect(text(await acme.get('k', { tiers: { hot: false } }))).toBe('old')
  })

  test.each(INVALIDATIONS)('another tenant is not concerned by a %s', async (_verb, invalidate) => {
    const { acme, cache, clock } = bench()
    const other = cache.tenant('other')
    const source = new Source()
    const computing = acme.getOrCompute('k', source.ask)
    await clock.settle()
    await invalidate(other)
    source.answer()
    await computing
    expect(text(acme.peek('k'))).toBe('old')
  })

  test.each(named(READS, OTHERS))('%s promotes what it found before a %s of another', async (_read, _verb, read, invalidate) => {
    const { acme, reads, clock } = bench()
    await acme.setMany([['k', Buffer.from('old')], ['other', Buffer.from('1')]], { tiers: { hot: false } })
    reads.inject('hang-after', 'get')
    const reading = read(acme)
    await clock.settle()
    reads.heal()
    await invalidate(acme)
    reads.release()
    expect(text(await reading)).toBe('old')
    await clock.settle()
    expect(text(acme.peek('k'))).toBe('old')
  })
})

describe('what was read before an invalidation', () => {
  test.each(named(READS, INVALIDATIONS))('%s promotes nothing of before a %s', async (_read, verb, read, invalidate) => {
    const { acme, reads, clock } = bench()
    await acme.setMany([['k', Buffer.from('old')], ['other', 1]], { tiers: { hot: false } })
    reads.inject('hang-after', 'get')
    const reading = read(acme)
    await clock.settle()
    reads.heal()
    await invalidate(acme)
    reads.release()
    expect(text(await reading)).toBe('old')
    await clock.settle()
    expect(text(acme.peek('k'))).toBe(verb.startsWith('set') && verb !== 'set with ttl 0' ? 'new' : undefined)
  })

  test.each(named(READS, REMOVALS))('%s that begins while a %s is under way, and ends after it, promotes nothing', async (_read, _verb, read, invalidate) => {
    const { acme, reads, writes, clock } = bench()
    await acme.setMany([['k', Buffer.from('old')], ['other', 1]], { tiers: { hot: false } })
    writes.inject('hang', 'delete', 'clear')
    const invalidating = invalidate(acme)
    await clock.settle()
    reads.inject('hang-after', 'get')
    const reading = read(acme)
    await clock.settle()
    reads.heal()
    writes.heal()
    writes.release()
    await invalidating
    reads.release()
    expect(text(await reading)).toBe('old') // it was asked for before the invalidation had resolved
    await clock.settle()
    expect(text(acme.peek('k'))).toBeUndefined()
    expect(await acme.lookup('k')).toEqual({ status: 'miss' })
  })

  test.each(named(READS, INVALIDATIONS.filter(([verb]) => verb.startsWith('set') && verb !== 'set with ttl 0')))('%s while a %s is under way promotes nothing old to where only promotion writes', async (_read, _verb, read, set) => {
    const { acme, writes, clock } = bench({ hot: { write: 'around' } })
    await acme.setMany([['k', Buffer.from('old')], ['other', 1]])
    writes.inject('hang', 'put')
    const setting = set(acme)
    await clock.settle()
    expect(text(await read(acme))).toBe('old') // the set has not resolved
    await clock.settle()
    writes.heal()
    writes.release()
    await setting
    await clock.settle()
    expect([text(acme.peek('k')), text(await read(acme))]).toEqual([undefined, 'new'])
  })

  test('invalidations of one key that overlap are each waited for', async () => {
    const { acme, writes, clock } = bench()
    const source = new Source()
    writes.inject('hang', 'delete')
    const first = acme.delete('k')
    await clock.settle()
    const second = acme.delete('k') // behind the first
    await clock.settle()
    writes.release()
    await first
    const computing = acme.getOrCompute('k', source.ask) // the second is still under way
    await clock.settle()
    writes.heal()
    writes.release()
    await second
    source.answer()
    await computing
    expect(await acme.lookup('k')).toEqual({ status: 'miss' })
    const next = acme.getOrCompute('k', source.ask) // nothing is under way any more
    await clock.settle()
    source.answer()
    await next
    expect(text(acme.peek('k'))).toBe('old')
  })

  test.each([['the first', 'k', 'z'], ['the second', 'z', 'k']])('of two clears that overlap, a key under %s is kept from storing until that one has ended', async (_which, first, second) => {
    const { acme, writes, clock } = bench()
    writes.inject('hang', 'clear')
    const slow = acme.clear(first)
    await clock.settle()
    writes.heal()
    await acme.clear(second)
    const source = new Source()
    const computing = acme.getOrCompute('k', source.ask)
    await clock.settle()
    writes.release()
    await slow
    source.answer()
    await computing
    await clock.settle()
    expect(text(acme.peek('k'))).toBe(first === 'k' ? undefined : 'old')
    await acme.delete('k')
    await acme.getOrCompute('k', () => 'kept')
    expect(acme.peek('k')).toBe('kept')
  })
})

describe('demotion and invalidations', () => {
  const demoting = (): Bench & { readonly demoted: () => Promise<unknown> } => {
    const clock = new FakeClock()
    const writes = new Faults()
    const reads = new Faults()
    const cache = new TieredCacheManager({
      tiers: { hot: { backend: new MemoryBackend({ maxEntries: 1 }), maxTtl: null }, cold: { backend: new MemoryBackend(), layers: [writes.layer, reads.layer], budget: 10 } },
      policies: { default: { tiers: { cold: { write: 'demote' } } } },
      clock,
      logger: false,
    })
    afterwards(async () => {
      writes.heal()
      writes.release()
      const closing = cache.close()
      await clock.advance(3000)
      await closing
    })
    const acme = cache.tenant('acme')
    return { cache, acme, writes, reads, clock, demoted: () => acme.get('k', { tiers: { hot: false } }) }
  }

  test.each(REMOVALS)('what is evicted while a %s of it is under way is not demoted', async (_verb, invalidate) => {
    const { acme, writes, clock, demoted } = demoting()
    await acme.set('k', 'old')
    writes.inject('hang', 'delete', 'clear')
    const invalidating = invalidate(acme)
    await clock.settle()
    const setting = acme.set('x', 1) // pushes k out, which memory has not lost yet
    await clock.settle()
    writes.heal()
    writes.release()
    await Promise.all([invalidating, setting])
    await clock.settle()
    expect(await demoted()).toBeUndefined()
  })

  test.each(OTHERS.filter(([verb]) => verb.startsWith('delete') || verb.startsWith('clear')))('what is evicted while a %s of another is under way is demoted', async (_verb, invalidate) => {
    const { acme, writes, clock, demoted } = demoting()
    await acme.set('k', 'kept')
    writes.inject('hang', 'delete', 'clear')
    const invalidating = invalidate(acme)
    await clock.settle()
    const setting = acme.set('x', 1)
    await clock.settle()
    writes.heal()
    writes.release()
    await Promise.all([invalidating, setting])
    await clock.settle()
    expect(await demoted()).toBe('kept')
  })

  test('what is evicted while its own set is under way is the newest there is, and is demoted', async () => {
    const { acme, writes, clock, demoted } = demoting()
    writes.inject('hang', 'delete') // a set takes the key away from where it demotes to
    const setting = acme.set('k', 'new')
    await clock.settle()
    const pushing = acme.set('x', 1)
    await clock.settle()
    writes.heal()
    writes.release()
    await Promise.all([setting, pushing])
    await clock.settle()
    expect(await demoted()).toBe('new')
  })

  test.each(INVALIDATIONS)('a %s that comes while an entry waits to be demoted wins', async (verb, invalidate) => {
    const { acme, writes, clock, demoted } = demoting()
    await acme.set('k', 'old')
    writes.inject('hang', 'put')
    const waiting = deferred()
    const setting = acme.set('x', 1).then(waiting.resolve) // k is on its way down
    await clock.settle()
    const invalidating = invalidate(acme)
    await clock.settle()
    writes.heal()
    writes.release()
    await Promise.all([invalidating, setting])
    await clock.settle()
    expect([verb, await demoted()]).toEqual([verb, undefined])
  })
})
