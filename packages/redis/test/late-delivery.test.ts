import net from 'node:net'
import { expect, test } from '@jest/globals'
import { afterwards } from '../../../test/support/afterwards.js'
import { describeRedis, startRedis, type RedisServer } from '../../../test/support/redis/index.js'
import { freePort } from '../../../test/support/servers/ports.js'
import { until } from '../../../test/support/servers/until.js'
import { pause, Stage } from './support/stage.js'

/** What it holds of a client's it delivers later, also when that client has reset its connection. */
class HoldingProxy {
  readonly port: number
  #holds = false
  readonly #held: { readonly up: net.Socket; readonly bytes: Buffer }[] = []

  private constructor(port: number) {
    this.port = port
  }

  static async start(target: number): Promise<HoldingProxy> {
    const proxy = new HoldingProxy(await freePort())
    const sockets = new Set<net.Socket>()
    const server = net.createServer((client) => {
      const up = net.connect(target, '127.0.0.1')
      const isHeld = { now: false }
      for (const socket of [client, up]) sockets.add(socket.on('error', () => undefined))
      client.on('data', (bytes) => {
        isHeld.now ||= proxy.#holds
        if (isHeld.now) proxy.#held.push({ up, bytes })
        else up.write(bytes)
      })
      client.on('close', () => isHeld.now || up.destroy())
      up.on('data', (bytes) => client.writable && client.write(bytes))
      up.on('close', () => client.destroy())
    })
    await new Promise<void>((resolve) => void server.listen(proxy.port, '127.0.0.1', resolve))
    afterwards(() => {
      server.close()
      for (const socket of sockets) socket.destroy()
    })
    return proxy
  }

  /** From now on it holds what comes over connections there are; `pass` lets new ones through. */
  hold(): void {
    this.#holds = true
  }

  pass(): void {
    this.#holds = false
  }

  deliver(): void {
    for (const { up, bytes } of this.#held.splice(0)) if (up.writable) up.write(bytes)
  }
}

async function settled(stage: Stage, withinMs: number): Promise<void> {
  await until('nothing is in doubt or owed', async () => {
    const { redis } = (await stage.cache.stats()).tiers
    return redis?.keysInDoubt === 0 && redis.pendingInvalidations === 0
  }, { withinMs })
}

describeRedis('a set that was given up, and that a proxy delivers later', () => {
  async function cacheBehindProxy(user: object, prepare: (server: RedisServer) => Promise<unknown>): Promise<{ server: RedisServer; proxy: HoldingProxy; stage: Stage }> {
    const server = await startRedis()
    afterwards(() => server.stop())
    await prepare(server)
    const proxy = await HoldingProxy.start(server.port)
    const stage = new Stage({ host: '127.0.0.1', port: proxy.port, ...user }, 'redis')
    await until('in use', () => stage.inUse())
    return { server, proxy, stage }
  }

  test.each([['small', 'old'], ['large', Buffer.alloc(300_000)]])('does not bring its value back after a delete: %s', async (_, value) => {
    const { server, proxy, stage } = await cacheBehindProxy({}, async () => undefined)
    await stage.acme.set('k', value)
    proxy.hold()
    await stage.acme.set('k', value) // recorded
    await pause(100)
    proxy.pass()
    await until('it is in use again', () => stage.inUse(), { withinMs: 8000 })
    await settled(stage, 8000)
    await stage.acme.delete('k')
    await pause(500)
    proxy.deliver()
    await pause(500)
    expect(await server.command('GET', `${stage.keyPrefix}acme:k`)).toBeNull()
  }, 30_000)

  test('where the user may not kill connections, its key is in doubt until it has been quiet for long enough', async () => {
    const { server, proxy, stage } = await cacheBehindProxy({ username: 'cache', password: 'hush' }, (server) =>
      server.command('ACL', 'SETUSER', 'cache', 'on', '>hush', '~*', '-@all', '+get', '+mget', '+getrange', '+set', '+unlink', '+scan', '+ping'),
    )
    await stage.acme.set('k', 'old')
    proxy.hold()
    await stage.acme.set('k', 'old')
    proxy.pass()
    await until('it is in use again', () => stage.inUse(), { withinMs: 8000 })
    await stage.acme.delete('k') // recorded: the key is in doubt
    proxy.deliver()
    await settled(stage, 15_000)
    expect(await server.command('GET', `${stage.keyPrefix}acme:k`)).toBeNull()
  }, 40_000)
})
