/*
 * One of several processes that share a server. It does what it is told by messages, and answers each. It runs the built packages.
 *
 *   fork('peer.mjs', [JSON.stringify({ redis: { url }, coordination: 'auto' })])
 */
import { TieredCacheManager } from '@thermocline/core'
import { MemoryBackend } from '@thermocline/memory'
import { RedisBackend } from '@thermocline/redis'

const { redis, coordination } = JSON.parse(process.argv[2])
const cache = new TieredCacheManager({ tiers: { near: { backend: new MemoryBackend() }, hot: { backend: new RedisBackend(redis) } }, coordination, defaultTtl: '1d', logger: false })
const acme = cache.tenant('acme')
let computes = 0

const verbs = {
  get: ({ key }) => acme.get(key),
  peek: ({ key }) => acme.peek(key),
  set: ({ key, value }) => acme.set(key, value),
  delete: ({ key }) => acme.delete(key),
  computes: () => computes,
  health: () => cache.health(),
  /** Callers of one key; the compute takes a while, in which the event loop is free or not. */
  async compute({ key, callers = 1, ms = 50, busy = false, value }) {
    const compute = async () => {
      computes++
      if (busy) for (const until = performance.now() + ms; performance.now() < until; );
      else await new Promise((resolve) => setTimeout(resolve, ms))
      return value ?? `${process.pid}`
    }
    const startedAt = performance.now()
    const values = await Promise.all(Array.from({ length: callers }, () => acme.getOrCompute(key, compute)))
    return { values: [...new Set(values)], ms: performance.now() - startedAt }
  },
  async close() {
    await cache.close()
    process.disconnect()
  },
}
process.on('message', async ({ id, verb, ...given }) => {
  try {
    const answer = await verbs[verb](given)
    if (process.connected) process.send({ id, answer })
  } catch (error) {
    process.send({ id, error: String(error) })
  }
})
process.send({ id: 0, answer: 'ready' })
