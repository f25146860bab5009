import { randomBytes } from 'node:crypto'
import { describe, expect, test } from '@jest/globals'
import { TieredCacheManager, type TenantCache } from '@thermocline/core'
import { WrappedBackend, type CacheBackend, type CacheEntry, type Layer, type PutOptions, type TenantScope, type ValidKey } from '@thermocline/backend'
import { FileSystemBackend } from '@thermocline/fs'
import { MemoryBackend } from '@thermocline/memory'
import { FakeClock, Faults } from '@thermocline/testkit'
import { afterwards, temporaryDirectory } from '../support/afterwards.js'
import { deferred } from '../support/rig.js'

/** A layer whose puts wait for a gate, making progress: slow, and not to be blamed. */
class SlowPuts {
  readonly layer: Layer = (inner) => new Slowed(inner, this)
  gate: Promise<void> | undefined
  readonly clock: FakeClock

  constructor(clock: FakeClock) {
    this.clock = clock
  }
}

class Slowed extends WrappedBackend {
  readonly #slow: SlowPuts

  constructor(inner: CacheBackend, slow: SlowPuts) {
    super(inner)
    this.#slow = slow
  }

  override async put(scope: TenantScope, key: ValidKey, entry: CacheEntry, options: PutOptions): Promise<boolean> {
    const { gate, clock } = this.#slow
    let open = gate === undefined
    void gate?.then(() => (open = true))
    const tick = (): void => {
      options.progress?.()
      if (!open) clock.schedule(100, tick)
    }
    tick()
    await gate
    return super.put(scope, key, entry, options)
  }
}

interface Bench {
  readonly cache: TieredCacheManager
  readonly acme: TenantCache
  readonly faults: Faults
  readonly clock: FakeClock
  readonly slow: SlowPuts
  readonly owed: () => Promise<number | undefined>
}

/** One tier with a budget of a second, and faults to order. */
function bench(): Bench {
  const clock = new FakeClock()
  const slow = new SlowPuts(clock)
  const faults = new Faults()
  const cache = new TieredCacheManager({ tiers: { cold: { backend: new MemoryBackend(), layers: [faults.layer, slow.layer], budget: 1, concurrency: 100 } }, clock, logger: false })
  afterwards(async () => {
    slow.gate = undefined
    faults.heal()
    faults.release()
    const closing = cache.close()
    await clock.advance(3000)
    await closing
  })
  return { cache, acme: cache.tenant('acme'), faults, clock, slow, owed: async () => (await cache.stats()).tiers['cold']?.pendingInvalidations }
}

type Call = (acme: TenantCache) => Promise<unknown>

const REMOVALS: readonly (readonly [string, Call])[] = [
  ['delete', (acme) => acme.delete('k')],
  ['deleteMany', (acme) => acme.deleteMany(['k'])],
  ['clear', (acme) => acme.clear()],
  ['clear of a prefix', (acme) => acme.clear('k')],
  ['set with ttl 0', (acme) => acme.set('k', 1, { ttl: 0 })],
]

const SETS: readonly (readonly [string, Call])[] = [
  ['set', (acme) => acme.set('k', 'old')],
  ['setMany', (acme) => acme.setMany([['k', 'old']])],
  ['setStream', (acme) => acme.setStream('k', [Buffer.from('old')])],
]

const both = <A, B>(first: readonly (readonly [string, A])[], second: readonly (readonly [string, B])[]): [string, string, A, B][] =>
  first.flatMap(([a, one]) => second.map(([b, other]): [string, string, A, B] => [a, b, one, other]))

