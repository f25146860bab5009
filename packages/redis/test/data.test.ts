import { performance } from 'node:perf_hooks'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { afterwards } from '../../../test/support/afterwards.js'
import { startProxy } from '../../../test/support/proxy.js'
import { describeRedis, startCluster, startRedis, type RedisCluster, type RedisServer } from '../../../test/support/redis/index.js'
import { until } from '../../../test/support/servers/until.js'
import { Shelf } from './support/shelf.js'

const MANY = 3000
const LARGE_BYTES = 300 * 1024
/** No command ought to hold the server up; with room for a busy machine. */
const SLOW_MICROS = 20_000

/** How often the server has run each command since `CONFIG RESETSTAT`. */
async function callsOf(server: RedisServer, work: () => Promise<unknown>): Promise<Record<string, number>> {
  await server.command('CONFIG', 'RESETSTAT')
  await work()
  const text = String(await server.command('INFO', 'commandstats'))
  return Object.fromEntries([...text.matchAll(/^cmdstat_([^:]+):calls=(\d+)/gm)].map(([, name, calls]): [string, number] => [name!, Number(calls)]))
}

describeRedis('one server', () => {
  let server: RedisServer
  beforeAll(async () => void (server = await startRedis()))
  afterAll(() => server.stop())
  const open = (): Shelf => new Shelf({ url: server.url })

  describe('batches', () => {
    test('a hundred gets of one turn are one MGET, one is a GET', async () => {
      const shelf = open()
      const keys = Array.from({ length: 100 }, (_, i) => `k${i}`)
      await Promise.all(keys.map((key) => shelf.put(key, key)))
      const calls = await callsOf(server, async () => {
        const values = await Promise.all(keys.map((key) => shelf.get(key)))
        expect(values.map(String)).toEqual(keys)
      })
      expect(calls).toMatchObject({ mget: 1 })
      expect(calls.get).toBeUndefined()
      expect(await callsOf(server, () => shelf.get('k0'))).toMatchObject({ get: 1 })
    })

    test('callers of one reply go on in groups, so that what some ask for next is under way while others are answered', async () => {
      const shelf = open()
      const keys = Array.from({ length: 64 }, (_, i) => `k${i}`)
      await Promise.all(keys.map((key) => shelf.put(key, key)))
      const calls = await callsOf(server, () =>
        Promise.all(
          keys.map(async (key) => {
            for (let n = 0; n < 5; n++) expect(String(await shelf.get(key))).toBe(key)
          }),
        ),
      )
      expect(calls.mget).toBeGreaterThan(5) // one a round, if all went on together
      expect(calls.mget).toBeLessThanOrEqual(1 + 4 * 2)
    })

    test('no command has more than 128 keys', async () => {
      const shelf = open()
      await shelf.put('k', 'v')
      const calls = await callsOf(server, () => Promise.all(Array.from({ length: 1000 }, () => shelf.get('k'))))
      expect(calls.mget).toBe(8)
    })

    test('replies that are kept own their memory', async () => {
      const shelf = open()
      const sizes = [10, 100, 5000, 40_000, LARGE_BYTES]
      await Promise.all(sizes.map((size) => shelf.put(`size-${size}`, Buffer.alloc(size, size))))
      for (let round = 0; round < 2; round++) {
        for (const payload of await Promise.all(sizes.map((size) => shelf.get(`size-${size}`)))) {
          expect(payload!.buffer.byteLength).toBeLessThanOrEqual(payload!.byteLength * 2 + 4096)
        }
      }
    })
  })

  describe('large payloads', () => {
    test('have a connection of their own, so a small one does not wait behind them', async () => {
      const proxy = await startProxy(server.port)
      afterwards(() => proxy.close())
      const shelf = new Shelf({ host: '127.0.0.1', port: proxy.port })
      const keys = Array.from({ length: 4 }, (_, i) => `large-${i}`)
      await shelf.put('small', 'x')
      for (const key of keys) await shelf.put(key, Buffer.alloc(2 * 1024 ** 2))
      await proxy.bandwidth(20e6)
      const startedAt = performance.now()
      const after: Record<string, number> = {}
      const note = (what: string) => () => (after[what] = performance.now() - startedAt)
      await Promise.all([Promise.all(keys.map((key) => shelf.get(key))).then(note('large')), shelf.get('small').then(note('small'))])
      expect(after.large).toBeGreaterThan(250)
      expect(after.small).toBeLessThan(after.large! / 4)
    })

    test('are learned from what others have stored', async () => {
      const writer = open()
      const reader = new Shelf({ url: server.url, keyPrefix: writer.keyPrefix })
      const connections = async (): Promise<number> => Number(await server.info('clients', 'connected_clients'))
      await writer.put('large', Buffer.alloc(LARGE_BYTES))
      await reader.get('large')
      const before = await connections()
      await reader.get('large')
      expect((await connections()) - before).toBe(1)
    })

    test('use the only connection where there may be but one', async () => {
      const shelf = new Shelf({ url: server.url, pool: { maxConnections: 1 } })
      expect(await shelf.put('large', Buffer.alloc(LARGE_BYTES, 3))).toBe(true)
      expect((await shelf.get('large'))?.equals(Buffer.alloc(LARGE_BYTES, 3))).toBe(true)
    })
  })

  describe('what is not an entry of ours', () => {
    const stored = async (): Promise<{ shelf: Shelf; name: string; frame: Buffer }> => {
      const shelf = open()
      await shelf.put('k', 'the one true value')
      const name = shelf.nameOf('k')
      return { shelf, name, frame: (await server.rawCommand('GET', name)) as Buffer }
    }
    const expectMiss = async (shelf: Shelf, name: string, code: 'foreign' | 'corrupt', why: string): Promise<void> => {
      shelf.reports.length = 0
      expect([why, await shelf.get('k')]).toEqual([why, undefined])
      expect([why, shelf.reports.map((report) => report.code)]).toEqual([why, [code]])
      if (code === 'corrupt') await until(`${why}: it is gone`, async () => (await server.command('EXISTS', name)) === 0, { withinMs: 1000, everyMs: 1 })
      else expect([why, await server.command('EXISTS', name)]).toEqual([why, 1])
    }

    test('a frame cut off anywhere after its magic is corrupt, before that foreign', async () => {
      const { shelf, name, frame } = await stored()
      for (let length = 1; length < frame.length; length++) {
        await server.command('SET', name, frame.subarray(0, length))
        await expectMiss(shelf, name, length < 4 ? 'foreign' : 'corrupt', `${length} of ${frame.length} bytes`)
      }
    })

    test('a flipped bit in any byte never becomes another value', async () => {
      const { shelf, name, frame } = await stored()
      for (let at = 0; at < frame.length; at++) {
        const flipped = Buffer.from(frame)
        flipped[at]! ^= 1 << (at % 8)
        await server.command('SET', name, flipped)
        await expectMiss(shelf, name, at < 8 ? 'foreign' : 'corrupt', `byte ${at} of ${frame.length}`)
      }
    })

    test('a head of an entry that is cut off is a miss too, and removes it', async () => {
      const { shelf, name, frame } = await stored()
      for (const length of [40, frame.length - 1]) {
        await server.command('SET', name, frame.subarray(0, length))
        expect(await shelf.holds('k')).toBe(false)
        await until('it is gone', async () => (await server.command('EXISTS', name)) === 0)
        expect(shelf.reports.splice(0).map(({ code }) => code)).toEqual(['corrupt'])
      }
    })

    const FOREIGN: readonly (readonly [what: string, command: string, ...values: (string | Buffer)[]])[] = [
      ['text', 'SET', 'dear diary'],
      ['much text', 'SET', 'dear diary '.repeat(10_000)],
      ['an empty string', 'SET', ''],
      ['a frame of a future version', 'SET', Buffer.concat([Buffer.from([0x89, 0x54, 0x43, 0x46, 2]), Buffer.alloc(200)])],
      ['a list', 'RPUSH', 'a'],
      ['a hash', 'HSET', 'a', 'b'],
      ['a set', 'SADD', 'a'],
      ['a stream', 'XADD', '*', 'a', 'b'],
    ]
    test.each(FOREIGN)('%s is a miss and stays, until it is deleted or cleared', async (what, command, ...values) => {
      const shelf = open()
      const name = shelf.nameOf('k')
      await shelf.put('other', 'value')
      await server.command(command, name, ...values)
      if (what !== 'an empty string') await expectMiss(shelf, name, 'foreign', what)
      else expect(await shelf.get('k')).toBeUndefined()
      expect(await shelf.holds('k')).toBe(false)
      expect((await shelf.list('', 'info')).map(({ key }) => key)).toEqual(['other'])
      if (what !== 'an empty string') {
        expect(await shelf.put('k', 'promoted', { onlyIfAbsent: true })).toBe(false)
        expect(await server.command('EXISTS', name)).toBe(1)
        expect(await shelf.delete('k', 'other')).toBe(2)
        await server.command(command, name, ...values)
        expect(await shelf.clear()).toBe(1)
        expect(await server.command('EXISTS', name)).toBe(0)
      }
      expect(await shelf.put('k', 'mine')).toBe(true)
      expect(String(await shelf.get('k'))).toBe('mine')
    })

    test('an entry of another key is foreign and stays, and the connection too', async () => {
      const { shelf, name, frame } = await stored()
      await server.command('SET', shelf.nameOf('other'), frame)
      const before = await server.info('stats', 'total_connections_received')
      expect(await shelf.get('other')).toBeUndefined()
      expect(shelf.reports.map(({ code }) => code)).toEqual(['foreign'])
      expect(String(await shelf.get('k'))).toBe('the one true value')
      expect(await server.command('EXISTS', name, shelf.nameOf('other'))).toBe(2)
      expect(Number(await server.info('stats', 'total_connections_received')) - Number(before)).toBe(2) // the two questions of this test
    })

    test('one key of the wrong type among many costs the others nothing', async () => {
      const shelf = open()
      await Promise.all(['a', 'b', 'c'].map((key) => shelf.put(key, key)))
      await server.command('RPUSH', shelf.nameOf('list'), 'x')
      const values = await Promise.all(['a', 'list', 'b', 'c'].map((key) => shelf.get(key)))
      expect(values.map((value) => value?.toString())).toEqual(['a', undefined, 'b', 'c'])
    })
  })

  describe('replies that belong to other requests', () => {
    test.each([
      ['nothing', '$-1\r\n'],
      ['an empty string', '$0\r\n\r\n'],
      ['a number', ':1\r\n'],
      ['OK', '+OK\r\n'],
    ])('%s before them: no delete or clear that resolves has left anything, and no get finds another key’s value', async (_what, bytes) => {
      const proxy = await startProxy(server.port)
      afterwards(() => proxy.close())
      const shelf = new Shelf({ host: '127.0.0.1', port: proxy.port })
      const works: Readonly<Record<string, () => Promise<unknown>>> = {
        'get a, delete b': () => Promise.allSettled([shelf.get('a'), shelf.delete('b')]).then(([, deleted]) => deleted.status),
        'delete nothing, delete b': () => Promise.allSettled([shelf.delete('nothing'), shelf.delete('b')]).then(([, deleted]) => deleted.status),
        'get nothing, delete b': () => Promise.allSettled([shelf.get('nothing'), shelf.delete('b')]).then(([, deleted]) => deleted.status),
        'head of a, clear b': () => Promise.allSettled([shelf.holds('a'), shelf.clear('b')]).then(([, cleared]) => cleared.status),
        'clear nothing, clear b': () => Promise.allSettled([shelf.clear('nothing'), shelf.clear('b')]).then(([, cleared]) => cleared.status),
      }
      for (const [work, run] of Object.entries(works)) {
        await until('it is connected', () => shelf.put('a', 'of a'))
        await until('b is there', () => shelf.put('b', 'of b'))
        await proxy.garbage(bytes, 'before')
        const status = await run()
        if (status === 'fulfilled') expect([work, await server.command('EXISTS', shelf.nameOf('b'))]).toEqual([work, 0])
        await until('the connection is good', () => shelf.get('a').then((value) => String(value) === 'of a'), { withinMs: 4000 })
        for (const [key, value] of await Promise.all(['a', 'b', 'a'].map(async (name) => [name, await shelf.get(name)] as const))) {
          if (value !== undefined) expect([work, String(value)]).toEqual([work, `of ${key}`])
        }
        await proxy.pass()
      }
    })
  })

  test('many keys beside many foreign ones are listed and cleared by SCAN and UNLINK', async () => {
    const shelf = open()
    const keys = Array.from({ length: MANY }, (_, i) => `${i % 3 === 0 ? 'in' : 'out'}/*${i}`)
    await Promise.all(keys.map((key) => shelf.put(key, key)))
    await server.command('MSET', ...Array.from({ length: MANY }, (_, i) => [`foreign:${i}`, 'x']).flat())
    await server.command('CONFIG', 'SET', 'slowlog-log-slower-than', SLOW_MICROS)
    await server.command('SLOWLOG', 'RESET')
    // in our part, under names that no key has
    await server.command('MSET', ...Array.from({ length: 100 }, (_, i) => [`${shelf.nameOf('in/')}{${i}}`, 'x']).flat())
    const calls = await callsOf(server, async () => {
      expect((await shelf.list('in/*')).map(({ key }) => key).sort()).toEqual(keys.filter((key) => key.startsWith('in/')).sort())
      expect(await shelf.clear('in/')).toBe(MANY / 3)
      expect(await shelf.clear('in/')).toBe(0)
    })
    for (const command of ['keys', 'eval', 'evalsha', 'del', 'flushdb']) expect(calls[command]).toBeUndefined()
    expect(await shelf.list()).toHaveLength((MANY * 2) / 3)
    expect(await shelf.clear()).toBe((MANY * 2) / 3)
    expect(await server.command('DBSIZE')).toBeGreaterThanOrEqual(MANY + 100)
    expect(await server.command('SLOWLOG', 'GET')).toEqual([])
  })

  test('an entry leaves the server when its life is over, by the server’s own clock', async () => {
    const shelf = open()
    await shelf.put('short', 'x', { lifeMs: 60_000 })
    expect(await server.command('PTTL', shelf.nameOf('short'))).toBeLessThanOrEqual(60_000)
    await shelf.put('for ever', 'x', { lifeMs: Number.POSITIVE_INFINITY })
    expect(await server.command('PTTL', shelf.nameOf('for ever'))).toBe(-1)
    await shelf.put('for long', 'x', { lifeMs: 1e13 })
    expect(await server.command('PTTL', shelf.nameOf('for long'))).toBeGreaterThan(9e12)
  })
})

