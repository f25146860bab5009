import { afterAll, beforeAll } from '@jest/globals'
import { CircuitBreaker, retry, timeout } from '@thermocline/core'
import { systemClock, type Layer } from '@thermocline/backend'
import { RedisBackend, type RedisBackendOptions } from '@thermocline/redis'
import { describeBackend, type Subject } from '@thermocline/testkit'
import { Cluster, Redis } from 'ioredis'
import { describeRedis, describeTls, startCluster, startRedis, startSentinel, startTlsRedis } from '../../../test/support/redis/index.js'

let subjects = 0

/** A backend in a part of the server that no other subject uses, as empty as a new server. */
function subject(options: RedisBackendOptions, layer: Layer = (inner) => inner): Subject {
  const keyPrefix = `tc:${++subjects}:`
  const open = (): ReturnType<Layer> => layer(new RedisBackend({ ...options, keyPrefix }))
  return { backend: open(), reopen: () => Promise.resolve(open()) }
}

/** Starts servers for the suites of the block. */
function serving<S extends { stop(): Promise<void> }>(start: () => Promise<S>): () => S {
  let servers: S | undefined
  beforeAll(async () => void (servers = await start()), 30_000)
  afterAll(() => servers?.stop())
  return () => servers as S
}

const clock = systemClock
const LAYERS: Readonly<Record<string, () => Layer>> = {
  retry: () => retry({ clock, attempts: 3, baseDelayMs: 1 }),
  timeout: () => timeout({ clock, budgetMs: 5000 }),
  'circuit breaker': () => new CircuitBreaker({ clock, failureThreshold: 5 }).layer,
}

describeRedis('one server', () => {
  const server = serving(startRedis)
  let client: Redis
  beforeAll(() => void (client = new Redis(server().url)))
  afterAll(() => client.disconnect())

  describeBackend({ name: 'redis', create: () => subject({ url: server().url }) })
  describeBackend({ name: 'redis with one connection', create: () => subject({ url: server().url, pool: { maxConnections: 1 } }) })
  describeBackend({ name: 'redis with a client of the user’s', create: () => subject({ client }) })
  for (const [name, layer] of Object.entries(LAYERS)) describeBackend({ name: `redis under ${name}`, create: () => subject({ url: server().url }, layer()) })
})

describeTls('TLS and a user with few rights', () => {
  const server = serving(startTlsRedis)
  describeBackend({ name: 'redis', create: () => subject({ url: server().url, tls: { ca: server().ca, cert: server().cert, key: server().key } }) })
})

describeRedis('Cluster', () => {
  const cluster = serving(startCluster)
  let client: Cluster
  beforeAll(() => void (client = new Cluster(cluster().addresses)))
  afterAll(() => client.disconnect())

  describeBackend({ name: 'redis', create: () => subject({ cluster: cluster().addresses }) })
  describeBackend({ name: 'redis with a client of the user’s', create: () => subject({ client }) })
})

describeRedis('Sentinel', () => {
  const group = serving(startSentinel)
  describeBackend({ name: 'redis', create: () => subject({ sentinel: { name: group().name, sentinels: group().addresses } }) })
})