describe('an older set that lands late', () => {
  test.each(both(SETS, REMOVALS))('%s does not pay what a later %s owes', async (_set, _verb, set, remove) => {
    const { acme, slow, clock, owed } = bench()
    const gate = deferred()
    slow.gate = gate.promise
    const setting = set(acme)
    await clock.settle()
    const removing = remove(acme)
    await clock.advance(1500) // the removal has waited for its budget
    await removing
    expect(await owed()).toBe(1)
    gate.resolve()
    await clock.advance(200)
    await setting
    expect(await acme.lookup('k')).toEqual({ status: 'miss' })
    await clock.advance(5000)
    expect([await owed(), await acme.lookup('k')]).toEqual([0, { status: 'miss' }])
  })

  test.each(both(SETS, REMOVALS))('%s does not pay what a later %s owes where something was owed already', async (_set, _verb, set, remove) => {
    const { acme, slow, faults, clock, owed } = bench()
    faults.inject({ fail: 'in-doubt' }, 'delete', 'clear')
    await acme.set('k', 'oldest')
    await acme.delete('k')
    expect(await owed()).toBe(1)
    const gate = deferred()
    slow.gate = gate.promise
    const setting = set(acme) // it may pay the first
    await clock.settle()
    const removing = remove(acme)
    await clock.advance(1500)
    await removing
    gate.resolve()
    await clock.advance(100)
    await setting
    expect(await owed()).toBeGreaterThan(0)
    expect(await acme.lookup('k')).toEqual({ status: 'miss' })
    faults.heal()
    await clock.advance(70_000)
    expect([await owed(), await acme.lookup('k')]).toEqual([0, { status: 'miss' }])
  })

  test.each(REMOVALS.filter(([verb]) => !verb.startsWith('clear')))('one that is still being compressed does not pay what a later %s owes', async (_verb, remove) => {
    const clock = new FakeClock(Date.now())
    const faults = new Faults()
    const cache = new TieredCacheManager({
      tiers: { warm: { backend: new FileSystemBackend({ basePath: temporaryDirectory() }), layers: [faults.layer], budget: 1 } },
      policies: { default: { compression: 'gzip' } },
      clock,
      logger: false,
    })
    afterwards(async () => {
      const closing = cache.close()
      await clock.advance(3000)
      await closing
    })
    const acme = cache.tenant('acme')
    const bytes = randomBytes(16 * 1024 ** 2) // takes a while to compress
    let setting: Promise<void> | undefined
    for (let attempt = 0; attempt < 5; attempt++) {
      const puts = faults.calls.put
      setting = acme.set('k', bytes)
      const removing = remove(acme) // behind it
      await clock.advance(1000)
      await removing
      if (faults.calls.put === puts) break
      await setting // on a busy machine it may have been compressed in the meantime
      setting = undefined
    }
    if (setting === undefined) throw new Error('it was compressed each time before the removal had waited for its budget')
    expect((await cache.stats()).tiers['warm']?.pendingInvalidations).toBe(1)
    await setting
    expect(await acme.has('k')).toBe(false)
    await clock.advance(5000)
    expect([(await cache.stats()).tiers['warm']?.pendingInvalidations, await acme.has('k')]).toEqual([0, false])
  })

  test.each(REMOVALS.slice(0, 4))('an older %s does not pay what a later one owes', async (_verb, remove) => {
    const { acme, faults, clock, owed } = bench()
    await acme.set('k', 'old')
    faults.inject('hang', 'delete', 'clear')
    const older = remove(acme)
    await clock.settle()
    const later = remove(acme)
    await clock.advance(1500) // both are over their budgets
    await Promise.all([older, later])
    expect(await owed()).toBe(1)
    expect(await acme.lookup('k')).toEqual({ status: 'miss' })
  })
})

