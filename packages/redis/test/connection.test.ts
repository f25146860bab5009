import { performance } from 'node:perf_hooks'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import type { RedisBackendOptions } from '@thermocline/redis'
import { Cluster, Redis } from 'ioredis'
import { afterwards } from '../../../test/support/afterwards.js'
import { startProxy } from '../../../test/support/proxy.js'
import { Connection, describeRedis, describeTls, startCluster, startRedis, startTlsRedis, type RedisServer, type TlsRedisServer } from '../../../test/support/redis/index.js'
import { freePort } from '../../../test/support/servers/ports.js'
import { until } from '../../../test/support/servers/until.js'
import { Shelf } from './support/shelf.js'
import { pause, Stage } from './support/stage.js'

describeRedis('one server', () => {
  let server: RedisServer
  beforeAll(async () => void (server = await startRedis({ maxmemory: '64mb', maxmemoryPolicy: 'allkeys-lru' })))
  afterAll(() => server.stop())

  describe('a client of the user’s', () => {
    test('is used as it is and stays open', async () => {
      const client = new Redis(server.url)
      afterwards(() => client.disconnect())
      const shelf = new Shelf({ client })
      await shelf.put('k', 'value')
      await shelf.put('large', Buffer.alloc(300_000))
      expect(String(await shelf.get('k'))).toBe('value')
      const listeners = client.listenerCount('ready')
      await shelf.close()
      expect(client.status).toBe('ready')
      expect(client.listenerCount('ready')).toBe(listeners - 1)
      expect(await client.exists(shelf.nameOf('k'))).toBe(1)
    })

    test('connects when it has not yet, and serves two backends', async () => {
      const client = new Redis(server.url, { lazyConnect: true })
      afterwards(() => client.disconnect())
      const [one, other] = [new Shelf({ client }), new Shelf({ client })]
      await one.put('k', 'one')
      await other.put('k', 'other')
      await one.close()
      expect(String(await other.get('k'))).toBe('other')
    })

    test('that has ended, or cannot connect, costs nothing', async () => {
      const ended = new Redis(server.url)
      ended.disconnect()
      const lost = new Redis({ host: '127.0.0.1', port: await freePort() })
      lost.on('error', () => {})
      afterwards(() => lost.disconnect())
      await until('both have given up', () => ended.status === 'end' && lost.status === 'reconnecting')
      for (const client of [ended, lost]) {
        const stage = new Stage({ client }, 'redis')
        const { total } = await stage.inSequence(() => stage.durations.length < 20)
        expect(stage.problems).toEqual([])
        expect(total).toBeLessThan(600)
      }
    })
  })

  describe('a connection that does not come about', () => {
    const refused = async (): Promise<RedisBackendOptions> => ({ host: '127.0.0.1', port: await freePort() })

    test('is an error of each operation and of nothing else', async () => {
      const shelf = new Shelf(await refused())
      await expect(shelf.get('k')).rejects.toMatchObject({ code: 'unavailable', backend: 'redis', retryable: false })
      await expect(shelf.put('k', 'v')).rejects.toMatchObject({ code: 'unavailable' })
      await expect(shelf.delete('k')).rejects.toMatchObject({ code: 'unavailable' })
      await expect(shelf.clear()).rejects.toMatchObject({ code: 'unavailable' })
      await expect(shelf.list()).rejects.toMatchObject({ code: 'unavailable' })
      await expect(Promise.resolve(shelf.backend.stats())).rejects.toMatchObject({ code: 'unavailable' })
      await pause(300) // connections are tried and refused meanwhile
    })

    test('says why, without secrets', async () => {
      const { port } = server
      const shelf = new Shelf({ host: '127.0.0.1', port, username: 'nobody', password: 'hunter2' })
      const error: unknown = await shelf.get('k').catch((thrown: unknown) => thrown)
      expect(String(error)).toMatch(/no connection to redis: WRONGPASS .*check username and password/)
      expect(String(error)).not.toContain('hunter2')
    })

    test('is waited for no longer than pool.timeout', async () => {
      server.pause()
      afterwards(() => server.resume())
      const proxy = await startProxy(server.port)
      afterwards(() => proxy.close())
      const shelf = new Shelf({ host: '127.0.0.1', port: proxy.port, password: 'x', pool: { timeout: '50ms' } })
      const startedAt = performance.now()
      await expect(shelf.get('k')).rejects.toThrow(/not connected within 50 ms/)
      expect(performance.now() - startedAt).toBeLessThan(300)
    })

    test.each([undefined, 'a password that has to be checked'])('because the server stands still from the start, is there soon after it goes on; password: %s', async (password) => {
      const admin = await Connection.open({ port: server.port })
      if (password !== undefined) await admin.command('CONFIG', 'SET', 'requirepass', password)
      afterwards(async () => {
        await admin.command('CONFIG', 'SET', 'requirepass', '')
        admin.close()
      })
      server.pause()
      afterwards(() => server.resume())
      const stage = new Stage({ url: server.url, password }, 'redis')
      expect(await stage.timed(() => stage.read('key/0'))).toBeLessThan(500)
      await pause(2800)
      server.resume()
      await until('it is in use', () => stage.inUse(), { withinMs: 5000 })
      expect([stage.degraded.length, stage.recovered]).toEqual([1, 1])
    }, 20_000)

    test('because nothing goes through, is there soon after it does, also where what was sent is lost', async () => {
      const proxy = await startProxy(server.port)
      afterwards(() => proxy.close())
      await proxy.blackHole()
      const stage = new Stage({ host: '127.0.0.1', port: proxy.port, db: 1 }, 'redis')
      expect(await stage.timed(() => stage.read('key/0'))).toBeLessThan(500)
      await pause(500)
      proxy.reset()
      await proxy.pass()
      await until('it is in use', () => stage.inUse(), { withinMs: 5000 })
    }, 20_000)
  })

  test('a database of its own', async () => {
    const shelf = new Shelf({ url: `${server.url}/3` })
    await shelf.put('k', 'v')
    expect(String(await server.command('INFO', 'keyspace'))).toContain('db3:keys=1')
  })

  describe('closing', () => {
    test('ends at once, also with a server that has stopped, and what waits fails', async () => {
      const shelf = new Shelf({ url: server.url })
      await shelf.put('k', 'value')
      server.pause()
      afterwards(() => server.resume())
      const waiting = shelf.get('k').catch((error: unknown) => error)
      await pause(20)
      const startedAt = performance.now()
      await shelf.close()
      expect(await waiting).toMatchObject({ code: 'unavailable' })
      expect(performance.now() - startedAt).toBeLessThan(200)
    })

    test('ends the connections', async () => {
      const clients = async (): Promise<number> => Number(await server.info('clients', 'connected_clients'))
      const before = await clients()
      const shelf = new Shelf({ url: server.url })
      await shelf.put('large', Buffer.alloc(300_000))
      await shelf.get('k')
      expect(await clients()).toBe(before + 2)
      await shelf.close()
      await until('they are gone', async () => (await clients()) === before)
      await expect(shelf.get('k')).rejects.toMatchObject({ code: 'unavailable' })
    })
  })

  describe('the server’s settings', () => {
    test('that are as expected are not spoken of', async () => {
      const shelf = new Shelf({ url: server.url, maxMemory: 64 * 1024 ** 2, evictionPolicy: 'allkeys-lru' })
      await shelf.get('k')
      await pause(100)
      expect(shelf.reports).toEqual([])
    })

    test('that differ are reported once, and left as they are', async () => {
      const proxy = await startProxy(server.port)
      afterwards(() => proxy.close())
      const shelf = new Shelf({ host: '127.0.0.1', port: proxy.port, maxMemory: 1024, evictionPolicy: 'noeviction' })
      await until('they are reported', () => shelf.reports.length > 0)
      expect(shelf.reports.map(({ code, message }) => [code, message])).toEqual([
        ['misconfigured', expect.stringMatching(/maxmemory is 67108864 bytes and ought to be 1024 bytes; nothing was changed/)],
        ['misconfigured', expect.stringMatching(/maxmemory-policy is allkeys-lru and ought to be noeviction; nothing was changed/)],
      ])
      proxy.reset()
      await until('it is connected again', () => shelf.get('k').then(() => true))
      await pause(50)
      expect(shelf.reports).toHaveLength(2)
      expect(await server.command('CONFIG', 'GET', 'maxmemory-policy')).toEqual(['maxmemory-policy', 'allkeys-lru'])
    })
  })
})

