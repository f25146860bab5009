import { describe, expect, test } from '@jest/globals'
import { TieredCacheManager, type TieredCacheManagerOptions } from '@thermocline/core'
import { MemoryBackend } from '@thermocline/memory'
import { FakeClock } from '@thermocline/testkit'
import { withRig } from '../support/rig.js'

const hot = (): { backend: MemoryBackend } => ({ backend: new MemoryBackend() })

describe('the policy of a key', () => {
  const policies = { embeddings: {}, emb: {}, ...(JSON.parse('{"constructor":{},"__proto__":{},"toString":{}}') as object) }
  const CASES = [
    ['embeddings', 'embeddings'],
    ['embeddings/x', 'embeddings'],
    ['embeddings/x/y', 'embeddings'],
    ['embeddings/', 'embeddings'],
    ['embeddingsx', 'default'],
    ['embedding', 'default'],
    ['emb/x', 'emb'],
    ['Embeddings/x', 'default'],
    ['/embeddings', 'default'],
    ['x/embeddings', 'default'],
    ['constructor/x', 'constructor'],
    ['__proto__', '__proto__'],
    ['__proto__/x', '__proto__'],
    ['toString', 'toString'],
    ['hasOwnProperty', 'default'],
    ['default/x', 'default'],
  ] as const

  test.each(CASES)('%s is %s', (key, policy) =>
    withRig('memory', { policies }, async ({ acme }) => {
      await acme.get(key)
      const counted = Object.entries((await acme.stats()).policies).filter(([, { misses }]) => misses > 0)
      expect(counted.map(([name]) => name)).toEqual([policy])
    }),
  )

  test('is the one that the call names, whatever the key', () =>
    withRig('memory', { policies }, async ({ acme }) => {
      for (const policy of ['emb', '__proto__', 'constructor', 'default']) await acme.get('embeddings/x', { policy })
      const { policies: counted } = await acme.stats()
      expect(Object.entries(counted).filter(([, { misses }]) => misses > 0).map(([name]) => name).sort()).toEqual(['__proto__', 'constructor', 'default', 'emb'])
    }))

  test('that does not exist, or a tier that does not, is a TypeError that lists those that do', () =>
    withRig('memory', { policies: { docs: {} } }, async ({ acme }) => {
      for (const policy of ['none', 'constructor', '']) await expect(acme.get('k', { policy })).rejects.toThrow(/^policy must be one of default, docs, not/)
      await expect(acme.set('k', 1, { tiers: { cold: false } })).rejects.toThrow(/^tiers names the tier "cold", which does not exist; the tiers are hot$/)
      await expect(acme.set('k', 1, { tiers: { hot: 1 as never } })).rejects.toThrow(/^tiers\.hot must be true, false or/)
      await expect(acme.set('k', 1, { tiers: { hot: { write: 'sideways' as never } } })).rejects.toThrow(/^tiers\.hot\.write must be/)
      expect(() => acme.peek('k', { policy: 'none' })).toThrow(TypeError)
      expect(await acme.has('k')).toBe(false)
    }))
})

test('tiers and tenants may be named like what every object has', async () => {
  const tiers = Object.fromEntries(['__proto__', 'constructor', 'toString'].map((name) => [name, hot()]))
  const cache = new TieredCacheManager({ tiers, clock: new FakeClock(), policies: { docs: { tiers: {} } } })
  const tenant = cache.tenant('__proto__')
  await tenant.set('docs/1', 1, { tiers: {} })
  expect(await tenant.get('docs/1')).toBe(1)
  expect(await tenant.lookup('docs/1', { tiers: Object.fromEntries([['__proto__', false]]) })).toMatchObject({ tier: 'constructor' })
  const stats = await cache.stats()
  expect(Object.keys(stats.tiers)).toEqual(['__proto__', 'constructor', 'toString'])
  expect(Object.entries(stats.tenants ?? {})).toEqual([['__proto__', { hits: 1, misses: 0, hitRate: 1 }]])
  await cache.close()
})