describe('what pays', () => {
  test('a set pays, at once, and keeps its value', async () => {
    const { acme, faults, clock, owed } = bench()
    await acme.set('k', 'old')
    faults.inject({ fail: 'in-doubt' }, 'delete')
    await acme.delete('k')
    expect(await owed()).toBe(1)
    faults.heal()
    const before = faults.calls.delete
    await acme.set('k', 'new')
    expect(await owed()).toBe(0)
    await clock.advance(120_000)
    expect([await acme.get('k'), faults.calls.delete - before]).toEqual(['new', 0])
  })

  test('a delete pays, at once', async () => {
    const { acme, faults, clock, owed } = bench()
    await acme.set('k', 'old')
    faults.inject({ fail: 'in-doubt' }, 'delete')
    await acme.delete('k')
    faults.heal()
    const before = faults.calls.delete
    expect(await acme.delete('k')).toBe(true)
    expect(await owed()).toBe(0)
    await clock.advance(120_000)
    expect(faults.calls.delete - before).toBe(1)
  })

  test('a compute does not, and is not kept while something is owed', async () => {
    const { acme, faults, owed } = bench()
    await acme.set('k', 'old')
    faults.inject({ fail: 'in-doubt' }, 'delete')
    await acme.delete('k')
    const puts = faults.calls.put
    expect(await acme.getOrCompute('k', () => 'computed')).toBe('computed')
    expect([await owed(), faults.calls.put - puts, await acme.lookup('k')]).toEqual([1, 0, { status: 'miss' }])
  })

  test('a clear pays the keys and the clears under it, and nothing else', async () => {
    const { cache, acme, faults, owed } = bench()
    const other = cache.tenant('other')
    for (const tenant of [acme, other]) await tenant.setMany([['a/1', 1], ['a/b/2', 2], ['b/3', 3]])
    faults.inject({ fail: 'in-doubt' }, 'delete', 'clear')
    await acme.delete('a/1')
    await acme.delete('b/3')
    await acme.clear('a/b/')
    await acme.clear('b/')
    await other.delete('a/1')
    expect(await owed()).toBe(5)
    faults.heal()
    const { put, delete: deletes, clear } = faults.calls
    await acme.clear('a/')
    expect(await owed()).toBe(3)
    expect(faults.calls).toMatchObject({ put, delete: deletes, clear: clear + 1 })
    await acme.set('a/1', 'new')
    await acme.set('a/b/2', 'new')
    expect([await acme.get('a/1'), await acme.get('a/b/2'), await acme.get('b/3'), await other.get('a/1'), await other.get('a/b/2')]).toEqual(['new', 'new', undefined, undefined, 2])
    await acme.clear('') // everything of the tenant
    expect(await owed()).toBe(1)
  })

  test('a narrow clear does not pay a wider one', async () => {
    const { acme, faults, owed } = bench()
    await acme.setMany([['a/1', 1], ['a/b/2', 2]])
    faults.inject({ fail: 'in-doubt' }, 'clear')
    await acme.clear('a/')
    faults.heal()
    await acme.clear('a/b/')
    expect([await owed(), await acme.get('a/1'), await acme.get('a/b/2')]).toEqual([1, undefined, undefined])
  })

  test('a key owed twice, and a prefix, is one debt', async () => {
    const { acme, faults, owed } = bench()
    faults.inject({ fail: 'in-doubt' }, 'delete', 'clear')
    await acme.delete('k')
    await acme.delete('k')
    await acme.clear('p/')
    await acme.clear('p/')
    expect(await owed()).toBe(2)
  })

  test('what is owed by one tenant, key or prefix is asked of no other', async () => {
    const { cache, acme, faults } = bench()
    const other = cache.tenant('other')
    for (const tenant of [acme, other]) await tenant.setMany([['k', 1], ['k2', 2], ['p/3', 3], ['p', 4], ['xp/5', 5]])
    faults.inject({ fail: 'in-doubt' }, 'delete', 'clear')
    await acme.delete('k')
    await acme.clear('p/')
    const all = async (tenant: TenantCache): Promise<unknown[]> => Promise.all(['k', 'k2', 'p/3', 'p', 'xp/5'].map((key) => tenant.get(key)))
    expect(await all(acme)).toEqual([undefined, 2, undefined, 4, 5])
    expect(await all(other)).toEqual([1, 2, 3, 4, 5])
    expect([...(await acme.getMany(['k', 'k2', 'p/3', 'p', 'xp/5'])).keys()].sort()).toEqual(['k2', 'p', 'xp/5'])
  })

  test('under an owed clear a set is safe and stores nothing, and the tier has it again once that is paid', async () => {
    const { acme, faults, clock, owed } = bench()
    await acme.set('p/k', 'old')
    faults.inject({ fail: 'in-doubt' }, 'clear')
    await acme.clear('p/')
    const puts = faults.calls.put
    await acme.set('p/k', 'new')
    expect([faults.calls.put - puts, await acme.get('p/k')]).toEqual([0, undefined])
    faults.heal()
    await clock.advance(1000)
    expect(await owed()).toBe(0)
    await acme.set('p/k', 'newer')
    expect(await acme.get('p/k')).toBe('newer')
  })
})

