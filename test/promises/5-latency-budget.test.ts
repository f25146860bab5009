import { describe, expect, test } from '@jest/globals'
import { CacheError, WrappedBackend, type ListOptions, type StoredEntryInfo, type TenantScope } from '@thermocline/backend'
import { TieredCacheManager } from '@thermocline/core'
import { MemoryBackend } from '@thermocline/memory'
import { Faults } from '@thermocline/testkit'
import { withRig, type Rig } from '../support/rig.js'

/** Fake milliseconds that a call took. */
async function cost(rig: Rig, call: () => Promise<unknown>): Promise<number> {
  const before = rig.clock.now()
  await rig.pass(call(), 1)
  return rig.clock.now() - before
}

const recovered = (rig: Rig): (() => boolean) => () => rig.seen('recovered').length === 1

describe('promise 5: a latency budget', () => {
  test('a hanging tier costs one caller its budget and the next thousand nothing', () =>
    withRig('memory and fs', { tier: { warm: { budget: '300ms' } } }, async (rig) => {
      rig.faultsOf('warm').inject('hang')
      expect(await cost(rig, () => rig.acme.getOrCompute('first', () => 1))).toBeLessThanOrEqual(310)
      const calls = rig.faultsOf('warm').calls
      const asked = calls.get
      for (let i = 0; i < 1000; i++) {
        const before = rig.clock.now()
        expect(await rig.acme.getOrCompute(`k${i}`, () => i)).toBe(i)
        expect(rig.clock.now()).toBe(before)
      }
      expect(calls.get).toBe(asked)
      expect(rig.seen('degraded')).toHaveLength(1)
    }))

  test('all verbs together, called in sequence, pay for an outage about once', () =>
    withRig('memory and fs', { tier: { warm: { budget: '250ms' } } }, async (rig) => {
      const { acme } = rig
      await acme.set('k', 1)
      rig.faultsOf('warm').inject('hang')
      const total = await cost(rig, async () => {
        await acme.get('miss')
        await acme.set('k', 2)
        await acme.has('other')
        await acme.getMany(['a', 'b'])
        await acme.delete('k')
        await acme.clear()
        await acme.getOrCompute('c', () => 1)
        for await (const _ of acme.list('')) break
        await acme.stats()
      })
      expect(total).toBeLessThanOrEqual(510)
    }))

  test('a refused connection opens at once and costs nothing', () =>
    withRig('memory and fs', {}, async (rig) => {
      rig.faultsOf('warm').inject({ fail: 'unavailable' })
      expect(await cost(rig, () => rig.acme.getOrCompute('k', () => 1))).toBe(0)
      expect(rig.faultsOf('warm').calls.get).toBe(1)
      await rig.acme.get('other')
      expect(rig.faultsOf('warm').calls.get).toBe(1)
    }))

  test('callers who leave in the middle are not failures of the store, and are told why they left', async () => {
    class Slow extends WrappedBackend {
      override async *list(_scope: TenantScope, _prefix: string, { signal }: ListOptions): AsyncGenerator<StoredEntryInfo> {
        yield { key: 'a' }
        await new Promise((resolve) => signal?.addEventListener('abort', resolve))
        throw new CacheError('failed', 'list was given up', { operation: 'list', cause: signal?.reason })
      }
    }
    await withRig('memory and fs', { tier: { warm: { layers: [(inner) => new Slow(inner)] } } }, async (rig) => {
      for (let i = 0; i < 10; i++) {
        const leaving = new AbortController()
        const reason = new Error('enough')
        const listing = rig.acme.list('', { signal: leaving.signal })
        expect(await listing.next()).toEqual({ done: false, value: { key: 'a', tier: 'warm' } })
        const next = listing.next()
        leaving.abort(reason)
        await expect(next).rejects.toBe(reason)
      }
      await rig.acme.set('k', 1)
      expect(await rig.acme.get('k', { tiers: { hot: false } })).toBe(1)
      expect([...rig.seen('degraded'), ...rig.seen('error')]).toEqual([])
    })
  })

  test('it is probed in the background and back in use within five seconds, degraded and recovered once each', () =>
    withRig('fs', {}, async (rig) => {
      const { acme } = rig
      const warm = rig.faultsOf('warm')
      await acme.set('k', 1)
      warm.inject('hang')
      await rig.pass(acme.get('k'))
      await rig.clock.advance(60_000)
      expect(warm.calls.get).toBeGreaterThan(3) // probes, no caller
      warm.heal()
      const healed = rig.clock.now()
      await rig.passUntil(recovered(rig))
      expect(rig.clock.now() - healed).toBeLessThanOrEqual(5000)
      expect(rig.seen('degraded')).toHaveLength(1)
      expect(rig.seen('recovered')).toHaveLength(1)
      expect(await acme.get('k')).toBe(1)
    }))

  test('a flapping store degrades and recovers in pairs and serves no wrong value', () =>
    withRig('memory and fs', { tier: { hot: { maxTtl: null } } }, async (rig) => {
      const { acme } = rig
      const warm = rig.faultsOf('warm')
      for (let round = 1; round <= 4; round++) {
        warm.inject(round % 2 === 0 ? 'hang' : { fail: 'unavailable' })
        await rig.pass(acme.set('k', round))
        expect(await rig.pass(acme.get('k'))).toBe(round)
        await rig.pass(acme.get('nothing'))
        warm.heal()
        warm.release()
        await rig.passUntil(() => rig.seen('recovered').length === round)
        expect(rig.seen('degraded')).toHaveLength(round)
        await rig.passUntil(async () => (await rig.cache.stats()).tiers.warm?.pendingInvalidations === 0)
        expect(await acme.get('k', { tiers: { hot: false } })).toBeUndefined()
      }
    }))

  test.each(['storage-full', 'read-only'] as const)('%s stops writes, nothing else', (code) =>
    withRig('fs', {}, async (rig) => {
      const { acme } = rig
      const warm = rig.faultsOf('warm')
      await acme.set('old', 1)
      warm.inject({ fail: code }, 'put')
      await acme.set('new', 2)
      expect(rig.seen('degraded')).toEqual([{ tier: 'warm', circuit: 'write', error: expect.objectContaining({ code }) }])
      expect(await acme.get('old')).toBe(1)
      expect(await acme.getOrCompute('c', () => 3)).toBe(3)
      warm.heal()
      await rig.passUntil(recovered(rig))
      await acme.set('new', 4)
      expect(await acme.get('new')).toBe(4)
    }),
  )

  test('a hanging write does not stop reads', () =>
    withRig('fs', {}, async (rig) => {
      await rig.acme.set('old', 1)
      rig.faultsOf('warm').inject('hang', 'put')
      await rig.pass(rig.acme.set('new', 2))
      expect(await rig.acme.get('old')).toBe(1)
    }))

  test('one call spends a budget once, also behind a slow write on the same key', () =>
    withRig('fs', { tier: { warm: { budget: '200ms' } } }, async (rig) => {
      rig.faultsOf('warm').inject('hang', 'put')
      const first = rig.acme.set('k', 1)
      const second = cost(rig, () => rig.acme.set('k', 2))
      expect(await second).toBeLessThanOrEqual(260)
      await rig.pass(first)
    }))

  test('what the adapter calls retryable is tried again within the budget', () =>
    withRig('fs', { tier: { warm: { attempts: 3 } } }, async (rig) => {
      const warm = rig.faultsOf('warm')
      await rig.acme.set('k', 1)
      warm.inject({ fail: 'failed', retryable: true }, 'get')
      const before = warm.calls.get
      await rig.pass(rig.acme.get('k'), 5)
      expect(warm.calls.get - before).toBe(3)
      warm.inject({ fail: 'failed' }, 'get')
      await rig.pass(rig.acme.get('k'), 5)
      expect(warm.calls.get - before).toBe(4)
    }))

  test('five failures in a row open the circuit', () =>
    withRig('fs', {}, async (rig) => {
      const warm = rig.faultsOf('warm')
      warm.inject({ fail: 'failed' }, 'get')
      for (let i = 0; i < 10; i++) await rig.acme.get(`k${i}`)
      expect(warm.calls.get).toBe(5)
      expect(rig.seen('degraded')).toHaveLength(1)
    }))

  // with a clock that stands still during a call, a write had its whole budget left when it began; with a real one never
  test('a write that hangs opens the write circuit by a clock that moves all the time', async () => {
    const faults = new Faults()
    const cache = new TieredCacheManager({ tiers: { hot: { backend: new MemoryBackend(), layers: [faults.layer], budget: '40ms' } }, logger: false })
    faults.inject('hang', 'put', 'delete')
    await cache.tenant('acme').set('k', 1)
    expect((await cache.stats()).tiers['hot']).toMatchObject({ state: 'degraded', errors: 1 })
    const before = performance.now()
    for (let i = 0; i < 20; i++) await cache.tenant('acme').set(`other${i}`, 1)
    expect(performance.now() - before).toBeLessThan(400) // twenty budgets are 800 ms
    faults.heal()
    faults.drop()
    await cache.close()
  })

  test('getOrCompute, get, has, lookup, getMany and list never reject because a tier is down', () =>
    withRig('fs', {}, async (rig) => {
      const { acme } = rig
      rig.faultsOf('warm').inject({ fail: 'unavailable' })
      expect(await acme.getOrCompute('k', () => 1)).toBe(1)
      expect(await acme.get('k')).toBeUndefined()
      expect(await acme.has('k')).toBe(false)
      expect(await acme.lookup('k')).toEqual({ status: 'miss' })
      expect((await acme.getMany(['k'])).size).toBe(0)
      for await (const info of acme.list('')) throw new Error(`listed ${info.key}`)
      await acme.stats()
    }))
})

describe('an outage leaves one log line each way', () => {
  test('degraded and recovered', () => {
    const lines: string[] = []
    const logger = { info: (line: string) => lines.push(`info ${line}`), warn: (line: string) => lines.push(`warn ${line}`) }
    return withRig('memory and fs', { logger }, async (rig) => {
      rig.faultsOf('warm').inject({ fail: 'unavailable' })
      for (let i = 0; i < 20; i++) await rig.acme.getOrCompute(`k${i}`, () => i)
      rig.faultsOf('warm').heal()
      await rig.passUntil(() => lines.length === 2)
      expect(lines[0]).toMatch(/^warn thermocline: tier warm \(fs\) is degraded/)
      expect(lines[1]).toMatch(/^info thermocline: tier warm \(fs\) has recovered/)
    })
  })
})
