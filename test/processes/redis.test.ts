import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals'
import { describePeers, Peers, type Peer } from '../support/peers.js'
import { startProxy, type Proxy } from '../support/proxy.js'
import { describeRedis, startRedis, type RedisServer } from '../support/redis/index.js'
import { until } from '../support/servers/until.js'
import { freshPrefix } from '../../packages/redis/test/support/stage.js'

/*
 * Real processes over a real server: killed, stopped, cut off.
 */

describeRedis('processes that share a server', () => {
  let server: RedisServer
  let proxy: Proxy
  let keyPrefix: string
  let peers: Peers
  beforeAll(async () => {
    server = await startRedis()
    proxy = await startProxy(server.port)
  })
  afterAll(async () => {
    await proxy.close()
    await server.stop()
  })
  beforeEach(() => {
    keyPrefix = freshPrefix()
    peers = new Peers()
  })
  afterEach(async () => {
    await proxy.pass()
    await peers.end()
  })

  const open = (count: number, { url = server.url, coordination }: { url?: string; coordination?: unknown } = {}): Promise<Peer[]> => peers.open(count, { redis: { url, keyPrefix } }, coordination)

  describePeers((count) => open(count))

  test('a process that is cut off stops believing in time, and is told what it missed when it is back', async () => {
    const coordination = { maxStaleness: '1500ms' }
    const [cut] = (await open(1, { url: `redis://127.0.0.1:${proxy.port}`, coordination })) as [Peer]
    const [other] = (await open(1, { coordination })) as [Peer]
    for (const key of ['kept', 'changed']) await other.ask('set', { key, value: 'old' })
    await until('it has both', async () => (await cut.ask('get', { key: 'kept' })) === 'old' && (await cut.ask('get', { key: 'changed' })) === 'old')
    await proxy.blackHole()
    const cutAt = performance.now()
    await other.ask('set', { key: 'changed', value: 'new' })
    let servedUntil = cutAt
    await until('it is believed no more', async () => {
      if ((await cut.ask('peek', { key: 'changed' })) === undefined) return true
      servedUntil = performance.now()
      return false
    }, { everyMs: 10 })
    expect(servedUntil - cutAt).toBeLessThan(1800)
    for (let n = 0; n < 200; n++) await other.ask('set', { key: `other ${n}`, value: n })
    await proxy.pass()
    await until('it hears others again', async () => (await cut.status()) === 'connected', { withinMs: 10_000 })
    expect([await cut.ask('peek', { key: 'kept' }), await cut.ask('get', { key: 'changed' })]).toEqual(['old', 'new'])
  }, 60_000)

  test('a server that has lost everything: nothing of before is believed, and all goes on', async () => {
    const [one, other] = (await open(2, { coordination: { maxStaleness: '1500ms' } })) as [Peer, Peer]
    await one.ask('set', { key: 'k', value: 'old' })
    expect(await other.ask('get', { key: 'k' })).toBe('old')
    await server.command('FLUSHALL')
    await until('nothing of before is believed', async () => (await one.ask('peek', { key: 'k' })) === undefined && (await other.ask('peek', { key: 'k' })) === undefined, { withinMs: 8000 })
    await one.ask('set', { key: 'k', value: 'new' })
    await until('it goes on', async () => (await other.ask('get', { key: 'k' })) === 'new' && (await other.status()) === 'connected', { withinMs: 8000 })
    await other.ask('delete', { key: 'k' })
    await until('and is heard', async () => (await one.ask('peek', { key: 'k' })) === undefined)
  }, 60_000)
})
