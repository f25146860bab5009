/*
 * One process of `bench/process-peers.mjs`: a cache, memory above Redis, that hears of others as its documentation sets it up. It is told what to do by messages.
 */
import { setTimeout as pause } from 'node:timers/promises'

const TTL_MS = 3_600_000
const [name, port] = process.argv.slice(2)
const at = { host: '127.0.0.1', port: Number(port) }
const url = `redis://${at.host}:${at.port}`

const contenders = {
  async thermocline() {
    const { TieredCacheManager } = await import('@thermocline/core')
    const { MemoryBackend } = await import('@thermocline/memory')
    const { RedisBackend } = await import('@thermocline/redis')
    const cache = new TieredCacheManager({ tiers: { hot: { backend: new MemoryBackend() }, shared: { backend: new RedisBackend({ url }) } }, logger: false })
    while ((await cache.health()).coordination.status !== 'connected') await pause(5)
    const acme = cache.tenant('acme')
    return { getOrCompute: (key, compute) => acme.getOrCompute(key, compute), get: (key) => acme.get(key), set: (key, value) => acme.set(key, value), delete: (key) => acme.delete(key) }
  },
  async bentocache() {
    const { BentoCache, bentostore } = await import('bentocache')
    const { memoryDriver } = await import('bentocache/drivers/memory')
    const { redisDriver, redisBusDriver } = await import('bentocache/drivers/redis')
    const store = bentostore().useL1Layer(memoryDriver()).useL2Layer(redisDriver({ connection: at })).useBus(redisBusDriver({ connection: at }))
    const bento = new BentoCache({ default: 'both', ttl: '1h', stores: { both: store } })
    return { getOrCompute: (key, factory) => bento.getOrSet({ key, factory }), get: (key) => bento.get({ key }), set: (key, value) => bento.set({ key, value }), delete: (key) => bento.delete({ key }) }
  },
  async 'layered-loader'() {
    const { Redis } = await import('ioredis')
    const { Loader, RedisCache, createNotificationPair } = await import('layered-loader')
    const connect = () => {
      const client = new Redis(at)
      client.on('error', () => undefined)
      return client
    }
    const { publisher, consumer } = createNotificationPair({ channel: 'changes', publisherRedis: connect(), consumerRedis: connect() })
    const computes = new Map()
    const loader = new Loader({
      inMemoryCache: { cacheType: 'lru-object', ttlInMsecs: TTL_MS, maxItems: 10_000 },
      asyncCache: new RedisCache(connect(), { json: true, ttlInMsecs: TTL_MS }),
      notificationPublisher: publisher,
      notificationConsumer: consumer,
      dataSources: [{ name: 'values', get: async (key) => computes.get(key)?.() }],
    })
    await loader.init()
    return {
      getOrCompute(key, compute) {
        computes.set(key, compute)
        return loader.get(key).finally(() => computes.delete(key))
      },
      get: (key) => loader.get(key),
      set: (key, value) => loader.forceSetValue(key, value),
      delete: (key) => loader.invalidateCacheFor(key),
    }
  },
  async cacheable() {
    const { Cacheable } = await import('cacheable')
    const { createKeyv } = await import('@keyv/redis')
    const cache = new Cacheable({ secondary: createKeyv(url), ttl: '1h' })
    cache.on('error', () => undefined)
    return { getOrCompute: (key, compute) => cache.getOrSet(key, compute), get: (key) => cache.get(key), set: (key, value) => cache.set(key, value), delete: (key) => cache.delete(key) }
  },
}

process.on('unhandledRejection', () => undefined) // a peer's own, while it is cut off
const cache = await contenders[name]()
let computes = 0

const verbs = {
  ready: () => true,
  get: ({ key }) => cache.get(key),
  set: ({ key, value }) => cache.set(key, value).then(() => true),
  delete: ({ key }) => cache.delete(key).then(() => true),
  compute: ({ key, ms, value }) => cache.getOrCompute(key, () => pause(ms, value)),
  async stampede({ key, callers, ms, at: when }) {
    await pause(Math.max(0, when - Date.now()))
    computes = 0
    const values = await Promise.all(Array.from({ length: callers }, () => cache.getOrCompute(key, () => (computes++, pause(ms, process.pid)))))
    return { computes, values: [...new Set(values)] }
  },
  /** When the old value was served last, by the clock of the machine. */
  async watch({ key, old, forMs }) {
    let last = 0
    for (const until = Date.now() + forMs; Date.now() < until; await pause(1)) if ((await cache.get(key)) === old) last = Date.now()
    return last
  },
  end: () => process.exit(0),
}
process.on('message', ({ id, verb, ...given }) => {
  Promise.resolve(verbs[verb](given)).then((answer) => process.send({ id, answer }), (error) => process.send({ id, error: String(error) }))
})
