/*
 * Many callers ask for one key that nobody has, at once. A new key each time.
 */
import { addedByMany, countedCompute } from '../lib/stampede.mjs'

const CALLERS = 1000
const COMPUTE_MS = 50
const TTL_MS = 3_600_000
const value = (n) => ({ id: n, vector: Array.from({ length: 50 }, (_, at) => Math.sin(n + at)) })

let keys = 0

function stampede(makeRead) {
  const counted = countedCompute(COMPUTE_MS, () => value(keys))
  const read = makeRead(counted.compute)
  return {
    sample() {
      const key = `frames/cold/${++keys}`
      return addedByMany(CALLERS, counted, () => read(key))
    },
  }
}

async function thermocline(dir) {
  const { TieredCacheManager } = await import('@thermocline/core')
  const { MemoryBackend } = await import('@thermocline/memory')
  const { FileSystemBackend } = await import('@thermocline/fs')
  const tiers = { hot: { backend: new MemoryBackend() }, ...(dir === undefined ? {} : { warm: { backend: new FileSystemBackend({ basePath: dir }) } }) }
  const cache = new TieredCacheManager({ coordination: false, tiers, policies: { embeddings: { ttl: '7d' }, frames: { ttl: '1d' } } })
  const acme = cache.tenant('acme')
  return { ...stampede((compute) => (key) => acme.getOrCompute(key, compute)), close: () => cache.close() }
}

export const coldCases = [
  {
    name: 'cold-key',
    title: `${CALLERS.toLocaleString('en')} callers of one cold key, ${COMPUTE_MS} ms compute`,
    kind: 'sample',
    rounds: 50,
    warmUpSamples: 10,
    contenders: {
      thermocline: ({ dir }) => thermocline(dir),
      'thermocline, memory only': () => thermocline(),
      'lru-cache fetch': async () => {
        const { LRUCache } = await import('lru-cache')
        return stampede((compute) => {
          const cache = new LRUCache({ max: 10_000, ttl: TTL_MS, fetchMethod: compute })
          return (key) => cache.fetch(key)
        })
      },
      'layered-loader': async () => {
        const { Loader } = await import('layered-loader')
        return stampede((compute) => {
          const loader = new Loader({ inMemoryCache: { cacheType: 'lru-object', ttlInMsecs: TTL_MS, maxItems: 10_000 }, dataSources: [{ name: 'values', get: compute }] })
          return (key) => loader.get(key)
        })
      },
      'async-cache-dedupe': async () => {
        const { createCache } = await import('async-cache-dedupe')
        return stampede((compute) => {
          const cache = createCache({ ttl: TTL_MS / 1000, storage: { type: 'memory', options: { size: 10_000 } } })
          cache.define('read', compute)
          return (key) => cache.read(key)
        })
      },
      bentocache: async ({ dir }) => {
        const { BentoCache, bentostore } = await import('bentocache')
        const { memoryDriver } = await import('bentocache/drivers/memory')
        const { fileDriver } = await import('bentocache/drivers/file')
        const bento = new BentoCache({ default: 'both', stores: { both: bentostore().useL1Layer(memoryDriver({ maxItems: 10_000 })).useL2Layer(fileDriver({ directory: dir, pruneInterval: false })) } })
        return stampede((compute) => (key) => bento.getOrSet({ key: key.replaceAll('/', ':'), ttl: '1h', factory: compute }))
      },
      cacheable: async () => {
        const { Cacheable } = await import('cacheable')
        const cache = new Cacheable({ ttl: '1h' })
        return stampede((compute) => (key) => cache.getOrSet(key, compute, { ttl: '1h' }))
      },
    },
    columns: { addedMs: 'ms beyond the compute', computes: 'computes' },
    bars: [
      { what: '1,000 callers of one cold key: computes', of: 'thermocline', number: 'computes', atMost: 1, peer: 'layered-loader' },
      { what: '1,000 callers of one cold key: ms beyond the compute', of: 'thermocline', number: 'addedMs', atMost: 5, stretch: 2, peer: 'layered-loader' },
    ],
  },
]