describeRedis('Cluster', () => {
  let cluster: RedisCluster
  beforeAll(async () => void (cluster = await startCluster()), 30_000)
  afterAll(() => cluster.stop())

  test('a tenant spreads over the nodes, and is listed and cleared on all of them', async () => {
    const shelf = new Shelf({ cluster: cluster.addresses })
    const keys = Array.from({ length: MANY }, (_, i) => `{same}/${i}`)
    await Promise.all(keys.map((key) => shelf.put(key, key)))
    for (const node of cluster.nodes) expect(await node.command('DBSIZE')).toBeGreaterThan(MANY / 5)
    await cluster.nodes[0]!.command('CONFIG', 'RESETSTAT')
    expect((await shelf.list('{same}/')).map(({ key }) => key).sort()).toEqual([...keys].sort())
    expect(await shelf.list('{same}/1', 'info')).toHaveLength(1111)
    expect(await shelf.delete(...keys.slice(0, 100))).toBe(100)
    expect(await shelf.clear('{same}')).toBe(MANY - 100)
    expect(await shelf.list()).toEqual([])
    expect(String(await cluster.nodes[0]!.command('INFO', 'commandstats'))).not.toMatch(/cmdstat_(keys|del|eval)/)
  }, 20_000)

  test('gets of one turn reach each node without waiting for each other', async () => {
    const shelf = new Shelf({ cluster: cluster.addresses })
    const keys = Array.from({ length: 500 }, (_, i) => `k${i}`)
    await Promise.all(keys.map((key) => shelf.put(key, key)))
    expect((await Promise.all(keys.map((key) => shelf.get(key)))).map(String)).toEqual(keys)
  })
})
