import { afterAll, beforeAll } from '@jest/globals'
import type { Layer } from '@thermocline/backend'
import { RedisBackend, type RedisBackendOptions } from '@thermocline/redis'
import { describeBackend, type Feature, type Subject } from '@thermocline/testkit'
import { Cluster, Redis } from 'ioredis'
import { behindProxy, guarded } from '../../../test/support/conformance.js'
import { describeRedis, describeTls, startCluster, startRedis, startSentinel, startTlsRedis } from '../../../test/support/redis/index.js'
import { Names } from '../src/names.js'
import { scopeOf } from './support/shelf.js'

let subjects = 0

/** A backend in a part of the server that no other subject uses, as empty as a new server. */
function subject(options: RedisBackendOptions, { layer = (inner) => inner, plain }: { readonly layer?: Layer; readonly plain?: Redis | Cluster } = {}): Subject {
  const keyPrefix = `tc:${++subjects}:`
  const open = (): ReturnType<Layer> => layer(new RedisBackend({ ...options, keyPrefix }))
  const damage = async (tenant: string, key: string): Promise<void> => {
    const name = new Names(keyPrefix).of(scopeOf(tenant), key)
    const bytes = (await plain?.getBuffer(name)) as Buffer
    await plain?.setrange(name, bytes.byteLength - 1, Buffer.of((bytes.at(-1) as number) ^ 1))
  }
  return { backend: open(), reopen: () => Promise.resolve(open()), ...(plain === undefined ? {} : { damage }) }
}

/** Redis takes no streams, and says nothing of its room; it forgets what was put when it ends, as far as a cache may rely on. */
const WITHOUT: readonly Feature[] = ['streams', 'reopening', 'room']
/** Of one kind of connection all is tried, of the others what may depend on it. */
const ALSO_WITHOUT: readonly Feature[] = [...WITHOUT, 'damage', 'outage']

/** Starts servers for the suites of the block. */
function serving<S extends { stop(): Promise<void> }>(start: () => Promise<S>): () => S {
  let servers: S | undefined
  beforeAll(async () => void (servers = await start()), 30_000)
  afterAll(() => servers?.stop())
  return () => servers as S
}

describeRedis('one server', () => {
  const server = serving(startRedis)
  let client: Redis
  beforeAll(() => void (client = new Redis(server().url)))
  afterAll(() => client.disconnect())

  describeBackend({ name: 'redis', create: () => behindProxy(server().port, (port) => subject({ url: `redis://127.0.0.1:${port}` }, { plain: client })), without: WITHOUT })
  describeBackend({ name: 'redis with one connection', create: () => subject({ url: server().url, pool: { maxConnections: 1 } }), without: ALSO_WITHOUT })
  describeBackend({ name: 'redis with a client of the user’s', create: () => subject({ client }), without: ALSO_WITHOUT })
  describeBackend({ name: 'redis under circuit breaker, timeout and retry', create: () => subject({ url: server().url }, { layer: guarded(5000) }), without: ALSO_WITHOUT })
})

describeTls('TLS and a user with few rights', () => {
  const server = serving(startTlsRedis)
  describeBackend({ name: 'redis', create: () => subject({ url: server().url, tls: { ca: server().ca, cert: server().cert, key: server().key } }), without: ALSO_WITHOUT })
})

describeRedis('Cluster', () => {
  const cluster = serving(startCluster)
  let client: Cluster
  beforeAll(() => void (client = new Cluster(cluster().addresses)))
  afterAll(() => client.disconnect())

  describeBackend({ name: 'redis', create: () => subject({ cluster: cluster().addresses }, { plain: client }), without: [...WITHOUT, 'outage'] })
  describeBackend({ name: 'redis with a client of the user’s', create: () => subject({ client }), without: ALSO_WITHOUT })
})

describeRedis('Sentinel', () => {
  const group = serving(startSentinel)
  describeBackend({ name: 'redis', create: () => subject({ sentinel: { name: group().name, sentinels: group().addresses } }), without: ALSO_WITHOUT })
})