describe('when it is paid', () => {
  test('after a second, then half as often each time up to once a minute; anew after a second once all is paid', async () => {
    const { acme, faults, clock, owed } = bench()
    const paidAt = async (forMs: number): Promise<number[]> => {
      const beganAt = clock.now()
      const at: number[] = []
      for (let seen = faults.calls.delete; clock.now() - beganAt < forMs; ) {
        await clock.advance(500)
        if (faults.calls.delete > seen) at.push((clock.now() - beganAt) / 1000)
        seen = faults.calls.delete
      }
      return at
    }
    const fail = (): unknown => // opens no circuit
      faults.inject({ fail: 'in-doubt' }, 'delete')
    fail()
    await acme.delete('k')
    expect(await paidAt(250_000)).toEqual([1, 3, 7, 15, 31, 63, 123, 183, 243])
    faults.heal()
    await clock.advance(60_000)
    expect(await owed()).toBe(0)
    expect(await paidAt(120_000)).toEqual([])
    fail()
    await acme.delete('k')
    expect(await paidAt(10_000)).toEqual([1, 3, 7])
  })

  test('at once when the tier has recovered, and a second later again if that failed', async () => {
    const { cache, acme, faults, clock, owed } = bench()
    await acme.set('k', 'old')
    faults.inject({ fail: 'unavailable' })
    await acme.delete('k')
    await clock.advance(100_000) // payments have become rare
    const recovered = new Promise<number>((resolve) => cache.on('recovered', () => resolve(clock.now())))
    faults.heal('get', 'put')
    faults.inject({ fail: 'in-doubt' }, 'delete')
    await clock.advance(5000)
    faults.heal()
    const back = await clock.advance(5000).then(() => recovered)
    expect(clock.now() - back).toBeLessThan(10_000)
    expect(await owed()).toBe(0)
    await acme.set('k', 'new')
    expect(await acme.get('k')).toBe('new')
  })

  test('by hundreds, no more than 64 at once, and all of them', async () => {
    const { acme, faults, clock, owed } = bench()
    const keys = Array.from({ length: 150 }, (_, at) => `k${at}`)
    faults.inject({ fail: 'in-doubt' }, 'delete')
    await acme.deleteMany(keys)
    expect(await owed()).toBe(150)
    faults.heal()
    faults.inject('hang', 'delete')
    await clock.advance(1000)
    expect(faults.hanging).toBe(64)
    faults.heal()
    faults.release()
    await clock.advance(10)
    expect(await owed()).toBe(0)
  })

  test('never after the cache was closed', async () => {
    const { cache, acme, faults, clock } = bench()
    faults.inject({ fail: 'in-doubt' }, 'delete')
    await acme.delete('k')
    const closing = cache.close()
    await clock.advance(3000)
    await closing
    const { delete: before } = faults.calls
    await clock.advance(120_000)
    expect(faults.calls.delete).toBe(before)
  })
})

describe('a key in doubt', () => {
  test.each([['put', (acme: TenantCache) => acme.set('k', 'late')], ['delete', (acme: TenantCache) => acme.delete('k')]] as const)('is deleted once the %s that hung has ended', async (operation, call) => {
    const { cache, acme, faults, clock, owed } = bench()
    await acme.set('k', 'old')
    faults.inject('hang', operation)
    const calling = call(acme)
    await clock.advance(1500)
    await calling
    expect((await cache.stats()).tiers['cold']).toMatchObject({ keysInDoubt: 1, pendingInvalidations: 1 })
    faults.heal()
    await clock.advance(5000) // probed, and in use again; the key is not
    expect((await cache.stats()).tiers['cold']).toMatchObject({ keysInDoubt: 1, pendingInvalidations: 1, state: 'ok' })
    const { get, put, delete: deletes } = faults.calls
    expect([await acme.get('k'), await acme.getOrCompute('k', () => 'computed')]).toEqual([undefined, 'computed'])
    await acme.set('k', 'not now')
    await acme.delete('k')
    expect(faults.calls).toMatchObject({ get, put, delete: deletes })
    faults.release()
    await clock.settle()
    expect((await cache.stats()).tiers['cold']).toMatchObject({ keysInDoubt: 0, pendingInvalidations: 0 })
    expect([await owed(), faults.calls.delete - deletes, await acme.lookup('k')]).toEqual([0, 1, { status: 'miss' }])
    await acme.set('k', 'new')
    expect(await acme.get('k')).toBe('new')
  })

  test('what waits behind it is refused at once, not after its budget', async () => {
    const { acme, faults, clock } = bench()
    faults.inject('hang', 'put')
    const first = acme.set('k', 1)
    await clock.advance(900)
    const second = acme.set('k', 2)
    const third = acme.delete('k')
    await clock.advance(101) // the first is left
    const beganAt = clock.now()
    await Promise.all([first, second, third])
    expect(clock.now()).toBe(beganAt)
  })

  test('a clear does not pay for it: what lands after the clear is deleted', async () => {
    const { cache, acme, faults, clock, owed } = bench()
    await acme.set('other', 1)
    faults.inject('hang', 'put')
    const setting = acme.set('k', 'late')
    await clock.advance(1500)
    await setting
    faults.heal()
    await clock.advance(5000)
    expect(await acme.clear()).toBe(1)
    expect((await cache.stats()).tiers['cold']).toMatchObject({ keysInDoubt: 1, pendingInvalidations: 1 })
    faults.release()
    await clock.settle()
    expect([await owed(), await acme.lookup('k')]).toEqual([0, { status: 'miss' }])
  })
})

