import { afterAll, beforeAll } from '@jest/globals'
import { validateTenant, TenantScope } from '@thermocline/backend'
import { CircuitBreaker, retry, timeout } from '@thermocline/core'
import { systemClock, type Layer } from '@thermocline/backend'
import { RedisBackend, type RedisBackendOptions } from '@thermocline/redis'
import { describeBackend, type Feature, type Subject } from '@thermocline/testkit'
import { Cluster, Redis } from 'ioredis'
import { startProxy } from '../../../test/support/proxy.js'
import { describeRedis, describeTls, startCluster, startRedis, startSentinel, startTlsRedis } from '../../../test/support/redis/index.js'
import { Names } from '../src/names.js'

let subjects = 0

/** A backend in a part of the server that no other subject uses, as empty as a new server. */
function subject(options: RedisBackendOptions, more: { readonly layer?: Layer; readonly plain?: Redis | Cluster; readonly fail?: () => Promise<void> } = {}): Subject {
  const keyPrefix = `tc:${++subjects}:`
  const { layer = (inner: ReturnType<Layer>) => inner, plain, fail } = more
  const open = (): ReturnType<Layer> => layer(new RedisBackend({ ...options, keyPrefix }))
  const damage = async (tenant: string, key: string): Promise<void> => {
    const name = new Names(keyPrefix).of(new TenantScope(validateTenant(tenant)), key)
    const bytes = (await plain?.getBuffer(name)) as Buffer
    await plain?.setrange(name, bytes.byteLength - 1, Buffer.of((bytes.at(-1) as number) ^ 1))
  }
  return { backend: open(), reopen: () => Promise.resolve(open()), fail, ...(plain === undefined ? {} : { damage }) }
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

const clock = systemClock
/** As a manager wraps each tier. */
function guarded(): Layer {
  const retried = retry({ clock, attempts: 3, baseDelayMs: 1 })
  const timed = timeout({ clock, budgetMs: 5000 })
  const breaker = new CircuitBreaker({ clock, failureThreshold: 5 })
  return (inner) => breaker.layer(timed(retried(inner)))
}

describeRedis('one server', () => {
  const server = serving(startRedis)
  let client: Redis
  beforeAll(() => void (client = new Redis(server().url)))
  afterAll(() => client.disconnect())

  const behindProxy = async (): Promise<Subject> => {
    const proxy = await startProxy(server().port)
    return subject({ url: `redis://127.0.0.1:${proxy.port}` }, { plain: client, fail: () => proxy.close() })
  }
  describeBackend({ name: 'redis', create: behindProxy, without: WITHOUT })
  describeBackend({ name: 'redis with one connection', create: () => subject({ url: server().url, pool: { maxConnections: 1 } }), without: ALSO_WITHOUT })
  describeBackend({ name: 'redis with a client of the user’s', create: () => subject({ client }), without: ALSO_WITHOUT })
  describeBackend({ name: 'redis under circuit breaker, timeout and retry', create: () => subject({ url: server().url }, { layer: guarded() }), without: ALSO_WITHOUT })
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
