import { describe, expect, test } from '@jest/globals'
import { CacheEntry, type CacheBackend, type InvalidationRecord, type RecordLog } from '@thermocline/backend'
import { TieredCacheManager } from '@thermocline/core'
import { MemoryBackend } from '@thermocline/memory'
import { FakeClock, Faults } from '@thermocline/testkit'
import { deferred, withRig } from '../support/rig.js'

const HOUR_MS = 3_600_000

/** Memory that answers with a promise, as a server would: `gate` holds its puts, reporting progress, until it is opened. */
class SlowMemory {
  readonly backend: CacheBackend
  gate: Promise<void> | undefined

  constructor(clock: FakeClock, log?: RecordLog) {
    const inner = new MemoryBackend()
    this.backend = new Proxy(inner, {
      get: (target, name) => {
        if (name === 'capabilities') return { ...target.capabilities, synchronous: false }
        if (name === 'openRecordLog' && log !== undefined) return () => log
        if (name === 'put') {
          return async (...args: Parameters<MemoryBackend['put']>) => {
            const { gate } = this
            let open = gate === undefined
            void gate?.then(() => (open = true))
            const tick = (): void => {
              args[3].progress?.()
              if (!open) clock.schedule(100, tick)
            }
            tick()
            await gate
            return target.put(...args)
          }
        }
        const value = Reflect.get(target, name, target) as unknown
        return typeof value === 'function' ? (value.bind(target) as unknown) : value
      },
    })
  }
}

describe('operations on one key', () => {
  test('a timed-out write that ends while its record is being written does not let two run at once', async () => {
    const clock = new FakeClock()
    const writing = deferred()
    const records: InvalidationRecord[] = []
    const log: RecordLog = { load: () => [], add: (record) => (records.push(record), writing.promise), remove: () => undefined, close: () => Promise.resolve() }
    const faults = new Faults()
    const slow = new SlowMemory(clock, log)
    const cache = new TieredCacheManager({ tiers: { cold: { backend: slow.backend, layers: [faults.layer], budget: 1 } }, clock, logger: false })
    const acme = cache.tenant('acme')
    faults.inject('hang', 'put')
    const timedOut = acme.set('k', 'never')
    await clock.advance(1000)
    faults.heal()
    faults.drop() // the connection is gone, so the operation has ended
    await clock.advance(1000)
    const gate = deferred()
    slow.gate = gate.promise
    const setting = acme.set('k', 'old')
    await clock.settle()
    writing.resolve()
    await clock.settle()
    const deleting = acme.delete('k')
    await clock.settle()
    gate.resolve()
    await clock.advance(3000)
    await Promise.all([timedOut, setting, deleting])
    expect(await acme.get('k')).toBeUndefined()
    await clock.advance(10_000)
    expect(await acme.get('k')).toBeUndefined()
    await cache.close()
  })

  test('a slow write that makes progress does not undo the delete that gave up waiting for it', async () => {
    const clock = new FakeClock()
    const slow = new SlowMemory(clock)
    const cache = new TieredCacheManager({ tiers: { cold: { backend: slow.backend, budget: 1 } }, clock, logger: false })
    const acme = cache.tenant('acme')
    const gate = deferred()
    slow.gate = gate.promise
    const setting = acme.set('k', 'old')
    const deleting = acme.delete('k')
    await clock.advance(1500)
    expect(await deleting).toBeUndefined()
    gate.resolve()
    await clock.advance(200)
    await setting
    expect(await acme.get('k')).toBeUndefined()
    slow.gate = undefined
    await clock.advance(5000)
    expect((await cache.stats()).tiers.cold).toMatchObject({ pendingInvalidations: 0, state: 'ok' })
    await acme.set('k', 'new')
    await clock.advance(60_000)
    expect(await acme.get('k')).toBe('new')
    await cache.close()
  })

  test('what is owed is not collected from a value that was set meanwhile', () =>
    withRig('fs', {}, async (rig) => {
      const { acme } = rig
      const warm = rig.faultsOf('warm')
      warm.inject({ fail: 'failed' }, 'delete')
      await acme.delete('k')
      warm.heal()
      warm.inject('hang', 'put')
      const setting = acme.set('k', 'new')
      await rig.clock.advance(900) // the payment comes due behind the running set
      warm.heal()
      warm.release()
      await setting
      await rig.clock.advance(600)
      expect(await acme.get('k')).toBe('new')
      await rig.clock.advance(60_000)
      expect(await acme.get('k')).toBe('new')
    }))

  test('a clear over a key in doubt that cannot be recorded rejects', () =>
    withRig('fs', { tier: { warm: { maxRecords: 1 } } }, async (rig) => {
      const { acme } = rig
      const warm = rig.faultsOf('warm')
      warm.inject('hang', 'put')
      await rig.pass(acme.getOrCompute('k', () => 'old')) // in doubt, and nothing owed
      warm.heal('put')
      await rig.passUntil(() => rig.seen('recovered').length === 1)
      warm.inject({ fail: 'failed' }, 'delete')
      await rig.pass(acme.delete('other')) // the one record
      await expect(rig.pass(acme.clear('k'))).rejects.toMatchObject({ code: 'not-recorded' })
    }))
})

