/*
 * One of several processes over one Redis, or over one directory, told what to do by messages:
 *
 *   fork('coordinated-peer.mjs', [JSON.stringify({ redis: { url, keyPrefix }, coordination })])
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { TieredCacheManager } from '@thermocline/core'
import { FileSystemBackend } from '@thermocline/fs'
import { MemoryBackend } from '@thermocline/memory'
import { RedisBackend } from '@thermocline/redis'

const { redis, fs, coordination } = JSON.parse(process.argv[2])
const shared = fs === undefined ? new RedisBackend(redis) : new FileSystemBackend(fs)
const cache = new TieredCacheManager({ tiers: { near: { backend: new MemoryBackend(), maxTtl: null }, shared: { backend: shared } }, coordination, logger: false })
const acme = cache.tenant('acme')
let computes = 0

const verbs = {
  async ready() {
    while (coordination !== false && (await cache.health()).coordination.status !== 'connected') await sleep(5)
  },
  /** Many callers of a cold key, from an instant on that all processes know. */
  async stampede({ key, callers, ms, at }) {
    computes = 0
    let tookMs = 0
    const compute = async () => {
      computes++
      const startedAt = performance.now()
      await sleep(ms)
      tookMs = performance.now() - startedAt
      return { key }
    }
    while (Date.now() < at - 5) await sleep(1)
    while (Date.now() < at);
    const startedAt = performance.now()
    await Promise.all(Array.from({ length: callers }, () => acme.getOrCompute(key, compute)))
    return { ms: performance.now() - startedAt, tookMs, computes }
  },
  /** Has the key in memory, and tells when it has it no more. */
  async watch({ key }) {
    await acme.getOrCompute(key, () => 'v')
    process.send({ holds: key })
    while (acme.peek(key) !== undefined) await new Promise(setImmediate)
    return process.hrtime.bigint().toString()
  },
  async delete({ key }) {
    await acme.delete(key)
    return process.hrtime.bigint().toString()
  },
  async close() {
    await cache.close()
    process.disconnect()
  },
}
process.on('message', async ({ id, verb, ...given }) => {
  const answer = await verbs[verb](given)
  if (process.connected) process.send({ id, answer })
})
