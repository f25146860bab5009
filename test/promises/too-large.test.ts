import { describe, expect, test } from '@jest/globals'
import { TieredCacheManager, type CacheError, type TieredCacheManagerOptions } from '@thermocline/core'
import { FileSystemBackend } from '@thermocline/fs'
import { MemoryBackend } from '@thermocline/memory'
import { afterwards, temporaryDirectory } from '../support/afterwards.js'

const LARGE = Buffer.alloc(200_000, 1)

function cacheOf(tiers: TieredCacheManagerOptions['tiers'], policies?: TieredCacheManagerOptions['policies']): { cache: TieredCacheManager; errors: CacheError[]; warnings: string[] } {
  const warnings: string[] = []
  const cache = new TieredCacheManager({ tiers, ...(policies === undefined ? {} : { policies }), logger: { info: () => undefined, warn: (message) => warnings.push(message) } })
  afterwards(() => cache.close())
  const errors: CacheError[] = []
  cache.on('error', ({ error }) => errors.push(error))
  return { cache, errors, warnings }
}

const small = () => ({ backend: new MemoryBackend({ maxBytes: 64_000 }) })
const disk = (maxPayloadBytes?: number) => ({ backend: new FileSystemBackend({ basePath: temporaryDirectory() }), ...(maxPayloadBytes === undefined ? {} : { maxPayloadBytes }) })

describe('a value that no tier can hold', () => {
  test.each([
    ['memory', () => ({ hot: small() })],
    ['memory and disk', () => ({ hot: small(), warm: disk(100_000) })],
  ])('is told of each time and logged once, in %s', async (_name, tiers) => {
    const { cache, errors, warnings } = cacheOf(tiers())
    const acme = cache.tenant('acme')
    await acme.set('frames/a', LARGE)
    expect(await acme.get('frames/a')).toBeUndefined()
    expect(await acme.getOrCompute('frames/b', () => LARGE)).toEqual(LARGE)
    await acme.getOrCompute('frames/b', () => LARGE)
    expect(errors.map(({ code, operation, tenant, key }) => [code, operation, tenant, key])).toEqual([
      ['too-large', 'set', 'acme', 'frames/a'],
      ['too-large', 'put', 'acme', 'frames/b'],
      ['too-large', 'put', 'acme', 'frames/b'],
    ])
    expect(errors[0]?.message).toMatch(/policy default is too large for every tier that was to hold it, hot \(at most 64000 bytes\)/)
    expect(warnings).toEqual([expect.stringMatching(/is not stored\. Raise the limit of a tier \(maxPayloadBytes, maxBytes\)/)])
    expect((await cache.stats()).errors).toBe(3)
  })

  test('is nobody’s problem where a tier holds it, or none was to', async () => {
    const { cache, errors, warnings } = cacheOf({ hot: small(), warm: disk() }, { around: { tiers: { hot: { write: 'around' }, warm: { write: 'around' } } } })
    const acme = cache.tenant('acme')
    await acme.set('frames/a', LARGE)
    expect(await acme.get('frames/a')).toEqual(LARGE)
    await acme.getOrCompute('frames/b', () => LARGE)
    await acme.set('around/a', LARGE)
    await acme.getOrCompute('around/b', () => LARGE)
    await acme.set('frames/c', LARGE, { ttl: 0 })
    await acme.set('frames/d', LARGE, { tiers: { warm: false } }).catch(() => undefined)
    expect([errors.map(({ code, key }) => `${code} ${key}`), warnings.length]).toEqual([['too-large frames/d'], 1])
  })
})
