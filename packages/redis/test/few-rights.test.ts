import net from 'node:net'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { TieredCacheManager, type TenantCache } from '@thermocline/core'
import { FileSystemBackend } from '@thermocline/fs'
import { MemoryBackend } from '@thermocline/memory'
import { RedisBackend, type RedisBackendOptions } from '@thermocline/redis'
import { afterwards, temporaryDirectory } from '../../../test/support/afterwards.js'
import { describeRedis, startRedis, type RedisServer } from '../../../test/support/redis/index.js'
import { freePort } from '../../../test/support/servers/ports.js'
import { until } from '../../../test/support/servers/until.js'
import { freshPrefix } from './support/stage.js'

/*
 * Users that may not do what coordination takes: the cache works as without, and says so once. A reader whose connection is dead finds another one.
 */

describeRedis('coordination', () => {
  let server: RedisServer
  beforeAll(async () => void (server = await startRedis()))
  afterAll(() => server.stop())

  let users = 0
  const NEEDED = '+get +mget +getrange +set +unlink +scan +ping +select +strlen'
  const AGREED = '+evalsha +eval +xread +xrevrange +xadd +xtrim +lrange +lset +lrem +rpush +lpush +lpop +pexpire +exists'

  interface Opened {
    readonly cache: TieredCacheManager
    readonly acme: TenantCache
    readonly said: string[]
  }

  const open = (redis: RedisBackendOptions, basePath?: string): Opened => {
    const said: string[] = []
    const ignore = (): void => undefined
    const warm = basePath === undefined ? {} : { warm: { backend: new FileSystemBackend({ basePath }) } }
    const cache = new TieredCacheManager({
      tiers: { near: { backend: new MemoryBackend() }, hot: { backend: new RedisBackend(redis) }, ...warm },
      defaultTtl: '1h',
      logger: { info: ignore, warn: (message) => said.push(message) },
    })
    afterwards(() => cache.close())
    return { cache, acme: cache.tenant('acme'), said }
  }
  const withRights = async (rights: string): Promise<RedisBackendOptions> => {
    const username = `user-${++users}`
    await server.command('ACL', 'SETUSER', username, 'on', '>secret', '~tc:*', '&*', ...rights.split(' '))
    return { host: '127.0.0.1', port: server.port, username, password: 'secret', keyPrefix: freshPrefix() }
  }
  const statusOf = async ({ cache }: Opened): Promise<string> => (await cache.health()).coordination.status
  const NOT_NEAR = { tiers: { near: false } } as const

  const refused: Readonly<Record<string, string>> = {
    'no scripts': NEEDED,
    'scripts, and none of their commands': `${NEEDED} +evalsha +eval`,
    'everything but the log': `${NEEDED} ${AGREED.replace('+xadd ', '')}`,
    'everything but reading the log': `${NEEDED} ${AGREED.replace('+xread ', '')}`,
    'everything but the end of the log': `${NEEDED} ${AGREED.replace('+xrevrange ', '')}`,
    'everything but lines': `${NEEDED} ${AGREED.replace('+rpush ', '')}`,
  }

  test.each(Object.entries(refused))('a user with %s: everything works as without, and is said once', async (_, rights) => {
    const redis = await withRights(rights)
    const one = open(redis)
    const { acme, said, cache } = one
    // at once: before anything is known
    await acme.set('first', 'v1')
    expect(await acme.get('first', NOT_NEAR)).toBe('v1')
    expect(await acme.getOrCompute('made', () => 'v1')).toBe('v1')
    await until('it is off', async () => (await statusOf(one)) === 'off')
    expect(said).toEqual([expect.stringContaining('processes are not coordinated over tier hot any more: ')])
    expect(said[0]).toContain('docs/processes.md')
    const { coordination, status, tiers } = await cache.health()
    expect([status, tiers.hot?.status]).toEqual(['ok', 'ok'])
    expect(coordination).toMatchObject({ status: 'off', reason: expect.stringContaining('coordination needs more rights') })
    const other = open(redis)
    expect(await other.acme.get('first')).toBe('v1')
    await acme.set('first', 'v2')
    await acme.set('second', 'v1')
    expect([await other.acme.get('first', NOT_NEAR), await other.acme.getOrCompute('second', () => 'computed')]).toEqual(['v2', 'v1'])
    expect(await acme.getOrCompute('made again', () => 'v1')).toBe('v1')
    expect(await other.acme.get('made again')).toBe('v1') // it was stored
    expect(await acme.delete('first')).toBe(true)
    expect(await acme.clear('sec')).toBeGreaterThan(0)
    expect([await acme.get('first'), await acme.get('second')]).toEqual([undefined, undefined])
    expect(await cache.flush()).toMatchObject({ owed: 0 })
    await other.cache.close()
    await cache.close()
  }, 20_000)

  test('a user with the rights that docs/processes.md lists is coordinated', async () => {
    const one = open(await withRights(`${NEEDED} ${AGREED}`))
    await until('it is on', async () => (await statusOf(one)) === 'connected')
    await one.acme.set('k', 'v')
    expect(await one.acme.getOrCompute('other', () => 'v')).toBe('v')
    await one.acme.clear()
    expect(one.said).toEqual([])
  })

  test('where it is off, what lies on a disk survives a restart', async () => {
    const basePath = temporaryDirectory()
    const redis = await withRights(NEEDED)
    const before = open(redis, basePath)
    await until('it is off', async () => (await statusOf(before)) === 'off')
    await before.acme.set('k', 'v')
    await before.cache.close()
    const after = open(redis, basePath)
    expect(await after.acme.get('k', { tiers: { near: false, hot: false } })).toBe('v')
  })

  test('the first read after a start finds what lies on a disk', async () => {
    const basePath = temporaryDirectory()
    const redis = { host: '127.0.0.1', port: server.port, keyPrefix: freshPrefix() }
    const before = open(redis, basePath)
    await until('it is on', async () => (await statusOf(before)) === 'connected')
    await before.acme.set('k', 'v')
    await before.cache.close()
    expect(await open(redis, basePath).acme.get('k', { tiers: { near: false, hot: false } })).toBe('v')
  })

  test('a reader whose connection a firewall has forgotten hears others again', async () => {
    const silent = new Set<net.Socket>()
    const sockets = new Set<net.Socket>()
    const port = await freePort()
    const proxy = net.createServer((client) => {
      const up = net.connect(server.port, '127.0.0.1')
      sockets.add(client).add(up)
      let reads = false
      client.on('data', (bytes) => {
        reads ||= /xread/i.test(bytes.toString('latin1'))
        if (reads) silent.add(client)
        up.write(bytes)
      })
      up.on('data', (bytes) => (isForgotten.has(client) ? undefined : client.write(bytes)))
      for (const socket of [client, up]) socket.on('error', () => undefined).on('close', () => [client, up].forEach((each) => each.destroy()))
    })
    const isForgotten = new Set<net.Socket>()
    await new Promise<void>((resolve) => void proxy.listen(port, '127.0.0.1', resolve))
    afterwards(() => {
      proxy.close()
      for (const socket of sockets) socket.destroy()
    })
    const keyPrefix = freshPrefix()
    const one = open({ host: '127.0.0.1', port, keyPrefix })
    const other = open({ host: '127.0.0.1', port: server.port, keyPrefix })
    await until('both hear', async () => (await statusOf(one)) === 'connected' && (await statusOf(other)) === 'connected')
    await one.acme.set('k', 'v1')
    for (const socket of silent) isForgotten.add(socket)
    expect(isForgotten.size).toBe(1)
    await other.acme.set('k', 'v2')
    expect(one.acme.peek('k')).toBe('v1')
    await until('it was told', () => one.acme.peek('k') === undefined)
    expect(await one.acme.get('k')).toBe('v2')
    expect(((await one.cache.health()).coordination as { gaps: number }).gaps).toBe(0)
  }, 20_000)
})
