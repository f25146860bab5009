import { describe, expect, test } from '@jest/globals'
import { TenantScope, validateKey, validateTenant } from '@thermocline/backend'
import { TieredCacheManager, type CacheEvents, type TierOptions } from '@thermocline/core'
import { MemoryBackend } from '@thermocline/memory'
import { FakeClock, Faults } from '@thermocline/testkit'
import { LevelBackend } from '../src/index.js'
import { directories } from './support/directory.js'

const newDirectory = directories()
const scopeOf = (tenant: string): TenantScope => new TenantScope(validateTenant(tenant))

function memoryOver(backend: LevelBackend, more: Partial<TierOptions> = {}): TieredCacheManager {
  return new TieredCacheManager({ tiers: { hot: { backend: new MemoryBackend() }, warm: { backend, ...more } }, logger: false })
}

describe('memory over level', () => {
  test('computes once, promotes to memory, and deletes from both', async () => {
    const level = new LevelBackend({ path: newDirectory() })
    await using first = memoryOver(level)
    await using second = memoryOver(level)
    expect(await first.tenant('acme').getOrCompute('a', () => 'computed')).toBe('computed')

    const acme = second.tenant('acme')
    expect(await acme.getOrCompute('a', () => 'computed again')).toBe('computed')
    expect(await acme.lookup('a')).toMatchObject({ status: 'fresh', tier: 'hot', value: 'computed' })

    await acme.delete('a')
    expect(await acme.lookup('a')).toEqual({ status: 'miss' })
    expect(await level.get(scopeOf('acme'), validateKey('a'), { want: 'head', touch: false })).toBeUndefined()
  })

  test('what was stored is there after a restart', async () => {
    const path = newDirectory()
    {
      await using cache = memoryOver(new LevelBackend({ path }))
      await cache.tenant('acme').set('a', { vector: Float32Array.of(1, 2) }, { ttl: '1d' })
    }
    await using cache = memoryOver(new LevelBackend({ path }))
    expect(await cache.tenant('acme').lookup('a')).toMatchObject({ tier: 'warm', value: { vector: Float32Array.of(1, 2) } })
  })

  test('computes while level fails, and tries again what is retryable', async () => {
    const faults = new Faults()
    await using cache = memoryOver(new LevelBackend({ path: newDirectory() }), { layers: [faults.layer] })
    faults.inject({ fail: 'unavailable', retryable: true }, 'get')
    expect(await cache.tenant('acme').getOrCompute('a', () => 'computed')).toBe('computed')
    expect(faults.calls.get).toBe(2)
  })

  test('after the last manager has closed, operations fail with closed', async () => {
    const level = new LevelBackend({ path: newDirectory() })
    await memoryOver(level).close()
    await expect(level.get(scopeOf('acme'), validateKey('a'), { want: 'head', touch: false })).rejects.toMatchObject({ code: 'closed' })
  })

  test('a database of another process is a degraded tier until it is let go', async () => {
    const path = newDirectory()
    const other = new LevelBackend({ path })
    await other.get(scopeOf('acme'), validateKey('a'), { want: 'head', touch: false })
    await using cache = memoryOver(new LevelBackend({ path }))
    const recovered = new Promise((resolve) => cache.on('recovered', resolve))
    expect(await cache.tenant('acme').getOrCompute('a', () => 'computed')).toBe('computed')
    expect((await cache.stats()).tiers['warm']?.state).not.toBe('ok')
    await other[Symbol.asyncDispose]()
    await recovered
  })
})

describe('the sweep', () => {
  test('removes what is over and says so', async () => {
    const clock = new FakeClock()
    const backend = new LevelBackend({ path: newDirectory(), sweepInterval: '10m' })
    await using cache = new TieredCacheManager({ tiers: { warm: { backend } }, clock, logger: false })
    await cache.tenant('acme').set('short', 1, { ttl: '1m' })
    await cache.tenant('acme').set('long', 2, { ttl: '1h' })
    const evicted = new Promise<CacheEvents['evict']>((resolve) => cache.on('evict', resolve))
    await clock.advance(600_000)
    expect(await evicted).toMatchObject({ tenant: 'acme', key: 'short', tier: 'warm', reason: 'expired' })
    expect(await cache.tenant('acme').get('long')).toBe(2)
  })
})
