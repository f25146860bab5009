import { once } from 'node:events'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { Redis } from 'ioredis'
import { afterwards } from '../../../test/support/afterwards.js'
import { describeRedis, startRedis, type RedisServer } from '../../../test/support/redis/index.js'
import { Connection } from '../src/connection.js'

describeRedis('a connection that is left', () => {
  let server: RedisServer
  beforeAll(async () => void (server = await startRedis()))
  afterAll(() => server.stop())

  test.each([
    ['as it is', () => undefined],
    ['in the moment in which the client has ended it', (client: Redis) => client.disconnect()],
  ])('%s is closed', async (_, before) => {
    const client = new Redis(server.url, { lazyConnect: true, retryStrategy: () => null, disconnectTimeout: 100 })
    const connection = new Connection({ client, isForeign: false, timeoutMs: 5000, onReady: () => undefined, monotonic: () => performance.now() })
    afterwards(() => connection.close())
    connection.open()
    await connection.ready({})
    const { stream } = client
    const failures: Error[] = []
    stream.on('error', (error: Error) => failures.push(error))
    const closed = once(stream, 'close')
    before(client)
    connection.leave(new Error('the test leaves it'))
    await closed
    expect(failures).toEqual([])
  })
})
