import { describe, expect, test } from '@jest/globals'
import { parseConfig } from '@thermocline/config'
import { SECTION_7 } from './section-7.js'

const tier = (config: Record<string, unknown>, more: Record<string, unknown> = {}) => ({ tiers: { hot: { backend: 'memory', config, ...more } } })

describe('what a configuration becomes', () => {
  test('the keys of the documented example load as they stand, without any adapter installed', () => {
    const { enabled, tiers, policies } = parseConfig(SECTION_7)
    expect(enabled).toBe(true)
    expect(Object.keys(tiers)).toEqual(['hot', 'warm', 'cold'])
    expect(tiers['hot']).toEqual({ backend: 'redis', defaultTtl: 3600, config: { url: 'redis://localhost:6379', max_memory: '2gb', eviction_policy: 'allkeys-lru' } })
    expect(tiers['cold']?.config).toEqual({
      bucket: 'artifacts',
      region: 'us-east-1',
      storage_class: 'INTELLIGENT_TIERING',
      lifecycle_rules: [{ transition_days: 30, storage_class: 'GLACIER' }, { expiration_days: 365 }],
    })
    expect(policies).toEqual({
      embeddings: { tiers: { hot: false, warm: true, cold: true }, ttl: null },
      search_results: { tiers: { hot: true, warm: false, cold: false }, ttl: 3600 },
      frames: { tiers: { hot: false, warm: true, cold: true }, ttl: 86400 },
    })
  })

  test('the same as JSON, or as an object, means the same', () => {
    const fromYaml = parseConfig(SECTION_7)
    expect(parseConfig(JSON.stringify({ caching: { ...fromYamlInput() } }, undefined, '\t'))).toEqual(fromYaml)
    expect(parseConfig({ caching: fromYamlInput() })).toEqual(fromYaml)
    expect(parseConfig(fromYamlInput())).toEqual(fromYaml)
  })

  test('what a policy says about staleness', () => {
    const own = { stale_while_revalidate: '1h', stale_if_error: 86_400, soft_timeout: '500ms', hard_timeout: '10s', early_refresh: { beta: 2 }, jitter: 0.1, error_ttl: '5s', lock: { wait: '3s' } }
    const { policies, refreshConcurrency } = parseConfig({ ...tier({}), policies: { p: { hot: true, ...own }, early: { hot: true, early_refresh: true } }, refresh_concurrency: 8 })
    expect(policies['p']).toEqual({ tiers: { hot: true }, staleWhileRevalidate: '1h', staleIfError: 86_400, softTimeout: '500ms', hardTimeout: '10s', earlyRefresh: { beta: 2 }, jitter: 0.1, errorTtl: '5s', lock: { wait: '3s' } })
    expect([policies['early'], refreshConcurrency]).toEqual([{ tiers: { hot: true }, earlyRefresh: true }, 8])
  })

  test('whether processes agree, and over which tier', () => {
    const of = (coordination: unknown): unknown => parseConfig({ ...tier({}), coordination } as never).coordination
    expect([of('auto'), of('off'), of(false), of(undefined)]).toEqual(['auto', false, false, undefined])
    expect(of({ tier: 'hot', max_staleness: '30s' })).toEqual({ tier: 'hot', maxStaleness: '30s' })
  })

  test('snake_case becomes the options of a tier', () => {
    const limits = { max_ttl: '7d', default_ttl: null, budget: '100ms', max_payload_bytes: '10mb', attempts: 3, max_records: 50 }
    expect(parseConfig(tier({}, limits)).tiers['hot']).toEqual({
      backend: 'memory',
      config: {},
      maxTtl: '7d',
      defaultTtl: null,
      budget: '100ms',
      maxPayloadBytes: 10 * 1024 ** 2,
      attempts: 3,
      maxRecords: 50,
    })
  })

  test('a tier in a policy may be in detail', () => {
    const { policies } = parseConfig({ ...tier({}), policies: { frames: { hot: { write: 'around', ttl: '5m', promote: false }, codec: 'v8' } } })
    expect(policies['frames']).toEqual({ tiers: { hot: { write: 'around', ttl: '5m', promote: false } }, codec: 'v8' })
  })

  test('compression, media types and foreign objects become options of a policy', () => {
    const { policies } = parseConfig({
      ...tier({}),
      policies: {
        a: { hot: true, compression: 'gzip', content_type: 'image/svg+xml; charset=utf-8', foreign_objects: 'adopt' },
        b: { hot: true, compression: { algorithm: 'zstd', level: '${LEVEL}', threshold: '${BYTES:-4096}' }, foreign_objects: 'ignore' },
        c: { hot: true, compression: '${PACKED:-false}' },
      },
    }, { env: { LEVEL: '19' } })
    expect(policies).toEqual({
      a: { tiers: { hot: true }, compression: 'gzip', contentType: 'image/svg+xml; charset=utf-8', foreignObjects: 'adopt' },
      b: { tiers: { hot: true }, compression: { algorithm: 'zstd', level: 19, threshold: 4096 }, foreignObjects: 'ignore' },
      c: { tiers: { hot: true }, compression: false },
    })
  })

  test('tiers may be written back and demoted to, and the journal has its limits', () => {
    const { policies, writeBack } = parseConfig({
      tiers: { warm: { backend: 'local', config: { base_path: 'x' } }, cold: { backend: 's3', config: { bucket: 'b' } } },
      policies: { frames: { warm: true, cold: { write: 'back', ttl: '30d' } }, pages: { cold: { write: 'demote' } } },
      write_back: { directory: '/var/spool/app', max_size: '${JOURNAL:-10gb}', max_entries: 500, concurrency: 8 },
    }, { env: {} })
    expect(policies['frames']?.tiers).toEqual({ warm: true, cold: { write: 'back', ttl: '30d' } })
    expect(policies['pages']?.tiers).toEqual({ cold: { write: 'demote' } })
    expect(writeBack).toEqual({ directory: '/var/spool/app', maxBytes: 10 * 1024 ** 3, maxEntries: 500, concurrency: 8 })
    expect(parseConfig(tier({}))).not.toHaveProperty('writeBack')
  })

  test('telemetry and the default time to live are passed on', () => {
    expect(parseConfig({ ...tier({}), default_ttl: '2h', telemetry: { tenant_attribute: true, spans: 'all' } })).toMatchObject({
      defaultTtl: '2h',
      telemetry: { tenantAttribute: true, spans: 'all' },
    })
  })

  test('the order of the tiers is the order in the file', () => {
    const text = ['zeta', 'alpha', 'constructor', 'mid'].map((name) => `  ${name}: { backend: memory }`).join('\n')
    expect(Object.keys(parseConfig(`tiers:\n${text}`).tiers)).toEqual(['zeta', 'alpha', 'constructor', 'mid'])
  })

  test('anchors, merge keys and keys beginning with x- can be used', () => {
    const text = 'x-limits: &limits { budget: 1s }\ncaching:\n  tiers:\n    hot: { backend: memory, <<: *limits }'
    expect(parseConfig(text).tiers['hot']?.budget).toBe('1s')
  })

  test('config may be left out or empty', () => {
    expect(parseConfig('tiers:\n  hot:\n    backend: memory\n    config:\n').tiers['hot']?.config).toEqual({})
  })

  test('a time to live is seconds, text with a unit, null or Infinity', () => {
    for (const given of [0, 1.5, 3600, '250ms', '30d', null]) expect(parseConfig({ ...tier({}), default_ttl: given }).defaultTtl).toBe(given)
    expect(parseConfig({ ...tier({}), default_ttl: Number.POSITIVE_INFINITY }).defaultTtl).toBeNull()
    expect(parseConfig('tiers: { hot: { backend: memory, default_ttl: .inf } }').tiers['hot']?.defaultTtl).toBeNull()
  })

  test('a property that is undefined is absent', () => {
    expect(parseConfig({ ...tier({ max_entries: undefined }), enabled: undefined }).tiers['hot']?.config).toEqual({})
  })

  test('a codec of your own can be named', () => {
    const codec = { id: 'mine', encode: () => new Uint8Array(), decode: () => 0 }
    expect(parseConfig({ ...tier({}), policies: { frames: { hot: true, codec: 'mine' } } }, { codecs: [codec] }).policies['frames']?.codec).toBe('mine')
  })

  test('the settings of a third party are left alone', () => {
    expect(parseConfig({ tiers: { hot: { backend: '@acme/cache', config: { anything: { goes: 1 } } } } }).tiers['hot']?.config).toEqual({ anything: { goes: 1 } })
  })

  test('neither text nor an object is a TypeError', () => {
    expect(() => parseConfig(null as never)).toThrow(TypeError)
    expect(() => parseConfig(3 as never)).toThrow(TypeError)
  })
})

function fromYamlInput() {
  return {
    enabled: true,
    tiers: {
      hot: { backend: 'redis', config: { url: 'redis://localhost:6379', default_ttl: 3600, max_memory: '2gb', eviction_policy: 'allkeys-lru' } },
      warm: { backend: 'local', config: { base_path: '/var/cache/app', max_size_gb: 100, cleanup_interval: 3600 } },
      cold: {
        backend: 's3',
        config: {
          bucket: 'artifacts',
          region: 'us-east-1',
          storage_class: 'INTELLIGENT_TIERING',
          lifecycle_rules: [{ transition_days: 30, storage_class: 'GLACIER' }, { expiration_days: 365 }],
        },
      },
    },
    policies: {
      embeddings: { hot: false, warm: true, cold: true, ttl: null },
      search_results: { hot: true, warm: false, cold: false, ttl: 3600 },
      frames: { hot: false, warm: true, cold: true, ttl: 86400 },
    },
  }
}