describe('the order of calls in one tier', () => {
  test('what is called behind a slow one waits for it, and is carried out in the order of the calls', async () => {
    const { acme, slow, clock } = bench()
    const gate = deferred()
    slow.gate = gate.promise
    const first = acme.set('k', 1)
    await clock.settle()
    slow.gate = undefined
    const done: string[] = []
    const second = acme.set('k', 2).then(() => done.push('set'))
    const third = acme.delete('k').then((had) => done.push(`delete ${had}`))
    const fourth = acme.set('k', 4).then(() => done.push('set again'))
    await clock.advance(500)
    expect(done).toEqual([])
    gate.resolve()
    await clock.settle()
    await Promise.all([first, second, third, fourth])
    expect([done, await acme.get('k')]).toEqual([['set', 'delete true', 'set again'], 4])
  })

  test('a clear waits for what was called before it under its prefix only, and lets what comes later wait', async () => {
    const { acme, slow, clock } = bench()
    await acme.set('b/k', 0)
    const gate = deferred()
    slow.gate = gate.promise
    const before = acme.set('a/k', 'before')
    await clock.settle()
    slow.gate = undefined
    expect(await acme.clear('b/')).toBe(1) // has nothing to wait for
    const clearing = acme.clear('a/')
    const after = acme.set('a/k', 'after')
    await acme.set('b/k', 1) // nor has this
    await clock.settle()
    expect(await acme.get('a/k')).toBeUndefined()
    gate.resolve()
    await clock.settle()
    await Promise.all([before, after])
    expect([await clearing, await acme.get('a/k'), await acme.get('b/k')]).toEqual([1, 'after', 1])
  })

  test('a clear waits for no other tenant, and keeps none waiting', async () => {
    const { cache, acme, slow, faults, clock } = bench()
    const other = cache.tenant('other')
    await acme.set('a/k', 0)
    const gate = deferred()
    slow.gate = gate.promise
    const setting = other.set('a/k', 1)
    await clock.settle()
    slow.gate = undefined
    expect(await acme.clear('a/')).toBe(1)
    faults.inject('hang', 'clear')
    const clearing = acme.clear('a/')
    await clock.settle()
    await other.set('a/l', 2)
    faults.heal()
    faults.release()
    gate.resolve()
    await clock.settle()
    await Promise.all([setting, clearing])
    expect([await other.get('a/k'), await other.get('a/l')]).toEqual([1, 2])
  })

  test('a clear that waits too long for what was called before it is recorded', async () => {
    const { acme, slow, clock, owed } = bench()
    const gate = deferred()
    slow.gate = gate.promise
    const before = acme.set('a/k', 'before')
    await clock.settle()
    const clearing = acme.clear('a/')
    await clock.advance(749)
    expect(await owed()).toBe(0)
    await clock.advance(1)
    expect([await clearing, await owed()]).toEqual([undefined, 1])
    slow.gate = undefined
    gate.resolve()
    await clock.settle()
    await before
    expect(await acme.get('a/k')).toBeUndefined()
    await clock.advance(3000)
    expect([await owed(), await acme.get('a/k')]).toEqual([0, undefined])
  })

  test('with a quarter of its budget left an operation that waited is not started, and the tier is not blamed', async () => {
    const { cache, acme, slow, clock, faults, owed } = bench()
    const degraded: unknown[] = []
    cache.on('degraded', (event) => degraded.push(event))
    const gate = deferred()
    slow.gate = gate.promise
    const first = acme.set('k', 1)
    await clock.settle()
    const second = acme.delete('k')
    await clock.advance(800)
    gate.resolve()
    slow.gate = undefined
    await clock.settle()
    await Promise.all([first, second])
    expect([faults.calls.delete, await owed(), degraded]).toEqual([0, 1, []])
    await clock.advance(1000)
    expect([faults.calls.delete, await owed(), await acme.get('k')]).toEqual([1, 0, undefined])
  })

  test('with more than a quarter left it is, within what is left', async () => {
    const { cache, acme, slow, clock, faults, owed } = bench()
    const degraded: unknown[] = []
    cache.on('degraded', (event) => degraded.push(event))
    const gate = deferred()
    slow.gate = gate.promise
    const first = acme.set('k', 1)
    await clock.settle()
    const second = acme.delete('k')
    await clock.advance(700)
    faults.inject('hang', 'delete')
    gate.resolve()
    slow.gate = undefined
    await clock.settle()
    await first
    expect([faults.calls.delete, faults.hanging]).toEqual([1, 1])
    await clock.advance(301)
    await second
    expect([await owed(), degraded]).toEqual([1, []]) // with less than its whole budget it says nothing of the store
  })
})