describe('operations on several tiers', () => {
  test.each(['delete', 'clear'] as const)('a set called during a slow %s is not lost in the fast tier', (verb) =>
    withRig('memory and fs', {}, async ({ acme, faults, clock }) => {
      await acme.set('k', 'old')
      faults.warm?.inject('hang', verb)
      const invalidating = verb === 'delete' ? acme.delete('k') : acme.clear('k')
      await clock.settle()
      const setting = acme.set('k', 'new')
      await clock.settle()
      faults.warm?.heal()
      faults.warm?.release()
      await Promise.all([invalidating, setting])
      expect(await acme.lookup('k')).toEqual({ status: 'fresh', value: 'new', tier: 'hot', createdAt: clock.now(), expiresAt: clock.now() + 3_600_000 })
      expect(await acme.get('k', { tiers: { hot: false } })).toBe('new')
    }),
  )

  test('close waits for a delete that is under way', () =>
    withRig('memory and fs', {}, async ({ acme, faults, cache, clock, backends }) => {
      const keep = backends.hot?.attach({ clock, evicted: () => undefined, demotes: () => false, report: () => undefined })
      await acme.set('k', 'old')
      faults.warm?.inject('hang', 'delete')
      const deleting = acme.delete('k')
      await clock.settle()
      const closing = cache.close()
      await clock.settle()
      faults.warm?.heal()
      faults.warm?.release()
      expect(await deleting).toBe(true)
      await closing
      expect(backends.hot?.stats()).toMatchObject({ entries: 0 })
      keep?.()
    }))

  test('changing bytes that were handed out does not change what is promoted', async () => {
    const clock = new FakeClock()
    const faults = new Faults()
    const warm = new SlowMemory(clock)
    // two byte tiers: memory that keeps bytes stands for a server
    const bytes = (backend: CacheBackend): CacheBackend => new Proxy(backend, { get: (target, name) => (name === 'capabilities' ? { ...target.capabilities, keeps: 'bytes' } : keepsBytes(target, name)) })
    const cold = bytes(new SlowMemory(clock).backend)
    const cache = new TieredCacheManager({ tiers: { warm: { backend: bytes(warm.backend), layers: [faults.layer] }, cold: { backend: cold } }, clock, logger: false })
    const acme = cache.tenant('acme')
    await acme.set('k', Buffer.from('as it was'), { tiers: { warm: false } })
    const gate = deferred()
    warm.gate = gate.promise
    const handedOut = (await acme.get<Buffer>('k')) as Buffer
    handedOut.fill('X')
    gate.resolve()
    await clock.advance(500)
    expect(await acme.lookup('k')).toMatchObject({ tier: 'warm' })
    expect(String(await acme.get('k'))).toBe('as it was')
    await cache.close()
  })
})

/** Lets a memory backend store bytes: its `put` and `get` see the encoded view as the value. */
function keepsBytes(target: CacheBackend, name: string | symbol): unknown {
  if (name === 'put') {
    return (...[scope, key, entry, options]: Parameters<CacheBackend['put']>) => target.put(scope, key, CacheEntry.ofValue(entry.encoded, entry), options)
  }
  if (name === 'get') {
    return async (...args: Parameters<CacheBackend['get']>) => {
      const entry = await target.get(...args)
      return entry === undefined ? undefined : CacheEntry.ofBytes(entry.value as NonNullable<CacheEntry['encoded']>, entry)
    }
  }
  const value = Reflect.get(target, name, target) as unknown
  return typeof value === 'function' ? (value.bind(target) as unknown) : value
}

describe('budgets', () => {
  test('waiting behind others does not blame a healthy store', async () => {
    const clock = new FakeClock()
    const slow = new SlowMemory(clock)
    const cache = new TieredCacheManager({ tiers: { cold: { backend: slow.backend, budget: 1 } }, clock, logger: false })
    let degraded = 0
    cache.on('degraded', () => degraded++)
    const acme = cache.tenant('acme')
    const gate = deferred()
    slow.gate = gate.promise
    const first = acme.set('k', 1)
    await clock.advance(2100)
    const second = acme.set('k', 2)
    const clearing = acme.clear('k')
    await clock.advance(950)
    gate.resolve()
    slow.gate = undefined
    await clock.advance(3000)
    await Promise.all([first, second, clearing])
    expect(degraded).toBe(0)
    expect(await acme.get('k')).toBeUndefined()
    await cache.close()
  })

  test('a clock that only tells the time, and one that is set back, still end a hanging operation', async () => {
    const faults = new Faults()
    let now = Date.now()
    const cache = new TieredCacheManager({ tiers: { hot: { backend: new MemoryBackend(), layers: [faults.layer], budget: '30ms' } }, clock: { now: () => now }, logger: false })
    faults.inject('hang', 'get')
    const reading = cache.tenant('acme').get('k')
    now -= HOUR_MS
    expect(await reading).toBeUndefined()
    await cache.close()
  })
})

describe('many at once', () => {
  test('setMany takes every value when it is called, and refuses bad options before it stores anything', () =>
    withRig('fs', {}, async ({ acme }) => {
      const objects = Array.from({ length: 300 }, (_, i): [string, { n: number }] => [`k${i}`, { n: i }])
      const setting = acme.setMany(objects)
      for (const [, object] of objects) object.n = -1
      await setting
      expect(await acme.get('k299')).toEqual({ n: 299 })
      await expect(acme.setMany([['a', 1], ['b', 2]], { ttl: -1 })).rejects.toThrow(TypeError)
      await expect(acme.setMany([], { ttl: -1 })).rejects.toThrow(TypeError)
      await expect(acme.setMany([['a', 1], ['b', () => 1]])).rejects.toMatchObject({ code: 'not-encodable' })
      expect(await acme.has('a')).toBe(false)
    }))

  test('a failed or aborted getOrCompute counts one miss', () =>
    withRig('memory', {}, async ({ acme }) => {
      await acme.getOrCompute('k', () => Promise.reject(new Error('no'))).catch(() => undefined)
      const controller = new AbortController()
      const aborted = acme.getOrCompute('l', () => new Promise(() => undefined), { signal: controller.signal })
      controller.abort()
      await aborted.catch(() => undefined)
      expect(await acme.stats()).toMatchObject({ hits: 0, misses: 2 })
    }))
})
