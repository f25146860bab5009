import { describe, expect, test } from '@jest/globals'
import { TieredCacheManager, type TieredCacheManagerOptions } from '@thermocline/core'
import type { CacheError } from '@thermocline/backend'
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

  test.each([
    ['memory', LARGE, () => ({ hot: small() }), /hot \(at most 64000 bytes\)/],
    ['memory and disk', LARGE, () => ({ hot: small(), warm: disk(100_000) }), /hot \(at most 64000 bytes\), warm \(at most 100000 bytes\)/],
    ['memory that takes more, but no streams', Buffer.alloc(9_000_000, 1), () => ({ hot: { backend: new MemoryBackend() } }), /hot \(at most 8388608 bytes\)/],
  ])('is told of as a stream, too: %s', async (_name, bytes, tiers, limits) => {
    const { cache, errors, warnings } = cacheOf(tiers())
    const acme = cache.tenant('acme')
    const sets: string[] = []
    cache.on('set', ({ key }) => sets.push(key))
    let computes = 0
    const produce = (): Iterable<Buffer> => (computes++, [bytes.subarray(0, 70_000), bytes.subarray(70_000)])
    await acme.setStream('frames/a', produce())
    expect(await acme.get('frames/a')).toBeUndefined()
    for (let call = 0; call < 2; call++) expect((await (await acme.getOrComputeStream('frames/b', produce)).toArray()).reduce((sum: number, chunk: Buffer) => sum + chunk.byteLength, 0)).toBe(bytes.byteLength)
    expect(computes).toBe(3)
    expect(errors.map(({ code, operation, tenant, key }) => [code, operation, tenant, key])).toEqual([
      ['too-large', 'set', 'acme', 'frames/a'],
      ['too-large', 'put', 'acme', 'frames/b'],
      ['too-large', 'put', 'acme', 'frames/b'],
    ])
    expect(errors[0]?.message).toMatch(new RegExp(`a stream of ${bytes.byteLength} bytes of policy default is too large`))
    expect(errors[0]?.message).toMatch(limits)
    expect(warnings).toEqual([expect.stringMatching(/is not stored\. Let the policy use a tier that takes streams/)])
    expect(sets).toEqual([])
    await acme.set('frames/c', 'small')
    await acme.setStream('frames/d', [Buffer.from('small')])
    await acme.setMany([['frames/e', LARGE.subarray(0, 10)]])
    expect(sets).toEqual(['frames/c', 'frames/d', 'frames/e'])
  })

  test('is told as no set, in any verb', async () => {
    const { cache } = cacheOf({ hot: small() })
    const sets: string[] = []
    cache.on('set', ({ key }) => sets.push(key))
    await cache.set('a', LARGE, { tenant: 'acme' })
    await cache.setMany([['b', LARGE], ['c', 1]], { tenant: 'acme' })
    await cache.set('d', 1, { tenant: 'acme', ttl: 0 })
    expect(sets).toEqual(['c', 'd'])
  })

  test('is no failure of a tier of streams: the others keep it, and nothing is told', async () => {
    const { cache, errors, warnings } = cacheOf({ warm: disk(100_000), cold: disk() })
    const acme = cache.tenant('acme')
    await acme.set('frames/a', 'old')
    await acme.setStream('frames/a', [LARGE, LARGE])
    expect(await acme.lookup('frames/a', { value: false })).toMatchObject({ tier: 'cold' })
    await (await acme.getOrComputeStream('frames/b', () => [LARGE, LARGE])).toArray()
    expect(await acme.lookup('frames/b', { value: false })).toMatchObject({ tier: 'cold' })
    expect([errors, warnings]).toEqual([[], []])
  })

  test('is measured as a tier is given it: compressed, but not where values are kept', async () => {
    const policies = { default: { compression: 'gzip' } } as const
    const { cache, errors } = cacheOf({ hot: small(), warm: disk(100_000) }, policies)
    const acme = cache.tenant('acme')
    await acme.setStream('zeros', [LARGE])
    expect([(await acme.get('zeros') as Buffer).byteLength, errors]).toEqual([200_000, []])
    const one = cacheOf({ hot: small() }, policies)
    await one.cache.setStream('zeros', [LARGE], { tenant: 'acme' })
    expect(one.errors.map(({ code }) => code)).toEqual(['too-large'])
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
