/*
 * The caches of the outage tables, memory above Redis where they have a memory layer. Each one as its documentation sets it up, and beside it
 * with the remedies that its own documentation or that of its Redis client names.
 */
const TTL_MS = 3_600_000

async function thermocline(tiersOf) {
  const { TieredCacheManager } = await import('@thermocline/core')
  const { MemoryBackend } = await import('@thermocline/memory')
  const { RedisBackend } = await import('@thermocline/redis')
  const cache = new TieredCacheManager({ coordination: false, tiers: tiersOf(MemoryBackend, RedisBackend), logger: false })
  const acme = cache.tenant('acme')
  return {
    getOrCompute: (key, compute) => acme.getOrCompute(key, compute),
    get: (key) => acme.get(key),
    set: (key, value) => acme.set(key, value),
    delete: (key) => acme.delete(key),
  }
}

async function bentocache({ host, port }, connection = {}, options = {}) {
  const { BentoCache, bentostore } = await import('bentocache')
  const { memoryDriver } = await import('bentocache/drivers/memory')
  const { redisDriver } = await import('bentocache/drivers/redis')
  const store = bentostore()
    .useL1Layer(memoryDriver())
    .useL2Layer(redisDriver({ connection: { host, port, ...connection } }))
  const bento = new BentoCache({ default: 'both', ttl: '1h', stores: { both: store }, ...options })
  return {
    getOrCompute: (key, factory) => bento.getOrSet({ key, factory }),
    get: (key) => bento.get({ key }),
    set: (key, value) => bento.set({ key, value }),
    delete: (key) => bento.delete({ key }),
  }
}

async function layeredLoader({ host, port }, connection = {}) {
  const { Redis } = await import('ioredis')
  const { Loader, RedisCache } = await import('layered-loader')
  const client = new Redis({ host, port, ...connection })
  client.on('error', () => undefined)
  const computes = new Map()
  const loader = new Loader({
    inMemoryCache: { cacheType: 'lru-object', ttlInMsecs: TTL_MS, maxItems: 10_000 },
    asyncCache: new RedisCache(client, { json: true, ttlInMsecs: TTL_MS }),
    dataSources: [{ name: 'values', get: async (key) => computes.get(key)?.() }],
  })
  return {
    getOrCompute(key, compute) {
      computes.set(key, compute)
      return loader.get(key)
    },
    get: (key) => loader.get(key),
    set: (key, value) => loader.forceSetValue(key, value),
    delete: (key) => loader.invalidateCacheFor(key),
  }
}

async function cacheable(secondary, options = {}) {
  const { Cacheable } = await import('cacheable')
  const cache = new Cacheable({ secondary, ttl: '1h', ...options })
  cache.on('error', () => undefined)
  return {
    getOrCompute: (key, compute) => cache.getOrSet(key, compute),
    get: (key) => cache.get(key),
    set: (key, value) => cache.set(key, value),
    delete: (key) => cache.delete(key),
  }
}

function keyv(cache) {
  cache.on('error', () => undefined)
  return {
    async getOrCompute(key, compute) {
      let value = await cache.get(key)
      if (value === undefined) {
        value = await compute()
        await cache.set(key, value, TTL_MS)
      }
      return value
    },
    get: (key) => cache.get(key),
    set: (key, value) => cache.set(key, value, TTL_MS),
    delete: (key) => cache.delete(key),
  }
}

const urlOf = ({ host, port }) => `redis://${host}:${port}`
/** ioredis' own: fail instead of queueing, and give up on an answer. */
const FAIL_FAST = { commandTimeout: 250, connectTimeout: 250, enableOfflineQueue: false, maxRetriesPerRequest: 0 }

/** `with`: what was set beyond the defaults. */
export const contenders = {
  thermocline: { with: 'defaults', open: (at) => thermocline((MemoryBackend, RedisBackend) => ({ hot: { backend: new MemoryBackend() }, shared: { backend: new RedisBackend({ url: urlOf(at) }) } })) },
  'thermocline without Redis': { with: 'memory alone, for comparison', only: 'never started', open: () => thermocline((MemoryBackend) => ({ hot: { backend: new MemoryBackend() } })) },
  bentocache: { with: 'defaults', open: (at) => bentocache(at) },
  'bentocache, remedied': {
    with: '`l2CircuitBreakerDuration: 2s`; ioredis with `commandTimeout` and `connectTimeout` 250 ms, `enableOfflineQueue: false`, `maxRetriesPerRequest: 0`',
    open: (at) => bentocache(at, FAIL_FAST, { l2CircuitBreakerDuration: '2s' }),
  },
  'layered-loader': { with: 'defaults', open: (at) => layeredLoader(at) },
  'layered-loader, remedied': { with: 'ioredis with `commandTimeout` and `connectTimeout` 250 ms, `enableOfflineQueue: false`, `maxRetriesPerRequest: 0`', open: (at) => layeredLoader(at, FAIL_FAST) },
  cacheable: {
    with: '`createKeyv(url)` of @keyv/redis as secondary, defaults',
    async open(at) {
      const { createKeyv } = await import('@keyv/redis')
      return cacheable(createKeyv(urlOf(at)))
    },
  },
  'cacheable, remedied': {
    with: '`createKeyvNonBlocking(url)` as secondary and `nonBlocking: true`',
    async open(at) {
      const { createKeyvNonBlocking } = await import('@keyv/redis')
      return cacheable(createKeyvNonBlocking(urlOf(at)), { nonBlocking: true })
    },
  },
  keyv: {
    with: '`createKeyv(url)` of @keyv/redis, defaults; it has no memory layer',
    async open(at) {
      const { createKeyv } = await import('@keyv/redis')
      return keyv(createKeyv(urlOf(at)))
    },
  },
  'keyv, remedied': {
    with: '`connectionTimeout: 250`, `throwOnConnectError: false`; node-redis with `disableOfflineQueue: true`, `commandOptions: { timeout: 250 }`; no memory layer',
    async open(at) {
      const { createClient, createKeyv } = await import('@keyv/redis')
      const client = createClient({ url: urlOf(at), disableOfflineQueue: true, commandOptions: { timeout: 250 }, socket: { connectTimeout: 250 } })
      return keyv(createKeyv(client, { connectionTimeout: 250, throwOnConnectError: false }))
    },
  },
}
