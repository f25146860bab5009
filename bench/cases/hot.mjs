/*
 * Hits in memory. 1,000 keys are read in a random order that repeats; every contender runs the same loop around its own read.
 * Packages are imported inside the contenders, so that a process loads only its own.
 */
import { mkdtemp } from 'node:fs/promises'
import path from 'node:path'

const KEYS = Array.from({ length: 1000 }, (_, n) => `embeddings/clip/v1/${n}.npz`)
const ORDER_LENGTH = 8192
const ORDER = randomOrder()
const TTL_MS = 3_600_000

const POLICIES = {
  embeddings: { tiers: { hot: true }, ttl: '7d' },
  search_results: { tiers: { hot: true }, ttl: '10m' },
}

function randomOrder() {
  let state = 12345
  return Array.from({ length: ORDER_LENGTH }, () => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0
    return KEYS[(state >>> 8) % KEYS.length]
  })
}

/** About as many bytes as JSON. */
const VALUES = {
  '100 B': (n) => ({ id: `clip-${n}`, model: 'ViT-B/32', score: 0.271828, labels: ['cat', 'outdoor'], width: 640, height: 480 }),
  '10 KB': (n) => ({ id: `clip-${n}`, vector: Array.from({ length: 512 }, (_, at) => Math.sin(n + at)) }),
}

let _sink
let at = 0

function awaited(read) {
  return async (n) => {
    for (let left = n; left > 0; left--) _sink = await read(ORDER[at++ & (ORDER_LENGTH - 1)])
  }
}

function direct(read) {
  return (n) => {
    for (let left = n; left > 0; left--) _sink = read(ORDER[at++ & (ORDER_LENGTH - 1)])
  }
}

function unexpected() {
  throw new Error('a hit was expected')
}

async function lru(options, spec) {
  const { LRUCache } = await import('lru-cache')
  const cache = new LRUCache({ max: 10_000, ...options })
  KEYS.forEach((key, n) => cache.set(key, spec.value(n)))
  return cache
}

async function thermocline(spec, { policies, tiers } = {}) {
  const { TieredCacheManager } = await import('@thermocline/core')
  const { MemoryBackend } = await import('@thermocline/memory')
  const cache = new TieredCacheManager({ coordination: false, tiers: { hot: { backend: new MemoryBackend() }, ...tiers }, ...(policies === undefined ? {} : { policies }) })
  const acme = cache.tenant('acme')
  for (const [n, key] of KEYS.entries()) await acme.set(key, spec.value(n))
  return { cache, acme }
}

async function thermoclineHits(spec, options) {
  const { cache, acme } = await thermocline(spec, options)
  return { run: awaited((key) => acme.getOrCompute(key, () => unexpected(key))), close: () => cache.close() }
}

