import zlib from 'node:zlib'
import { describe, expect, test } from '@jest/globals'
import { TieredCacheManager } from '@thermocline/core'
import { FileSystemBackend } from '@thermocline/fs'
import { MemoryBackend } from '@thermocline/memory'
import { EXACT_VALUES, sameValue } from '@thermocline/testkit'
import type { CompressionOption } from '../../packages/core/src/codec/compression.js'
import { afterwards, temporaryDirectory } from '../support/afterwards.js'

const TEXT = 'the same again and again; '.repeat(2000)
const HAS_ZSTD = 'zstdCompress' in zlib

function cacheOn(basePath: string, compression: CompressionOption | undefined, memory = false): TieredCacheManager {
  const cache = new TieredCacheManager({
    tiers: { ...(memory ? { hot: { backend: new MemoryBackend() } } : {}), warm: { backend: new FileSystemBackend({ basePath }) } },
    policies: { default: { compression } },
    logger: false,
  })
  afterwards(() => cache.close())
  return cache
}

async function sizeOf(cache: TieredCacheManager, key: string): Promise<number> {
  for await (const { size } of cache.tenant('t').list(key, { detail: true })) return size ?? 0
  throw new Error(`${key} is not there`)
}

describe('compression', () => {
  test.each([['gzip'], ['brotli'], ...(HAS_ZSTD ? [['zstd']] : [])] as ['gzip'][])('%s makes payloads smaller and gives them back', async (algorithm) => {
    const cache = cacheOn(temporaryDirectory(), algorithm)
    const acme = cache.tenant('t')
    await acme.set('text', TEXT)
    await acme.set('buffer', Buffer.from(TEXT))
    expect(await sizeOf(cache, 'text')).toBeLessThan(1500)
    expect(await acme.get('text')).toBe(TEXT)
    expect(String(await acme.get('buffer'))).toBe(TEXT)
    expect(await acme.getMany(['text', 'nothing'])).toEqual(new Map([['text', TEXT]]))
    expect(await acme.lookup('text')).toMatchObject({ value: TEXT })
  })

  test('every value comes back, whatever its size', async () => {
    const cache = cacheOn(temporaryDirectory(), { algorithm: 'gzip', threshold: 0 }, true)
    const acme = cache.tenant('t')
    for (const [at, [, make]] of EXACT_VALUES.entries()) await acme.set(`v${at}`, make())
    for (const [at, [, make]] of EXACT_VALUES.entries()) {
      for (const tiers of [{ hot: false }, { warm: false }]) expect(sameValue(await acme.get(`v${at}`, { tiers }), make())).toBe(true)
    }
  })

  test('what is below the threshold, or does not shrink, stays as it is', async () => {
    const cache = cacheOn(temporaryDirectory(), { algorithm: 'gzip', threshold: 100_000 })
    await cache.tenant('t').set('text', TEXT)
    expect(await sizeOf(cache, 'text')).toBeGreaterThan(TEXT.length)
    const other = cacheOn(temporaryDirectory(), 'gzip')
    const noise = Buffer.from(Array.from({ length: 5000 }, () => Math.floor(Math.random() * 256)))
    await other.tenant('t').set('noise', noise)
    expect(await sizeOf(other, 'noise')).toBeGreaterThan(5000)
    expect(noise.equals((await other.tenant('t').get('noise')) as Buffer)).toBe(true)
  })

  test('readers understand what was written under another setting', async () => {
    const basePath = temporaryDirectory()
    await cacheOn(basePath, 'brotli').tenant('t').set('b', TEXT)
    await cacheOn(basePath, undefined).tenant('t').set('n', TEXT)
    const acme = cacheOn(basePath, 'gzip').tenant('t')
    expect([await acme.get('b'), await acme.get('n')]).toEqual([TEXT, TEXT])
  })

  test('a computed value is compressed before its caller goes on, and later changes do not show', async () => {
    const cache = cacheOn(temporaryDirectory(), 'gzip')
    const value = { text: TEXT }
    const got = await cache.tenant('t').getOrCompute('k', () => value)
    value.text = 'changed'
    expect(got).toBe(value)
    expect(await cache.tenant('t').get('k')).toEqual({ text: TEXT })
    expect(await sizeOf(cache, 'k')).toBeLessThan(1500)
  })

  test('sets of one key keep the order of the calls, compressed or not', async () => {
    const acme = cacheOn(temporaryDirectory(), 'gzip', true).tenant('t')
    for (let round = 0; round < 20; round++) {
      const large = acme.set('k', `${TEXT}${round}`)
      const small = acme.set('k', round)
      await Promise.all([large, small])
      expect(await acme.get('k', { tiers: { hot: false } })).toBe(round)
    }
  })

  test('a limit on payloads is one on what is stored', async () => {
    const cache = new TieredCacheManager({
      tiers: { warm: { backend: new FileSystemBackend({ basePath: temporaryDirectory() }), maxPayloadBytes: 2000 } },
      policies: { default: { compression: 'gzip' } },
      logger: false,
    })
    afterwards(() => cache.close())
    const acme = cache.tenant('t')
    await acme.set('shrinks', TEXT)
    await acme.set('k', 'old')
    await acme.set('k', Buffer.from(Array.from({ length: 5000 }, () => Math.floor(Math.random() * 256))))
    expect(await acme.get('shrinks')).toBe(TEXT)
    expect(await acme.has('k')).toBe(false)
  })

  test('a compression this Node does not have, or wrong settings, are refused with the reason', () => {
    const make = (compression: unknown) => () => cacheOn(temporaryDirectory(), compression as CompressionOption)
    expect(make('lz4')).toThrow('policies.default.compression must be one of gzip, brotli, zstd, not the string "lz4"')
    expect(make({ algorithm: 'gzip', level: 10 })).toThrow('policies.default.compression.level must be a whole number from 1 to 9')
    expect(make({ algorithm: 'gzip', threshold: -1 })).toThrow('threshold')
    expect(make(7)).toThrow(TypeError)
    if (!HAS_ZSTD) expect(make('zstd')).toThrow('has no zstd')
  })
})
