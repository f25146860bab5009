/*
 * The caches of the Redis cases behind one set of names, each set up as its own documentation does: a memory layer above Redis where it has
 * one. `newMemory` empties that layer, so that the next read has to find Redis; it runs outside the measured time.
 */
const TTL_MS = 3_600_000
/** More than a batch, so that nothing is evicted in it. */
const MEMORY_ITEMS = 50_000

function missed() {
  throw new Error('a hit was expected')
}

const urlOf = ({ host, port, db }) => `redis://${host}:${port}/${db}`
const policies = { embeddings: { ttl: '7d' }, frames: { ttl: '1d' } }

export async function ioredis({ redis }) {
  const { Redis } = await import('ioredis-6')
  const client = new Redis({ host: redis.host, port: redis.port, db: redis.db })
  const set = (key, value) => client.set(key, JSON.stringify(value), 'PX', TTL_MS)
  return {
    client,
    set,
    read: async (key) => JSON.parse(await client.get(key)),
    compute: async (key, make) => set(key, await make()),
    readMany: async (keys) => (await client.mget(keys)).map((text) => JSON.parse(text)).length,
    setBytes: (key, bytes) => client.set(key, bytes, 'PX', TTL_MS),
    readBytes: (key) => client.getBuffer(key),
    async clear(prefix) {
      let cursor = '0'
      do {
        const [next, names] = await client.scan(cursor, 'MATCH', `${prefix}*`, 'COUNT', 1000)
        if (names.length > 0) await client.unlink(names)
        cursor = next
      } while (cursor !== '0')
    },
  }
}

async function thermoclineWith({ redis }, { memory }) {
  const { TenantScope } = await import('@thermocline/backend')
  const { TieredCacheManager } = await import('@thermocline/core')
  const { MemoryBackend } = await import('@thermocline/memory')
  const { RedisBackend } = await import('@thermocline/redis')
  const hot = new MemoryBackend()
  const shared = new RedisBackend({ url: urlOf(redis) })
  const cache = new TieredCacheManager({ coordination: false, tiers: { ...(memory ? { hot: { backend: hot } } : {}), shared: { backend: shared } }, policies })
  const acme = cache.tenant('acme')
  const scope = new TenantScope('acme')
  return {
    set: (key, value) => acme.set(key, value),
    read: (key) => acme.getOrCompute(key, missed),
    compute: (key, make) => acme.getOrCompute(key, make),
    readMany: async (keys) => (await acme.getMany(keys)).size,
    setBytes: (key, bytes) => acme.set(key, bytes),
    readBytes: (key) => acme.get(key),
    clear: (prefix) => acme.clear(prefix),
    newMemory: memory ? () => hot.clear(scope, '') : undefined, // as if all had been evicted; the cache itself would clear Redis too
    close: () => cache.close(),
  }
}

export const thermocline = (context) => thermoclineWith(context, { memory: true })
export const thermoclineAlone = (context) => thermoclineWith(context, { memory: false })

/** As in its README. `json: false` is for text; what it makes of bytes is part of the case. */
export async function layeredLoader({ redis, namespace = 'layered-cache' }) {
  const { Redis } = await import('ioredis')
  const { Loader, RedisCache } = await import('layered-loader')
  const client = new Redis({ host: redis.host, port: redis.port, db: redis.db })
  let make = missed
  const open = (json) =>
    new Loader({
      inMemoryCache: { cacheType: 'lru-object', ttlInMsecs: TTL_MS, maxItems: MEMORY_ITEMS },
      asyncCache: new RedisCache(client, { json, prefix: namespace, ttlInMsecs: TTL_MS }),
      dataSources: [{ name: 'values', get: (key) => make(key), getMany: missed }],
      cacheKeyFromValueResolver: (value) => value.id,
    })
  let loader = open(true)
  const bytes = open(false)
  return {
    set: (key, value) => loader.forceSetValue(key, value),
    read: (key) => loader.get(key),
    compute(key, compute) {
      make = compute // of one kind in a case
      return loader.get(key)
    },
    readMany: async (keys) => (await loader.getMany(keys)).length,
    setBytes: (key, value) => bytes.forceSetValue(key, value),
    readBytes: (key) => bytes.getAsyncOnly(key),
    clear: () => loader.invalidateCache(),
    newMemory() {
      loader = open(true)
    },
  }
}