const readers = {
  'lru-cache': async ({ spec }) => {
    const cache = await lru({}, spec)
    return { run: awaited((key) => cache.get(key)) }
  },
  'lru-cache with ttl': async ({ spec }) => {
    const cache = await lru({ ttl: TTL_MS }, spec)
    return { run: awaited((key) => cache.get(key)) }
  },
  'lru-cache fetch': async ({ spec }) => {
    const cache = await lru({ ttl: TTL_MS, fetchMethod: unexpected }, spec)
    return { run: awaited((key) => cache.fetch(key)) }
  },
  thermocline: ({ spec }) => thermoclineHits(spec, { policies: POLICIES }),
  'thermocline, default policy': ({ spec }) => thermoclineHits(spec),
  'thermocline, memory above disk': async ({ spec, dir }) => {
    const { FileSystemBackend } = await import('@thermocline/fs')
    const basePath = await mkdtemp(path.join(dir, 'warm-'))
    return thermoclineHits(spec, { policies: POLICIES, tiers: { warm: { backend: new FileSystemBackend({ basePath }) } } })
  },
  'thermocline, tenant() each time': async ({ spec }) => {
    const { cache } = await thermocline(spec, { policies: POLICIES })
    return { run: awaited((key) => cache.tenant('acme').getOrCompute(key, () => unexpected(key))), close: () => cache.close() }
  },
  'thermocline get': async ({ spec }) => {
    const { cache, acme } = await thermocline(spec, { policies: POLICIES })
    return { run: awaited((key) => acme.get(key)), close: () => cache.close() }
  },
  'layered-loader': async ({ spec }) => {
    const loader = await layeredLoader(spec)
    return { run: awaited((key) => loader.get(key)) }
  },
  'async-cache-dedupe': async ({ spec }) => {
    const { createCache } = await import('async-cache-dedupe')
    const cache = createCache({ ttl: TTL_MS / 1000, storage: { type: 'memory', options: { size: 10_000 } } })
    cache.define('read', (key) => Promise.resolve(spec.value(KEYS.indexOf(key))))
    for (const key of KEYS) await cache.read(key)
    return { run: awaited((key) => cache.read(key)) }
  },
  bentocache: async ({ spec }) => {
    const bento = await bentocache(spec)
    return { run: awaited((key) => bento.getOrSet({ key, ttl: '1h', factory: () => unexpected(key) })), batch: 200 }
  },
  cacheable: async ({ spec }) => {
    const { Cacheable } = await import('cacheable')
    const cache = new Cacheable({ ttl: '1h' })
    for (const [n, key] of KEYS.entries()) await cache.set(key, spec.value(n))
    return { run: awaited((key) => cache.getOrSet(key, () => unexpected(key), { ttl: '1h' })), batch: 200 }
  },
  keyv: async ({ spec }) => {
    const { default: Keyv } = await import('keyv')
    const cache = new Keyv({ ttl: TTL_MS })
    for (const [n, key] of KEYS.entries()) await cache.set(key, spec.value(n))
    return { run: awaited((key) => cache.get(key)), batch: 200 }
  },
}

async function layeredLoader(spec) {
  const { Loader } = await import('layered-loader')
  const loader = new Loader({
    inMemoryCache: { cacheType: 'lru-object', ttlInMsecs: TTL_MS, maxItems: 10_000 },
    dataSources: [{ name: 'values', get: (key) => Promise.resolve(spec.value(KEYS.indexOf(key))) }],
  })
  for (const key of KEYS) await loader.get(key)
  return loader
}

async function bentocache(spec) {
  const { BentoCache, bentostore } = await import('bentocache')
  const { memoryDriver } = await import('bentocache/drivers/memory')
  const bento = new BentoCache({ default: 'hot', stores: { hot: bentostore().useL1Layer(memoryDriver({ maxItems: 10_000 })) } })
  for (const [n, key] of KEYS.entries()) await bento.set({ key, value: spec.value(n), ttl: '1h' })
  return bento
}

/** A real SDK that collects every second; the figures go nowhere. */
async function withMetricsSdk() {
  const { metrics } = await import('@opentelemetry/api')
  const { InMemoryMetricExporter, MeterProvider, PeriodicExportingMetricReader, AggregationTemporality } = await import('@opentelemetry/sdk-metrics')
  const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE)
  const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 1000 })
  metrics.setGlobalMeterProvider(new MeterProvider({ readers: [reader] }))
  return { meter: metrics.getMeter('bench'), exported: () => reader.forceFlush().then(() => exporter.getMetrics()) }
}

function underSdk(contender) {
  return async (context) => {
    await withMetricsSdk()
    return contender(context)
  }
}