describe('a constructor option that is wrong is a TypeError that names it', () => {
  const WRONG: readonly (readonly [string, unknown, RegExp])[] = [
    ['no options', undefined, /needs \{ tiers \}, not undefined/],
    ['no tiers', {}, /^tiers must be an object with at least one tier/],
    ['empty tiers', { tiers: {} }, /^tiers must be/],
    ['tiers in an array', { tiers: [hot()] }, /number-like keys first/],
    ['a tier named like an option', { tiers: { ttl: hot() } }, /^a tier may not be named "ttl"/],
    ['a tier without a backend', { tiers: { hot: {} } }, /^tiers\.hot\.backend must be a cache backend/],
    ['a backend instead of a tier', { tiers: { hot: new MemoryBackend() } }, /^tiers\.hot\.backend must be/],
    ['a tier that is null', { tiers: { hot: null } }, /^tiers\.hot must be \{ backend, \.\.\. \}, not null/],
    ['a budget of zero', { tiers: { hot: { ...hot(), budget: 0 } } }, /^tiers\.hot\.budget must be longer than zero/],
    ['a maxTtl without a unit', { tiers: { hot: { ...hot(), maxTtl: '5' } } }, /^tiers\.hot\.maxTtl must be .* not the string "5"$/],
    ['a negative tier ttl', { tiers: { hot: { ...hot(), defaultTtl: -1 } } }, /^tiers\.hot\.defaultTtl must be .* not the number -1$/],
    ['a fraction of a byte', { tiers: { hot: { ...hot(), maxPayloadBytes: 1.5 } } }, /^tiers\.hot\.maxPayloadBytes must be a positive whole number/],
    ['no attempts', { tiers: { hot: { ...hot(), attempts: 0 } } }, /^tiers\.hot\.attempts must be/],
    ['no records', { tiers: { hot: { ...hot(), maxRecords: Number.NaN } } }, /^tiers\.hot\.maxRecords must be/],
    ['a layer that is none', { tiers: { hot: { ...hot(), layers: ['retry'] } } }, /^tiers\.hot\.layers must be an array of layers/],
    ['a defaultTtl that is NaN', { tiers: { hot: hot() }, defaultTtl: Number.NaN }, /^defaultTtl must be .* not the number NaN$/],
    ['policies that are none', { tiers: { hot: hot() }, policies: 'docs' }, /^policies must be an object by name/],
    ['a policy that is none', { tiers: { hot: hot() }, policies: { docs: true } }, /^policies\.docs must be/],
    ['a policy with a slash', { tiers: { hot: hot() }, policies: { 'a/b': {} } }, /must not contain '\/': "a\/b"/],
    ['a policy of an unknown tier', { tiers: { hot: hot() }, policies: { docs: { tiers: { cold: true } } } }, /^policies\.docs\.tiers names the tier "cold"/],
    ['a policy without a tier', { tiers: { hot: hot() }, policies: { docs: { tiers: { hot: false } } } }, /^policies\.docs uses no tier/],
    ['a policy ttl', { tiers: { hot: hot() }, policies: { docs: { ttl: 'soon' } } }, /^policies\.docs\.ttl must be/],
    ['a ttl of a policy in a tier', { tiers: { hot: hot() }, policies: { docs: { tiers: { hot: { ttl: true } } } } }, /^policies\.docs\.tiers\.hot\.ttl must be/],
    ['a write mode', { tiers: { hot: hot() }, policies: { docs: { tiers: { hot: { write: 'up' } } } } }, /^policies\.docs\.tiers\.hot\.write must be/],
    ['policies in an array', { tiers: { hot: hot() }, policies: [{}] }, /^policies must be an object by name, not an array$/],
    ['whether to promote', { tiers: { hot: hot() }, policies: { docs: { tiers: { hot: { promote: 'no' } } } } }, /^policies\.docs\.tiers\.hot\.promote must be true or false/],
    ['telemetry', { tiers: { hot: hot() }, telemetry: 'on' }, /^telemetry must be an object, not the string "on"$/],
    ['which spans', { tiers: { hot: hot() }, telemetry: { spans: 'always' } }, /^telemetry\.spans must be 'parented' or 'all', not the string "always"$/],
    ['a meter provider', { tiers: { hot: hot() }, telemetry: { meterProvider: {} } }, /^telemetry\.meterProvider must be a MeterProvider/],
    ['a tracer provider', { tiers: { hot: hot() }, telemetry: { tracerProvider: null } }, /^telemetry\.tracerProvider must be a TracerProvider, not null$/],
    ['a codec', { tiers: { hot: hot() }, policies: { docs: { codec: 'xml' } } }, /^policies\.docs\.codec must be auto, /],
    ['codecs', { tiers: { hot: hot() }, codecs: [{ id: 'x' }] }, /^codecs\[0\] must be/],
    ['a clock without now', { tiers: { hot: hot() }, clock: {} }, /^clock must have a function now\(\)/],
  ]
  test.each(WRONG)('%s', (_what, options, message) => {
    const make = (): TieredCacheManager => new TieredCacheManager(options as TieredCacheManagerOptions)
    expect(make).toThrow(message)
    expect(make).toThrow(TypeError)
  })

  test('explicit undefined is the same as not given', async () => {
    const cache = new TieredCacheManager({ tiers: { hot: { ...hot(), budget: undefined, maxTtl: undefined, layers: undefined } }, policies: undefined, defaultTtl: undefined, clock: undefined, logger: undefined, telemetry: undefined, codecs: undefined })
    await cache.set('k', 1, { tenant: 'a' })
    expect(await cache.get('k', { tenant: 'a' })).toBe(1)
    await cache.close()
  })
})