describeTls('TLS and a user with few rights', () => {
  let server: TlsRedisServer
  beforeAll(async () => void (server = await startTlsRedis()), 20_000)
  afterAll(() => server.stop())
  const tls = (): object => ({ ca: server.ca, cert: server.cert, key: server.key })

  test('may not ask INFO: that is reported once, and everything else works', async () => {
    const shelf = new Shelf({ url: server.url, tls: tls(), maxMemory: 1024 })
    await shelf.put('k', 'value')
    expect(String(await shelf.get('k'))).toBe('value')
    await until('it is reported', () => shelf.reports.length > 0)
    expect(shelf.reports.map(({ code, message }) => [code, message])).toEqual([['misconfigured', expect.stringMatching(/this user may not ask INFO/)]])
    expect(await shelf.backend.stats()).toEqual({})
  })

  test('may not touch other keys: that is an error which says what is missing', async () => {
    const shelf = new Shelf({ url: server.url, tls: tls(), keyPrefix: 'other:' })
    for (const attempt of [shelf.get('k'), shelf.put('k', 'v'), shelf.delete('k')]) {
      await expect(attempt).rejects.toMatchObject({ code: 'access-denied', message: expect.stringMatching(/check the user's rights/) as unknown })
    }
  })

  test.each([
    ['without our authority', () => ({ cert: server.cert, key: server.key }), /certificate/],
    ['without a certificate of ours', () => ({ ca: server.ca }), /certificate|closed|ECONNRESET|socket/i],
  ])('%s there is no connection', async (_what, options, says) => {
    const shelf = new Shelf({ url: server.url, tls: options() })
    const error: unknown = await shelf.get('k').catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ code: 'unavailable' })
    expect(String(error)).toMatch(says)
  })

  test('large payloads go the same way', async () => {
    const shelf = new Shelf({ url: server.url, tls: tls() })
    const large = Buffer.alloc(3_000_000, 5)
    await shelf.put('large', large)
    expect((await shelf.get('large'))?.equals(large)).toBe(true)
  })
})

describeRedis('a cluster', () => {
  test('a client of the user’s stays open', async () => {
    const cluster = await startCluster()
    afterwards(() => cluster.stop())
    const client = new Cluster(cluster.addresses)
    afterwards(() => client.disconnect())
    const shelf = new Shelf({ client })
    await Promise.all(Array.from({ length: 50 }, (_, i) => shelf.put(`k${i}`, 'value')))
    await shelf.close()
    expect(client.status).toBe('ready')
    expect(await client.exists(shelf.nameOf('k1'))).toBe(1)
  }, 30_000)

  test('with a password, lets the first operation in every time', async () => {
    const cluster = await startCluster()
    afterwards(() => cluster.stop())
    for (const node of cluster.nodes) await node.command('CONFIG', 'SET', 'requirepass', 'hush')
    for (let i = 0; i < 40; i++) {
      const shelf = new Shelf({ cluster: cluster.addresses, password: 'hush' })
      await shelf.put('k', `value ${i}`)
      expect(String(await shelf.get('k'))).toBe(`value ${i}`)
      await shelf.close()
    }
  }, 30_000)
})