const metered = {
  'lru-cache': readers['lru-cache'],
  'lru-cache and counter.add': async ({ spec }) => {
    const { meter } = await withMetricsSdk()
    const hits = meter.createCounter('cache.hits')
    const cache = await lru({}, spec)
    const attributes = { tier: 'hot', policy: 'embeddings' }
    return {
      run: awaited((key) => {
        const value = cache.get(key)
        if (value !== undefined) hits.add(1, attributes)
        return value
      }),
    }
  },
  thermocline: async ({ spec }) => {
    const { exported } = await withMetricsSdk()
    const running = await thermoclineHits(spec, { policies: POLICIES })
    return {
      ...running,
      close: async () => {
        const names = (await exported()).flatMap(({ scopeMetrics }) => scopeMetrics.flatMap((scope) => scope.metrics.map((metric) => metric.descriptor.name)))
        if (!names.includes('cache.hits')) throw new Error('the SDK exported no cache.hits: nothing was measured')
        await running.close()
      },
    }
  },
  'thermocline, default policy': underSdk(readers['thermocline, default policy']),
  'thermocline, memory above disk': underSdk(readers['thermocline, memory above disk']),
  'bentocache and counter.add': async ({ spec }) => {
    const { meter } = await withMetricsSdk()
    const hits = meter.createCounter('cache.hits')
    const attributes = { tier: 'hot', policy: 'embeddings' }
    const bento = await bentocache(spec)
    bento.on('cache:hit', () => hits.add(1, attributes))
    return { run: awaited((key) => bento.getOrSet({ key, ttl: '1h', factory: () => unexpected(key) })), batch: 200 }
  },
}

const peekers = {
  'lru-cache': async ({ spec }) => {
    const cache = await lru({}, spec)
    return { run: direct((key) => cache.get(key)) }
  },
  'lru-cache with ttl': async ({ spec }) => {
    const cache = await lru({ ttl: TTL_MS }, spec)
    return { run: direct((key) => cache.get(key)) }
  },
  thermocline: async ({ spec }) => {
    const { cache, acme } = await thermocline(spec, { policies: POLICIES })
    return { run: direct((key) => acme.peek(key)), close: () => cache.close() }
  },
  'thermocline, default policy': async ({ spec }) => {
    const { cache, acme } = await thermocline(spec)
    return { run: direct((key) => acme.peek(key)), close: () => cache.close() }
  },
  'layered-loader': async ({ spec }) => {
    const loader = await layeredLoader(spec)
    return { run: direct((key) => loader.getInMemoryOnly(key)) }
  },
}

function without(contenders, ...names) {
  return Object.fromEntries(Object.entries(contenders).filter(([name]) => !names.includes(name)))
}

function hotCase(name, title, size, contenders, { atLeast, stretch, peer, ...rest }) {
  return {
    name,
    title: `${title}, ${size}`,
    kind: 'rate',
    baseline: 'lru-cache',
    sliceMs: 150,
    value: VALUES[size],
    contenders,
    bars: [{ what: `${title}, ${size}`, of: 'thermocline', number: 'ratio', atLeast, stretch, peer }],
    ...rest,
  }
}

const AWAITED = { atLeast: 0.85, stretch: 1.1, peer: 'layered-loader', against: 'an awaited lru-cache get' }
const METERED = { atLeast: 0.6, stretch: 0.8, peer: 'bentocache and counter.add', against: 'an awaited lru-cache get, no SDK' }
const PEEKED = { atLeast: 0.6, stretch: 0.9, peer: 'layered-loader', against: 'lru-cache get' }

export const hotCases = [
  hotCase('hot-100b', 'hit in memory through getOrCompute', '100 B', readers, AWAITED),
  hotCase('hot-10kb', 'hit in memory through getOrCompute', '10 KB', without(readers, 'lru-cache fetch', 'thermocline get', 'async-cache-dedupe'), AWAITED),
  hotCase('hot-metrics-100b', 'the same with the metrics SDK on', '100 B', metered, METERED),
  hotCase('hot-metrics-10kb', 'the same with the metrics SDK on', '10 KB', metered, METERED),
  hotCase('peek-100b', 'synchronous peek', '100 B', peekers, PEEKED),
  hotCase('peek-10kb', 'synchronous peek', '10 KB', peekers, PEEKED),
]
