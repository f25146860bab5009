import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import net from 'node:net'
import { promisify } from 'node:util'
import { expect, test } from '@jest/globals'
import { TieredCacheManager } from '@thermocline/core'
import { RedisBackend } from '@thermocline/redis'
import { Redis } from 'ioredis'
import { afterwards } from '../../../test/support/afterwards.js'
import { startProxy, type Proxy } from '../../../test/support/proxy.js'
import { Connection, describeRedis, describeTls, startCluster, startRedis, startTlsRedis, type RedisServer } from '../../../test/support/redis/index.js'
import { freePort } from '../../../test/support/servers/ports.js'
import { until } from '../../../test/support/servers/until.js'
import { Shelf } from './support/shelf.js'
import { pause, Stage } from './support/stage.js'

/** Children run the built packages. */
const cwd = new URL('.', import.meta.url).pathname

const run = promisify(execFile)

/** Uses a cache for a second in a process of its own; returns what went wrong there. */
async function uncaught(redis: object): Promise<string> {
  const script = `
    import { TieredCacheManager } from '@thermocline/core'
    import { RedisBackend } from '@thermocline/redis'
    const cache = new TieredCacheManager({ tiers: { redis: { backend: new RedisBackend(${JSON.stringify(redis)}) } }, logger: false })
    await cache.tenant('acme').getOrCompute('k', () => 1)
    await new Promise((resolve) => setTimeout(resolve, 1000))
    await cache.close()`
  try {
    await run(process.execPath, ['--input-type=module', '-e', script], { cwd, timeout: 10_000 })
    return ''
  } catch (error) {
    return (error as { stderr: string }).stderr
  }
}

/** A cache in use, and what is between it and its server. */
async function behindProxy({ config, db = 0 }: { readonly config?: readonly string[]; readonly db?: number } = {}): Promise<{ server: RedisServer; proxy: Proxy; stage: Stage }> {
  const server = await startRedis(config === undefined ? {} : { config })
  afterwards(() => server.stop())
  const proxy = await startProxy(server.port)
  afterwards(() => proxy.close())
  const stage = new Stage({ host: '127.0.0.1', port: proxy.port, db }, 'redis')
  await until('in use', () => stage.inUse())
  return { server, proxy, stage }
}

/** A server that gives these answers one after the other, each in a packet of its own, and then the last one again and again. */
async function inTurn(replies: readonly string[]): Promise<number> {
  const server = net.createServer({ noDelay: true, allowHalfOpen: true }, (client) => {
    client.on('error', () => undefined).once('data', async () => {
      for (let n = 0; !client.destroyed; n++) {
        client.write(replies[Math.min(n, replies.length - 1)] as string)
        await new Promise(setImmediate)
      }
    })
  })
  afterwards(() => server.close())
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  return (server.address() as net.AddressInfo).port
}

/** A server that says the same whatever it is asked. */
async function always(reply: string): Promise<number> {
  const server = net.createServer((client) => void client.on('error', () => undefined).on('data', () => client.write(reply)))
  afterwards(() => server.close())
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  return (server.address() as net.AddressInfo).port
}

describeTls('hazards of TLS', () => {
  test('with TLS, bytes on the way that are not TLS end no process', async () => {
    const server = await startTlsRedis()
    afterwards(() => server.stop())
    const proxy = await startProxy(server.port)
    afterwards(() => proxy.close())
    const script = `
      import { readFileSync } from 'node:fs'
      import { TieredCacheManager } from '@thermocline/core'
      import { RedisBackend } from '@thermocline/redis'
      const tls = { ca: readFileSync('${server.files.ca}'), cert: readFileSync('${server.files.cert}'), key: readFileSync('${server.files.key}') }
      const url = '${server.url.replace(String(server.port), String(proxy.port))}'
      const cache = new TieredCacheManager({ tiers: { redis: { backend: new RedisBackend({ url, tls }) } }, logger: false })
      const acme = cache.tenant('acme')
      let over = false
      setTimeout(() => (over = true), 6000)
      await Promise.all([1, 2, 3, 4, 5, 6].map(async (w) => {
        while (!over) {
          for (const key of ['a', 'b', 'c']) await acme.set(key + w, 'x'.repeat(3000)).then(() => acme.get(key + w)).then(() => acme.delete(key))
          await new Promise((r) => setTimeout(r, 2))
        }
      }))
      await cache.close()`
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], { cwd, stdio: ['ignore', 'inherit', 'pipe'] })
    afterwards(() => child.kill('SIGKILL'))
    let said = ''
    child.stderr.on('data', (bytes: Buffer) => (said += bytes.toString()))
    let over = false
    const ended = once(child, 'close').then(() => (over = true))
    await pause(500)
    while (!over) {
      await proxy.garbage(Buffer.alloc(50, 7))
      await pause(400)
    }
    await ended
    expect(said).toBe('')
  }, 20_000)
})