export async function bentocache({ redis }) {
  const { Redis } = await import('ioredis')
  const { BentoCache, bentostore } = await import('bentocache')
  const { memoryDriver } = await import('bentocache/drivers/memory')
  const { redisDriver } = await import('bentocache/drivers/redis')
  const connection = new Redis({ host: redis.host, port: redis.port, db: redis.db })
  const open = () =>
    new BentoCache({ default: 'both', ttl: '1h', stores: { both: bentostore().useL1Layer(memoryDriver({ maxItems: MEMORY_ITEMS })).useL2Layer(redisDriver({ connection })) } })
  let bento = open()
  return {
    set: (key, value) => bento.set({ key, value }),
    read: (key) => bento.getOrSet({ key, factory: missed }),
    compute: (key, make) => bento.getOrSet({ key, factory: make }),
    setBytes: (key, value) => bento.set({ key, value }),
    readBytes: (key) => bento.get({ key }),
    setIn: (namespace, key, value) => bento.namespace(namespace).set({ key, value }),
    clear: (namespace) => bento.namespace(namespace).clear(),
    newMemory() {
      bento = open()
    },
  }
}

export async function cacheable({ redis, namespace }) {
  const { Cacheable } = await import('cacheable')
  const { createKeyv } = await import('@keyv/redis')
  const cache = new Cacheable({ secondary: createKeyv(urlOf(redis), { namespace }), ttl: '1h' })
  cache.on('error', (error) => console.error(`cacheable: ${error.message}`))
  return {
    set: (key, value) => cache.set(key, value),
    read: (key) => cache.getOrSet(key, missed),
    compute: (key, make) => cache.getOrSet(key, make),
    readMany: async (keys) => (await cache.getMany(keys)).filter((value) => value !== undefined).length,
    setBytes: (key, value) => cache.set(key, value),
    readBytes: (key) => cache.get(key),
    clear: () => cache.clear(),
    newMemory: () => cache.primary.clear(),
  }
}

/** It has no layers: Redis alone. */
export async function keyv({ redis, namespace }) {
  const { createKeyv } = await import('@keyv/redis')
  const cache = createKeyv(urlOf(redis), { namespace })
  cache.on('error', (error) => console.error(`keyv: ${error.message}`))
  return {
    set: (key, value) => cache.set(key, value, TTL_MS),
    async read(key) {
      const value = await cache.get(key)
      return value === undefined ? missed() : value
    },
    async compute(key, make) {
      let value = await cache.get(key)
      if (value === undefined) {
        value = await make()
        await cache.set(key, value, TTL_MS)
      }
      return value
    },
    readMany: async (keys) => (await cache.getMany(keys)).filter((value) => value !== undefined).length,
    setBytes: (key, value) => cache.set(key, value, TTL_MS),
    readBytes: (key) => cache.get(key),
    clear: () => cache.clear(),
  }
}

/** It has no layers: Redis alone. */
export async function unstorage({ redis, namespace }) {
  const { createStorage } = await import('unstorage')
  const { default: redisDriver } = await import('unstorage/drivers/redis')
  const storage = createStorage({ driver: redisDriver({ host: redis.host, port: redis.port, db: redis.db, base: namespace, ttl: TTL_MS / 1000 }) })
  return {
    set: (key, value) => storage.setItem(key, value),
    read: async (key) => (await storage.getItem(key)) ?? missed(),
    async compute(key, make) {
      let value = await storage.getItem(key)
      if (value === null) {
        value = await make()
        await storage.setItem(key, value)
      }
      return value
    },
    readMany: async (keys) => (await storage.getItems(keys)).filter(({ value }) => value !== null).length,
    setBytes: (key, value) => storage.setItemRaw(key, value),
    readBytes: (key) => storage.getItemRaw(key),
    clear: () => storage.clear(),
  }
}
