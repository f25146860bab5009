import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { TieredCacheManager } from '@thermocline/core'
import { RedisBackend, type RedisBackendOptions } from '@thermocline/redis'
import { describeRedis, startCluster, startRedis, startSentinel, type RedisServer } from '../../../test/support/redis/index.js'
import { afterwards } from '../../../test/support/afterwards.js'
import { secretsIn } from '../../../test/support/secrets-in.js'
import { Shelf } from './support/shelf.js'

const SECRET = 'hunter2-is-secret'

/** Everything that a cache hands out while its server refuses it: errors, events, log lines, statistics, and what spans would have. */
async function handedOut(redis: RedisBackendOptions): Promise<unknown[]> {
  const out: unknown[] = []
  const keep = (...given: unknown[]): void => void out.push(given)
  const cache = new TieredCacheManager({
    tiers: { redis: { backend: new RedisBackend(redis) } },
    logger: { warn: keep, info: keep },
  })
  for (const event of ['error', 'degraded', 'recovered', 'miss'] as const) cache.on(event, keep)
  const acme = cache.tenant('acme')
  for (const call of [() => acme.set('k', 1), () => acme.get('k'), () => acme.delete('k', { confirmed: true, signal: AbortSignal.timeout(500) }), () => acme.clear(), () => cache.stats()]) {
    await call().then(keep, keep)
  }
  await cache.close().then(keep, keep)
  const shelf = new Shelf(redis)
  for (const call of [() => shelf.put('k', 'v'), () => shelf.get('k'), () => shelf.holds('k'), () => shelf.delete('k'), () => shelf.clear(), () => shelf.list(), () => Promise.resolve(shelf.backend.stats())]) {
    await call().then(keep, keep)
  }
  await shelf.close()
  out.push(shelf.reports)
  return out
}

describeRedis('a password that the server refuses', () => {
  let server: RedisServer
  beforeAll(async () => void (server = await startRedis()))
  afterAll(() => server.stop())

  const expectSilence = async (redis: RedisBackendOptions): Promise<void> => {
    const out = await handedOut(redis)
    expect(out.length).toBeGreaterThan(8)
    expect(JSON.stringify(out.map((one) => String(one)))).toMatch(/WRONGPASS|AUTH|NOAUTH|unavailable|redis/i)
    expect(secretsIn(out, [SECRET])).toEqual([])
  }

  test('stands in nothing that is handed out', async () => {
    await expectSilence({ host: '127.0.0.1', port: server.port, username: 'nobody', password: SECRET })
    await expectSilence({ url: `redis://nobody:${SECRET}@127.0.0.1:${server.port}/1` })
  })

  test('nor where AUTH has another name, and the server repeats what it does not know', async () => {
    const renamed = await startRedis({ config: ['rename-command AUTH ""'] })
    afterwards(() => renamed.stop())
    await expectSilence({ url: `redis://:${SECRET}@127.0.0.1:${renamed.port}` })
  })

  test('nor with sentinels, nor in a cluster', async () => {
    const [group, cluster] = await Promise.all([startSentinel(), startCluster()])
    afterwards(() => Promise.all([group.stop(), cluster.stop()]))
    await expectSilence({ sentinel: { name: group.name, sentinels: group.addresses, username: 'nobody', password: SECRET } })
    await expectSilence({ sentinel: { name: group.name, sentinels: group.addresses }, username: 'nobody', password: SECRET })
    await expectSilence({ cluster: cluster.addresses, username: 'nobody', password: SECRET })
  }, 40_000)

  test('nor in the error of an address that cannot be read', () => {
    for (const options of [{ url: `redis//:${SECRET}@host` }, { url: `http://a:${SECRET}@host` }, { url: `redis://a:${SECRET}%@host` }, { url: `redis://a:${SECRET}@host/x` }, { cluster: [`nonsense:${SECRET}@a`] }, { [`redis://:${SECRET}@host`]: true }]) {
      let error: unknown
      try {
        error = new RedisBackend(options)
      } catch (thrown) {
        error = thrown
      }
      expect(error).toBeInstanceOf(TypeError)
      expect(secretsIn(error, [SECRET])).toEqual([])
    }
  })
})