describeRedis('hazards', () => {
  test('a database that cannot be selected is no connection', async () => {
    const server = await startRedis()
    afterwards(() => server.stop())
    const shelf = new Shelf({ url: server.url, db: 99 })
    await shelf.put('k', 'v').catch(() => undefined)
    expect(String(await server.command('INFO', 'keyspace'))).not.toContain('db0')
  })

  test('users who may not SELECT do not meet in database 0', async () => {
    const server = await startRedis()
    afterwards(() => server.stop())
    await server.command('ACL', 'SETUSER', 'cache', 'on', '>pw', '~tc:*', '-@all', '+get', '+mget', '+getrange', '+set', '+unlink', '+scan', '+ping')
    const open = (db: number): Shelf => new Shelf({ url: server.url, username: 'cache', password: 'pw', db, keyPrefix: 'tc:' })
    await open(1).put('k', 'of one').catch(() => undefined)
    expect(await open(2).get('k').catch(() => undefined)).toBeUndefined()
  })

  test('a SELECT refused after a reconnection loses no delete', async () => {
    const { server, proxy, stage } = await behindProxy({ config: ['lua-time-limit 100'], db: 1 })
    await stage.acme.set('k', 'old')
    const script = await Connection.open({ port: server.port })
    const admin = await Connection.open({ port: server.port })
    void script.command('EVAL', 'while true do end', 0).catch(() => undefined)
    await pause(300)
    proxy.reset() // any lost connection, while somebody's script runs: SELECT is answered -BUSY
    await pause(1000)
    await admin.command('SCRIPT', 'KILL')
    await until('in use', () => stage.inUse(), { withinMs: 6000 })
    await stage.acme.delete('k') // resolves
    await pause(300)
    const other = new Stage({ url: server.url, db: 1, keyPrefix: stage.keyPrefix }, 'redis')
    expect(await other.acme.get('k')).toBeUndefined()
  }, 20_000)

  test('many large reads at once, whose replies take longer than the budget', async () => {
    const { proxy, stage } = await behindProxy()
    const keys = Array.from({ length: 10 }, (_, i) => `k${i}`) // the server answers them together, and begins when it has put that together
    for (const key of keys) await stage.acme.set(key, Buffer.alloc(1_000_000))
    await proxy.bandwidth(20e6)
    const values = await Promise.all(keys.map((key) => stage.acme.get(key)))
    await proxy.pass()
    expect(values.filter((value) => value !== undefined)).toHaveLength(keys.length)
    expect(stage.degraded.map(({ error }) => error?.message)).toEqual([])
  }, 20_000)

  test('one payload of 8 MB over 240 Mbit/s', async () => {
    const { proxy, stage } = await behindProxy()
    await stage.acme.set('large', Buffer.alloc(8_000_000))
    await proxy.bandwidth(30e6)
    const value = await stage.acme.get('large')
    await proxy.pass()
    expect([value !== undefined, stage.degraded.map(({ error }) => error?.message)]).toEqual([true, []])
  }, 20_000)

  test('only the connection for large payloads is dead', async () => {
    const server = await startRedis()
    afterwards(() => server.stop())
    const pairs: { client: net.Socket; dead: boolean }[] = []
    const port = await freePort()
    const proxy = net.createServer((client) => {
      const up = net.connect(server.port, '127.0.0.1')
      const pair = { client, dead: false }
      pairs.push(pair)
      client.on('data', (bytes) => pair.dead || up.write(bytes))
      up.on('data', (bytes) => pair.dead || client.write(bytes))
      for (const socket of [client, up]) socket.on('error', () => undefined).on('close', () => [client, up].forEach((each) => each.destroy()))
    })
    await new Promise<void>((resolve) => void proxy.listen(port, '127.0.0.1', resolve))
    afterwards(() => {
      proxy.close()
      for (const { client } of pairs) client.destroy()
    })
    const stage = new Stage({ host: '127.0.0.1', port }, 'redis')
    await until('in use', () => stage.inUse())
    await stage.acme.set('large', Buffer.alloc(300_000))
    pairs.at(-1)!.dead = true // a firewall has forgotten it
    const startedAt = performance.now()
    let heldUp = 0
    while (performance.now() - startedAt < 5000) {
      const took = await stage.timed(() => stage.acme.getOrCompute('large', () => Buffer.alloc(300_000)))
      if (took > 25) heldUp += took
      await pause(5)
    }
    expect([stage.degraded.length, stage.recovered, heldUp < 1500]).toEqual([1, 1, true])
  }, 20_000)

  test('a key prefix with a hash tag does not stop the process at each probe', async () => {
    const cluster = await startCluster()
    afterwards(() => cluster.stop())
    const stage = new Stage({ cluster: cluster.addresses, keyPrefix: '{app}:' }, 'redis')
    await until('in use', () => stage.inUse())
    let longest = 0
    let last = performance.now()
    const timer = setInterval(() => {
      longest = Math.max(longest, performance.now() - last)
      last = performance.now()
    }, 5)
    for (const node of cluster.nodes) await node.command('CONFIG', 'SET', 'maxmemory', '1')
    await stage.timed(() => stage.set('x')) // opens the write circuit
    await pause(3000)
    clearInterval(timer)
    expect(longest).toBeLessThan(150)
  }, 30_000)

  test.each(['$-1\r\n', '*1\r\n$-1\r\n', '*1\r\n*3\r\n:0\r\n:100\r\n$-1\r\n'])('a node of a cluster that answers %j ends no process', async (reply) => {
    expect(await uncaught({ cluster: [{ host: '127.0.0.1', port: await always(reply) }] })).toBe('')
  })
  test.each(['$-1\r\n', '*0\r\n', '*3\r\n$9\r\nsubscribe\r\n$-1\r\n:1\r\n'])('a sentinel that answers %j ends no process', async (reply) => {
    expect(await uncaught({ sentinel: { name: 'main', sentinels: [{ host: '127.0.0.1', port: await always(reply) }] } })).toBe('')
  })

  test('a server that lets us not in and goes on answering: the error says why we were not let in', async () => {
    const port = await inTurn(['-WRONGPASS invalid username-password pair or user is disabled.\r\n', '-NOAUTH Authentication required.\r\n'])
    const shelf = new Shelf({ host: '127.0.0.1', port, username: 'nobody', password: 'hunter2' })
    await expect(shelf.get('k')).rejects.toThrow(/no connection to redis: WRONGPASS .*check username and password/)
  })

  test('an address that is a node of a cluster: the error says what to give instead', async () => {
    const cluster = await startCluster()
    afterwards(() => cluster.stop())
    const { port } = cluster.nodes[0]!
    const shelf = new Shelf({ host: '127.0.0.1', port })
    const puts = await Promise.allSettled(Array.from({ length: 20 }, (_, n) => shelf.put(`k${n}`, 'v')))
    const reasons = puts.flatMap((put) => (put.status === 'rejected' ? [String(put.reason)] : []))
    expect(reasons.length).toBeGreaterThan(0)
    for (const reason of reasons) expect(reason).toContain('give its nodes as cluster')
  }, 20_000)

  test('a client whose keyPrefix is a Buffer is refused', async () => {
    const server = await startRedis()
    afterwards(() => server.stop())
    const client = new Redis(server.url, { keyPrefix: Buffer.from('mine:') as unknown as string })
    afterwards(() => client.disconnect())
    let shelf: Shelf
    try {
      shelf = new Shelf({ client })
    } catch {
      return
    }
    await shelf.put('k', 'old')
    await shelf.delete('k')
    expect(await shelf.get('k')).toBeUndefined()
  })

  test('a client with stringNumbers', async () => {
    const server = await startRedis()
    afterwards(() => server.stop())
    const client = new Redis(server.url, { stringNumbers: true })
    client.on('error', () => undefined)
    afterwards(() => client.disconnect())
    let closes = 0
    client.on('close', () => closes++)
    const shelf = new Shelf({ client })
    await shelf.put('k', 'v')
    const removed = await shelf.delete('k').catch((error: unknown) => error)
    await pause(100)
    expect([removed, closes]).toEqual([1, 0])
  })

  test('a manager that cannot be made leaves no connection', async () => {
    const server = await startRedis()
    afterwards(() => server.stop())
    const before = Number(await server.info('clients', 'connected_clients'))
    const backend = new RedisBackend({ url: server.url })
    expect(() => new TieredCacheManager({ tiers: { redis: { backend } }, policies: { default: { tiers: { redis: { write: 'back' } } } }, logger: false })).toThrow(TypeError)
    await pause(200)
    await backend[Symbol.asyncDispose]()
    await pause(200)
    expect(Number(await server.info('clients', 'connected_clients'))).toBe(before)
  })
})
