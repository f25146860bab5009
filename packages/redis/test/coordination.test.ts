import { afterAll, beforeAll, describe } from '@jest/globals'
import { RedisBackend, type RedisBackendOptions } from '@thermocline/redis'
import { describeCoordination, type CoordinationSubject } from '@thermocline/testkit'
import { Redis } from 'ioredis'
import { describeRedis, startRedis, startSentinel, type RedisServer } from '../../../test/support/redis/index.js'
import { describeProcesses } from '../../../test/support/processes.js'
import { freshPrefix } from './support/stage.js'

/** Two backends on the same part of a server that nobody else uses. */
function subject(options: RedisBackendOptions, client: Redis): CoordinationSubject {
  const keyPrefix = freshPrefix()
  const open = (): RedisBackend => new RedisBackend({ ...options, keyPrefix })
  return {
    one: open(),
    other: open(),
    forget: async () => {
      const names = await client.keys(`${keyPrefix}%*`)
      if (names.length > 0) await client.unlink(...names)
    },
    trim: async (left) => {
      await client.xtrim(`${keyPrefix}%log`, 'MAXLEN', '=', left)
    },
  }
}

describeRedis('one server', () => {
  let server: RedisServer
  let client: Redis
  beforeAll(async () => {
    server = await startRedis()
    client = new Redis(server.url)
  })
  afterAll(async () => {
    client.disconnect()
    await server.stop()
  })

  describeCoordination({ name: 'redis', create: () => subject({ url: server.url }, client) })
  describeCoordination({ name: 'redis with one connection', create: () => subject({ url: server.url, pool: { maxConnections: 1 } }, client) })
  describeCoordination({ name: 'redis with a client of the user’s', create: () => subject({ client }, client) })

  describe('processes over redis', () => {
    describeProcesses(() => {
      const keyPrefix = freshPrefix()
      return () => new RedisBackend({ url: server.url, keyPrefix })
    })
  })
})

describeRedis('Sentinel', () => {
  let servers: Awaited<ReturnType<typeof startSentinel>>
  let client: Redis
  beforeAll(async () => {
    servers = await startSentinel()
    client = new Redis({ name: servers.name, sentinels: [...servers.addresses] })
  }, 30_000)
  afterAll(async () => {
    client.disconnect()
    await servers.stop()
  })

  describeCoordination({ name: 'redis behind sentinels', create: () => subject({ sentinel: { name: servers.name, sentinels: servers.addresses } }, client) })
})
