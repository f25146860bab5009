import { once } from 'node:events'
import net from 'node:net'
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals'
import { type Proxy, startProxy } from '../support/proxy.js'
import { until } from '../support/servers/until.js'

jest.retryTimes(2, { logErrorsBeforeRetry: true }) // what the kernel still sends before a reset depends on when it runs

/** Answers with what it is sent. */
const echo = net.createServer((socket) => socket.on('error', () => socket.destroy()).pipe(socket))
let proxy: Proxy

beforeAll(async () => {
  await once(echo.listen(0, '127.0.0.1'), 'listening')
  proxy = await startProxy((echo.address() as net.AddressInfo).port)
})

afterAll(() => {
  echo.close()
})

describe('a proxy', () => {
  test('passes bytes both ways, and the end', async () => {
    const client = await connect()
    const large = Buffer.alloc(5_000_000, 'x')
    client.send(large)
    await client.has(large.length)
    expect(client.received().equals(large)).toBe(true)
    expect(proxy.connections).toBe(1)
    client.socket.end()
    await client.closed
    await until('the proxy has forgotten it', () => proxy.connections === 0)
  })

  test('delays replies, without keeping them further apart', async () => {
    const client = await connect()
    await proxy.delay(80)
    const startedAt = performance.now()
    for (let i = 0; i < 5; i++) {
      client.send('x')
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
    await client.has(5)
    expect(performance.now() - startedAt).toBeGreaterThanOrEqual(110)
    expect(performance.now() - startedAt).toBeLessThan(300)
    await proxy.delay(60_000)
    client.send('y')
    expect(await silence(client)).toBe(5)
    await proxy.pass()
    await client.has(6)
    client.socket.destroy()
  })

  test('narrows the band', async () => {
    await proxy.bandwidth(100_000)
    const client = await connect()
    const startedAt = performance.now()
    client.send(Buffer.alloc(20_000))
    await client.has(20_000)
    expect(performance.now() - startedAt).toBeGreaterThan(150)
    expect(performance.now() - startedAt).toBeLessThan(900)
    await proxy.pass()
    client.socket.destroy()
  })

  test('is a black hole for connections old and new, and delivers late what they sent', async () => {
    const old = await connect()
    await proxy.blackHole()
    const fresh = await connect()
    old.send('old')
    fresh.send('fresh')
    expect([await silence(old), await silence(fresh)]).toEqual([0, 0])
    expect([old.socket.readyState, fresh.socket.readyState]).toEqual(['open', 'open'])
    await proxy.pass()
    await Promise.all([old.has(3), fresh.has(5)])
    for (const { socket } of [old, fresh]) socket.destroy()
  })

  test('refuses, resets what there is, and comes back on its port', async () => {
    const client = await connect()
    client.send('x')
    await client.has(1)
    await proxy.refuse()
    expect(await client.closed).toBe('ECONNRESET')
    await expect(connect()).rejects.toMatchObject({ code: 'ECONNREFUSED' })
    await proxy.pass()
    const next = await connect()
    next.send('x')
    await next.has(1)
    next.socket.destroy()
  })

  test('refuses also while a client reads nothing', async () => {
    const client = await connect()
    client.socket.pause()
    client.send(Buffer.alloc(20_000_000))
    await new Promise((resolve) => setTimeout(resolve, 50))
    await proxy.refuse()
    expect(proxy.connections).toBe(0)
    client.socket.destroy()
    await proxy.pass()
  })

  test.each([
    ['half of the next reply', undefined, 50],
    ['so many bytes', 7, 7],
  ])('resets in mid-reply, after %s, once', async (_what, afterBytes, arrived) => {
    const client = await connect()
    await proxy.resetMidReply(afterBytes)
    client.send('x'.repeat(100))
    expect(await client.closed).toBe('ECONNRESET')
    expect(client.received()).toHaveLength(arrived)
    const next = await connect()
    next.send('x'.repeat(100))
    await next.has(100)
    next.socket.destroy()
  })

  test('sends garbage instead of a reply, or before it, once', async () => {
    const client = await connect()
    await proxy.garbage('?!')
    client.send('one')
    await client.has(2)
    await proxy.garbage('?!', 'before')
    client.send('two')
    await client.has(7)
    client.send('three')
    await client.has(12)
    expect(client.received().toString()).toBe('?!?!twothree')
    client.socket.destroy()
  })

  test('resets the client when there is no server behind it', async () => {
    const nowhere = await startProxy(1)
    const client = await connect(nowhere.port)
    expect(await client.closed).toBe('ECONNRESET')
  })
})

interface Client {
  readonly socket: net.Socket
  readonly send: (bytes: string | Buffer) => void
  readonly received: () => Buffer
  /** Resolves when so many bytes have arrived in all. */
  readonly has: (bytes: number) => Promise<unknown>
  /** With the code of the error, if one ended it. */
  readonly closed: Promise<string | undefined>
}

async function connect(port = proxy.port): Promise<Client> {
  const socket = net.connect(port, '127.0.0.1')
  const chunks: Buffer[] = []
  let length = 0
  let code: string | undefined
  socket.on('data', (chunk) => {
    chunks.push(chunk)
    length += chunk.length
  })
  socket.on('error', (error: NodeJS.ErrnoException) => (code = error.code))
  const closed = new Promise<string | undefined>((resolve) => socket.once('close', () => resolve(code)))
  await once(socket, 'connect')
  return {
    socket,
    send: (bytes) => socket.write(bytes),
    received: () => Buffer.concat(chunks),
    has: (bytes) => until(`${bytes} bytes have arrived`, () => length >= bytes, { everyMs: 2 }),
    closed,
  }
}

/** How many bytes the client has after a while in which something could have arrived. */
async function silence(client: Client): Promise<number> {
  await new Promise((resolve) => setTimeout(resolve, 40))
  return client.received().length
}
