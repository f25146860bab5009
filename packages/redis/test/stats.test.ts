import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { TieredCacheManager } from '@thermocline/core'
import { RedisBackend, type RedisStats } from '@thermocline/redis'
import { afterwards } from '../../../test/support/afterwards.js'
import { describeRedis, startCluster, startRedis, type RedisServer } from '../../../test/support/redis/index.js'
import { scopeOf, Shelf } from './support/shelf.js'
import { freshPrefix } from './support/stage.js'

describeRedis('stats', () => {
  let server: RedisServer
  beforeAll(async () => void (server = await startRedis({ maxmemory: '64mb', maxmemoryPolicy: 'allkeys-lru' })))
  afterAll(() => server.stop())

  test('tell what the server says of itself', async () => {
    await server.command('CONFIG', 'RESETSTAT')
    const shelf = new Shelf({ url: server.url })
    await shelf.put('k', 'value')
    for (const key of ['k', 'k', 'k', 'nothing']) await shelf.get(key)
    const { server: said } = await shelf.backend.stats()
    expect(said).toMatchObject({ maxMemoryBytes: 64 * 1024 ** 2, evictionPolicy: 'allkeys-lru', keyspaceHits: 3, keyspaceMisses: 1, hitRate: 0.75, evictedKeys: 0 })
    expect(said?.usedMemoryBytes).toBeGreaterThan(100_000)
    expect(said?.connectedClients).toBeGreaterThanOrEqual(1)
  })

  test('of one tenant say nothing that would need a scan', async () => {
    const shelf = new Shelf({ url: server.url })
    await shelf.put('k', 'value')
    expect(await shelf.backend.stats(scopeOf('acme'))).toEqual({})
  })

  test('are part of the manager’s', async () => {
    const cache = new TieredCacheManager({ tiers: { hot: { backend: new RedisBackend({ url: server.url, keyPrefix: freshPrefix() }) } }, logger: false })
    afterwards(() => cache.close())
    await cache.tenant('acme').set('k', 1)
    const { hot } = (await cache.stats()).tiers
    expect(hot).toMatchObject({ backend: 'redis', state: 'ok' })
    expect((hot as RedisStats).server?.usedMemoryBytes).toBeGreaterThan(100_000)
    expect((await cache.tenant('acme').stats()).tiers.hot).not.toHaveProperty('server')
  })

  test('sum up a cluster', async () => {
    const cluster = await startCluster({ config: ['maxmemory 32mb'] })
    afterwards(() => cluster.stop())
    const shelf = new Shelf({ cluster: cluster.addresses })
    await Promise.all(Array.from({ length: 30 }, (_, i) => shelf.put(`k${i}`, 'value')))
    await Promise.all(Array.from({ length: 60 }, (_, i) => shelf.get(`k${i}`)))
    expect((await shelf.backend.stats()).server).toMatchObject({ maxMemoryBytes: 96 * 1024 ** 2, evictionPolicy: 'noeviction', keyspaceMisses: 30 })
    await cluster.nodes[0]!.command('CONFIG', 'SET', 'maxmemory-policy', 'allkeys-lru')
    expect((await shelf.backend.stats()).server?.evictionPolicy).toBe('mixed')
  }, 30_000)
})
