/*
 * One of several processes that share a server or a directory. It does what it is told by messages, and answers each. It runs the built packages.
 *
 *   fork('peer.mjs', [JSON.stringify({ redis: { url }, coordination: 'auto' })])
 */
import { TieredCacheManager } from '@thermocline/core'
import { FileSystemBackend } from '@thermocline/fs'
import { MemoryBackend } from '@thermocline/memory'
import { RedisBackend } from '@thermocline/redis'

const { redis, fs, coordination } = JSON.parse(process.argv[2])
const shared = redis === undefined ? new FileSystemBackend(fs) : new RedisBackend(redis)
const cache = new TieredCacheManager({ tiers: { near: { backend: new MemoryBackend() }, shared: { backend: shared } }, coordination, defaultTtl: '1d', logger: false })
const acme = cache.tenant('acme')
let computes = 0

const verbs = {
  get: ({ key }) => acme.get(key),
  peek: ({ key }) => acme.peek(key),
  set: ({ key, value }) => acme.set(key, value),
  delete: ({ key }) => acme.delete(key),
  computes: () => computes,
  health: () => cache.health(),
  /** Changes keys without end, and says what was answered. */
  async churn({ keys, name }) {
    for (let n = 0; ; n++) {
      const key = `churn ${Math.floor(Math.random() * keys)}`
      if (n % 3 === 0) await acme.delete(key)
      else if (n % 3 === 1) await acme.set(key, `${name} ${n}`)
      else await acme.getOrCompute(key, () => `${name} ${n}`)
    }
  },
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
