import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from '@jest/globals'
import { TieredCacheManager } from '@thermocline/core'
import { MemoryBackend } from '@thermocline/memory'
import { Ajv } from 'ajv'
import { parse } from 'yaml'
import { RESERVED_TIER_NAMES, CODEC_NAMES } from '../src/schema/caching.js'
import { COMPRESSIONS } from '../src/schema/compression.js'
import { publishedSchema } from '../src/schema/published.js'
import { SECTION_7 } from './section-7.js'

const PACKAGE = path.resolve(import.meta.dirname, '..')
const validate = new Ajv({ strict: false }).compile(publishedSchema())
const accepts = (document: unknown) => validate(document)

describe('the published JSON Schema', () => {
  test('is up to date: run `pnpm --filter @thermocline/config schema` when it is not', () => {
    expect(readFileSync(path.join(PACKAGE, 'schema/thermocline.schema.json'), 'utf8')).toBe(`${JSON.stringify(publishedSchema(), undefined, 2)}\n`)
  })

  test('is part of the package', () => {
    const { exports, files } = JSON.parse(readFileSync(path.join(PACKAGE, 'package.json'), 'utf8')) as { exports: Record<string, unknown>; files: string[] }
    expect(exports['./schema.json']).toBe('./schema/thermocline.schema.json')
    expect(files).toContain('schema')
  })

  test('uses standard keywords only', () => {
    const text = JSON.stringify(publishedSchema())
    for (const keyword of ['duration', 'bytes', 'exclusive', 'expected']) expect(text).not.toContain(`"${keyword}":`)
  })

  test('accepts the documented example and every example file', () => {
    expect(accepts(parse(SECTION_7))).toBe(true)
    const configs = path.join(PACKAGE, '../../configs')
    for (const name of readdirSync(configs).filter((file) => file.endsWith('.yaml'))) expect([name, accepts(parse(readFileSync(path.join(configs, name), 'utf8')))]).toEqual([name, true])
  })

  test.each([
    [{ preset: 'production', tiers: { warm: { config: { base_path: '/a' } } } }],
    [{ caching: { enabled: '${ON}', default_ttl: '${TTL}', tiers: { hot: { backend: 'memory', config: { max_entries: '${N:-3}', isolation: '${I}' } } } } }],
    [{ tiers: { hot: { backend: '@acme/any', config: { anything: 1 } } }, policies: { a: { hot: { write: 'around', ttl: '5m' }, ttl: null } } }],
    [{ tiers: { hot: { backend: 'memory', config: null, max_ttl: 0, budget: 0.5 } } }],
    [{ tiers: { hot: { backend: 'memory' } }, policies: { a: { compression: 'brotli', content_type: 'image/png' }, b: { compression: { algorithm: 'gzip', level: '${L}' } }, c: { compression: false } } }],
    [{ tiers: { hot: { backend: 'local', config: { base_path: 'x' } } }, policies: { a: { cold: { write: 'back' }, d: { write: 'demote' } } }, write_back: { max_size: '${S}', concurrency: 2 } }],
  ])('accepts what the loader accepts: %j', (document) => {
    expect(accepts(document)).toBe(true)
  })

  test.each([
    [{}],
    [{ caching: { tiers: { hot: {} } } }],
    [{ tiers: { hot: { backend: 'memory', config: { max_sise: 1 } } } }],
    [{ tiers: { hot: { backend: 'local', config: {} } } }],
    [{ tiers: { hot: { backend: 'memory', budget: '15' } } }],
    [{ tiers: { hot: { backend: 'memory', budget: 0 } } }],
    [{ tiers: { hot: { backend: 'memory' } }, default_ttl: '15 minutes' }],
    [{ tiers: { hot: { backend: 'memory', config: { max_size: '10 pounds' } } } }],
    [{ tiers: { hot: { backend: 'memory', config: { max_size: 1, max_size_mb: 1 } } } }],
    [{ tiers: { ttl: { backend: 'memory' } } }],
    [{ tiers: { 1: { backend: 'memory' } } }],
    [{ tiers: { hot: { backend: 'memory' } }, polices: {} }],
    [{ tiers: { hot: { backend: 'memory' } }, policies: { a: { compression: true } } }],
    [{ tiers: { hot: { backend: 'memory' } }, policies: { a: { compression: 'lzma' } } }],
    [{ tiers: { hot: { backend: 'memory' } }, policies: { a: { compression: { algorithm: 'zstd', level: 23 } } } }],
    [{ tiers: { hot: { backend: 'memory' } }, policies: { a: { content_type: 'png' } } }],
    [{ tiers: { hot: { backend: 'memory' } }, write_back: { max_size: 0 } }],
  ])('refuses what the loader refuses: %j', (document) => {
    expect(accepts(document)).toBe(false)
  })
})

describe('what is written here as well as in core', () => {
  const manager = (name: string, codec?: string) => new TieredCacheManager({ tiers: { [name]: { backend: new MemoryBackend() } }, policies: { a: { codec: codec as never } } })

  test('names of tiers that core refuses', () => {
    for (const name of RESERVED_TIER_NAMES) if (name !== '__proto__') expect(() => manager(name)).toThrow(/may not be named/)
  })

  test('compressions that core knows, and their levels', async () => {
    const compressing = (compression: unknown) => new TieredCacheManager({ tiers: { hot: { backend: new MemoryBackend() } }, policies: { a: { compression: compression as never } } })
    const outcome = (compression: unknown) => {
      try {
        return compressing(compression).close().then(() => undefined)
      } catch (error) {
        return (error as Error).message
      }
    }
    for (const [algorithm, [least, most]] of Object.entries(COMPRESSIONS)) {
      const isThere = algorithm !== 'zstd' || 'zstdCompress' in (await import('node:zlib'))
      for (const level of [least, most]) expect(await outcome({ algorithm, level })).toEqual(isThere ? undefined : expect.stringContaining('has no zstd'))
      for (const level of [least - 1, most + 1]) expect(await outcome({ algorithm, level })).toContain(isThere ? `from ${least} to ${most}` : 'has no zstd')
    }
    expect(await outcome('none')).toContain(`one of ${Object.keys(COMPRESSIONS).join(', ')}`)
  })

  test('codecs that core knows', async () => {
    for (const codec of CODEC_NAMES) await manager('hot', codec).close()
    let known = ''
    try {
      manager('hot', 'none')
    } catch (error) {
      known = (error as Error).message
    }
    for (const codec of /must be (.*) or a Codec/.exec(known)?.[1]?.split(', ') ?? []) expect(CODEC_NAMES).toContain(codec)
    expect(known).toContain('auto')
  })
})
