import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { RedisBackend, type RedisBackendOptions } from '@thermocline/redis'
import { TieredCacheManager, type TenantCache } from '@thermocline/core'
import { afterwards } from '../../../test/support/afterwards.js'
import { startProxy } from '../../../test/support/proxy.js'
import { describeRedis, describeTls, startCluster, startRedis, startSentinel, startTlsRedis, type RedisServer } from '../../../test/support/redis/index.js'
import { freshPrefix } from './support/stage.js'

const AWAY_MS = 160

/** A port behind which a server is so far away: each of its replies takes that long. */
async function farPort(port: number): Promise<number> {
  const proxy = await startProxy(port)
  afterwards(() => proxy.close())
  await proxy.delay(AWAY_MS)
  return proxy.port
}

interface Opened {
  readonly acme: TenantCache
  readonly problems: string[]
}

function opened(redis: RedisBackendOptions): Opened {
  const problems: string[] = []
  const cache = new TieredCacheManager({ tiers: { redis: { backend: new RedisBackend({ keyPrefix: freshPrefix(), ...redis }) } }, logger: false })
  cache.on('degraded', ({ error }) => problems.push(`degraded: ${error?.message}`))
  cache.on('error', ({ error }) => problems.push(error.message))
  afterwards(() => cache.close())
  return { acme: cache.tenant('acme'), problems }
}

/** The first set of a process, and the first read of another one, are done. */
async function firstOperations(redis: RedisBackendOptions): Promise<void> {
  const keyPrefix = freshPrefix()
  const writer = opened({ ...redis, keyPrefix })
  await writer.acme.set('k', 'value')
  const reader = opened({ ...redis, keyPrefix })
  const found = await reader.acme.get('k')
  const deleter = opened({ ...redis, keyPrefix })
  const removed = await deleter.acme.delete('k')
  const lister = opened({ ...redis, keyPrefix })
  for await (const _ of lister.acme.list()) continue
  expect([found, removed, writer.problems, reader.problems, deleter.problems, lister.problems]).toEqual(['value', true, [], [], [], []])
}

describeRedis('a server so far away that the handshake takes longer than the budget', () => {
  let server: RedisServer
  beforeAll(async () => void (server = await startRedis()))
  afterAll(() => server.stop())

  test('one server with password and database: the first operation of a process is done', async () => {
    await server.command('ACL', 'SETUSER', 'cache', 'on', '>hush', '~*', '+@all')
    await firstOperations({ host: '127.0.0.1', port: await farPort(server.port), username: 'cache', password: 'hush', db: 2 })
  }, 20_000)

  test('a group that sentinels watch', async () => {
    const group = await startSentinel()
    afterwards(() => group.stop())
    const sentinels = await Promise.all(group.addresses.map(async ({ port }) => ({ host: '127.0.0.1', port: await farPort(port) })))
    await firstOperations({ sentinel: { name: group.name, sentinels } })
  }, 60_000)

  test('a cluster', async () => {
    const cluster = await startCluster()
    afterwards(() => cluster.stop())
    const far = await farPort(cluster.nodes[0]!.port)
    await firstOperations({ cluster: [{ host: '127.0.0.1', port: far }] })
  }, 60_000)

  test('that sends what has no end instead of letting us in is left', async () => {
    const net = await import('node:net')
    const trickling = net.createServer((client) => {
      client.on('error', () => undefined)
      const timer = setInterval(() => client.write('+'.padEnd(5000, 'x')), 100)
      client.on('close', () => clearInterval(timer))
    })
    await new Promise<void>((resolve) => void trickling.listen(0, '127.0.0.1', resolve))
    afterwards(() => trickling.close())
    const { acme } = opened({ host: '127.0.0.1', port: (trickling.address() as { port: number }).port, password: 'hush' })
    const startedAt = performance.now()
    await acme.get('k')
    expect(performance.now() - startedAt).toBeLessThan(2800)
  })
})

describeTls('the same with TLS', () => {
  test.each(['TLSv1.2', 'TLSv1.3'] as const)('%s: the first operation of a process is done', async (version) => {
    const server = await startTlsRedis()
    afterwards(() => server.stop())
    const tls = { ca: server.ca, cert: server.cert, key: server.key, minVersion: version, maxVersion: version }
    await firstOperations({ host: '127.0.0.1', port: await farPort(server.port), ...server.app, tls, keyPrefix: 'tc:' })
  }, 40_000)
})
