import { beforeEach, describe, expect, test } from '@jest/globals'
import { CacheError, type CacheEntry, type ReadOptions } from '@thermocline/backend'
import { TieredCacheManager, type TenantCache } from '@thermocline/core'
import { MemoryBackend } from '@thermocline/memory'
import { ManualClock } from './support/manual-clock.js'
import { ScriptedBackend } from './support/scripted-backend.js'

let clock: ManualClock
let store: ScriptedBackend
let cache: TieredCacheManager
let acme: TenantCache
let stored: CacheEntry | undefined

/** A store that does as it is told, perhaps above a memory. */
function open(belowIt = false): void {
  cache = new TieredCacheManager({ tiers: { store: { backend: store }, ...(belowIt ? { below: { backend: new MemoryBackend() } } : {}) }, clock, logger: false })
  acme = cache.tenant('acme')
}

beforeEach(() => {
  clock = new ManualClock()
  store = new ScriptedBackend()
  stored = undefined
  store.answer = (operation) => {
    if (operation === 'put') stored = store.lastPut
    return Promise.resolve(operation === 'put' ? true : operation === 'get' ? stored : 0)
  }
  open()
})

describe('one tier', () => {
  test('is not asked for a key on which something that was computed may still land', async () => {
    store.answer = (operation) => (operation === 'put' ? new Promise(() => undefined) : Promise.resolve(undefined))
    const computed = acme.getOrCompute('k', () => 1)
    for (let n = 0; n < 20; n++) await clock.advance(500)
    expect(await computed).toBe(1)
    store.calls.length = 0
    expect(await acme.get('k')).toBeUndefined()
    expect(store.calls).not.toContain('get')
    await acme.get('other')
    expect(store.calls).toContain('get')
  })

  test('is asked for nobody else’s objects unless a policy says so', async () => {
    await acme.get('k')
    expect(store.options).toMatchObject({ want: 'payload', touch: true })
    expect((store.options as ReadOptions).adopt).toBeUndefined()
  })

  test('gets metadata without tags, and tags only where there are some', async () => {
    await acme.set('k', 1, { metadata: { a: 'b' } })
    expect(stored?.details).toEqual({ metadata: { a: 'b' } })
    await acme.set('k', 1, { metadata: { a: 'b' }, tags: [] })
    expect(stored?.details).toEqual({ metadata: { a: 'b' } })
    await acme.set('k', 1, { tags: ['t'] })
    expect(stored?.details).toEqual({ tags: ['t'] })
  })

  test('is tried once more for what it owes when the cache is closed', async () => {
    store.answer = (operation) => (operation === 'delete' ? Promise.reject(new CacheError('failed', 'not now', { operation })) : Promise.resolve(undefined))
    await acme.delete('k')
    expect((await cache.stats()).tiers.store?.pendingInvalidations).toBe(1)
    store.answer = () => Promise.resolve(1)
    expect(await cache.close()).toEqual({ pending: 0, owed: 0 })
  })

  test('that is filled from a slower one counts it, also when it takes its time', async () => {
    open(true)
    const promoted: unknown[] = []
    cache.on('promote', ({ key, from, to }) => promoted.push([key, from, to]))
    await acme.set('k', 1, { tiers: { store: false } })
    expect(await acme.get('k')).toBe(1)
    await cache.flush()
    await clock.advance(1)
    expect(promoted).toEqual([['k', 'below', 'store']])
    expect((await cache.stats()).tiers.store?.promotions).toBe(1)
  })

  test('that cannot be filled from a slower one is reported, and counts nothing; one that has the key by now is not', async () => {
    open(true)
    const errors: unknown[] = []
    cache.on('error', ({ operation, tier, error }) => errors.push([operation, tier, error.code]))
    await acme.set('k', 1, { tiers: { store: false } })
    for (const [put, told] of [[() => Promise.reject(new CacheError('failed', 'not now', { operation: 'put' })), [['promote', 'store', 'failed']]], [() => Promise.resolve(false), []]] as const) {
      errors.length = 0
      store.answer = (operation) => (operation === 'put' ? put() : Promise.resolve(undefined))
      expect(await acme.get('k')).toBe(1)
      await cache.flush()
      await clock.advance(1)
      expect(errors).toEqual(told)
    }
    expect((await cache.stats()).tiers.store?.promotions).toBe(0)
  })

  test('is not filled from a slower one with what was deleted meanwhile, of which nothing is reported', async () => {
    open(true)
    const errors: unknown[] = []
    cache.on('error', (error) => errors.push(error))
    let answer = (_entry: undefined): void => undefined
    await acme.set('k', 1, { tiers: { store: false } })
    store.answer = (operation) => (operation === 'get' ? new Promise((resolve) => (answer = resolve)) : Promise.resolve(operation === 'put' ? true : 0))
    const got = acme.get('k')
    await clock.advance(1)
    const deleted = acme.delete('k')
    answer(undefined)
    await Promise.all([got, deleted])
    await cache.flush()
    expect([store.calls.includes('put'), errors]).toEqual([false, []])
  })
})
