import { execFile } from 'node:child_process'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals'
import { configFromEnv, loadCache, type ConfigurationInput, type LoadOptions } from '@thermocline/config'
import type { CacheError } from '@thermocline/backend'
import type { TieredCacheManager } from '@thermocline/core'
import {
  describeRedis,
  describeTls,
  startCluster,
  startRedis,
  startSentinel,
  startTlsRedis,
  type RedisCluster,
  type RedisSentinel,
  type RedisServer,
  type TlsRedisServer,
} from '../../../test/support/redis/index.js'
import { until } from '../../../test/support/servers/until.js'
import { afterwards, temporaryDirectory } from '../../../test/support/afterwards.js'

jest.retryTimes(2, { logErrorsBeforeRetry: true }) // latency on a machine that runs other suites at the same time

const CONFIGS = path.resolve(import.meta.dirname, '../../../configs')

/** A cache that ends with the test, and the errors that it reports. */
async function cacheOf(source: string | ConfigurationInput, options: LoadOptions = {}): Promise<{ cache: TieredCacheManager; errors: CacheError[] }> {
  const cache = await loadCache(source, { logger: false, ...options })
  const errors: CacheError[] = []
  cache.on('error', ({ error }) => errors.push(error))
  afterwards(() => cache.close())
  return { cache, errors }
}

const example = (name: string, env: Record<string, string>) => cacheOf(path.join(CONFIGS, name), { env })

/** What one process stores, another finds in the tier that they share. */
async function expectShared(load: () => Promise<{ cache: TieredCacheManager; errors: CacheError[] }>): Promise<void> {
  const [{ cache: one, errors }, { cache: other }] = await Promise.all([load(), load()])
  await one.tenant('acme').set('pages/a', { text: 'x' })
  expect(await other.tenant('acme').lookup('pages/a')).toMatchObject({ status: 'fresh', tier: 'shared', value: { text: 'x' } })
  expect(errors).toEqual([])
}

describeRedis('REDIS_ variables arrive in the server', () => {
  let server: RedisServer
  const password = 'p@ss${word}/:'
  beforeAll(async () => void (server = await startRedis({ password })))
  afterAll(() => server.stop())

  const inParts = (): Record<string, string> => ({ REDIS_HOST: '127.0.0.1', REDIS_PORT: String(server.port), REDIS_PASSWORD: password, REDIS_DB: '3' })
  /** The connections that clients have to database 3. */
  const connections = async (): Promise<number> => String(await server.command('CLIENT', 'LIST')).split('\n').filter((line) => line.includes(' db=3 ')).length

  test.each<[string, () => Record<string, string>]>([
    ['REDIS_HOST, _PORT, _PASSWORD, _DB', inParts],
    ['REDIS_AUTH for the password', () => ({ ...inParts(), REDIS_PASSWORD: '', REDIS_AUTH: password })],
    ['REDIS_URL, and _DB beside it', () => ({ REDIS_URL: server.url, REDIS_DB: '3' })],
    ['REDIS_URL with the database in it', () => ({ REDIS_URL: `${server.url}/3` })],
    ['REDIS_URL, and _PASSWORD beside it', () => ({ REDIS_URL: `redis://127.0.0.1:${server.port}/3`, REDIS_PASSWORD: password })],
  ])('%s', async (_, env) => {
    const { cache, errors } = await cacheOf(configFromEnv(env()))
    const acme = cache.tenant('acme')
    await acme.set('a', 1)
    expect(await acme.lookup('a')).toMatchObject({ status: 'fresh', tier: 'redis', value: 1 })
    expect(await server.info('keyspace', 'db3')).toMatch(/^keys=2,/) // the entry, and the log of what processes agree about
    expect(await server.info('keyspace', 'db0')).toBeUndefined()
    expect(await acme.delete('a')).toBe(true)
    expect(errors).toEqual([])
  })

  test('a wrong password is told, and the cache works all the same', async () => {
    const { cache, errors } = await cacheOf(configFromEnv({ ...inParts(), REDIS_PASSWORD: 'wrong' }))
    expect(await cache.tenant('acme').getOrCompute('a', () => 1)).toBe(1)
    expect(errors[0]?.message).toContain('check username and password')
    expect(errors.map(({ message }) => message).join()).not.toContain(password)
  })

  test.each([
    ['1', 1],
    ['3', 3],
  ])('REDIS_POOL_MAX_CONNECTIONS=%s', async (most, expected) => {
    await until('no connections are left', async () => (await connections()) === 0)
    const { cache } = await cacheOf(configFromEnv({ ...inParts(), REDIS_POOL_MAX_CONNECTIONS: most }))
    const large = Buffer.alloc(300_000, 1)
    for (const key of ['a', 'b', 'c', 'd']) await cache.tenant('acme').set(key, large)
    expect(await connections()).toBe(expected + 1) // the one over which other processes are heard
    await cache.tenant('acme').clear()
  })

  test('REDIS_POOL_TIMEOUT', async () => {
    const stopped = await startRedis()
    stopped.pause() // the kernel takes connections for it, and no TLS handshake is ever answered
    try {
      const { cache, errors } = await cacheOf(configFromEnv({ REDIS_URL: stopped.url, REDIS_TLS_ENABLED: 'true', REDIS_POOL_TIMEOUT: '20ms' }))
      expect(await cache.tenant('acme').getOrCompute('a', () => 1)).toBe(1)
      expect(errors.map(({ message }) => message).join()).toContain('not connected within 20 ms')
    } finally {
      await stopped.stop()
    }
  })

  test('CACHE_ variables: a memory tier of that size above it, the time to live, and the switch', async () => {
    const env = { ...inParts(), CACHE_MAX_SIZE: '1mb', CACHE_DEFAULT_TTL: '90s' }
    const { cache } = await cacheOf(configFromEnv(env))
    const acme = cache.tenant('acme')
    await acme.set('a', 'x'.repeat(10))
    expect(await acme.lookup('a')).toMatchObject({ tier: 'memory' })
    const withoutMemory = await cacheOf(configFromEnv(inParts()))
    const found = await withoutMemory.cache.tenant('acme').lookup('a')
    if (found.status === 'miss') throw new Error('not found')
    expect(found.tier).toBe('redis')
    expect(found.expiresAt! - found.createdAt).toBe(90_000)
    await acme.set('b', 'x'.repeat(2_000_000)) // more than the memory tier holds
    expect(await acme.lookup('b', { value: false })).toMatchObject({ tier: 'redis' })
    const off = await cacheOf(configFromEnv({ ...env, CACHE_ENABLED: 'off' }))
    expect(await off.cache.tenant('acme').get('a')).toBeUndefined()
    await acme.clear()
  })
})

describeTls('REDIS_TLS_ENABLED', () => {
  let server: TlsRedisServer
  beforeAll(async () => void (server = await startTlsRedis({ clientCertificates: 'optional' })))
  afterAll(() => server.stop())

  test('encrypts what REDIS_HOST and REDIS_PORT name; the authority comes from NODE_EXTRA_CA_CERTS', async () => {
    await server.command('ACL', 'SETUSER', 'default', 'on', '>secret', '~tc:*', '+@all', '-@dangerous')
    const script = `import { configFromEnv, loadCache } from ${JSON.stringify(pathToFileURL(path.resolve(import.meta.dirname, '../dist/index.js')).href)}
      const cache = await loadCache(configFromEnv())
      await cache.tenant('acme').set('a', 'over TLS')
      console.log((await cache.tenant('acme').lookup('a')).tier)
      await cache.close()`
    const env = { REDIS_HOST: 'localhost', REDIS_PORT: String(server.port), REDIS_PASSWORD: 'secret', REDIS_TLS_ENABLED: 'true', NODE_EXTRA_CA_CERTS: server.files.ca, PATH: process.env['PATH'] }
    const { stdout, stderr } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', script], { env })
    expect({ stdout, stderr }).toEqual({ stdout: 'redis\n', stderr: '' })
    expect(await server.command('EXISTS', 'tc:acme:a')).toBe(1)
  })
})

describeRedis('loading waits for no server', () => {
  test.each([
    ['one that refuses', { url: 'redis://127.0.0.1:1' }],
    ['one that does not exist', { url: 'redis://none.invalid' }],
    ['one that cannot be reached', { host: '192.0.2.1' }],
    ['a cluster', { cluster: ['redis://127.0.0.1:1', 'redis://127.0.0.1:2'] }],
    ['sentinels', { sentinel: { name: 'm', sentinels: [{ host: '127.0.0.1', port: 1 }] } }],
  ])('%s', async (_, config) => {
    const startedAt = performance.now()
    const { cache } = await cacheOf({ tiers: { hot: { backend: 'redis', config } } })
    expect(performance.now() - startedAt).toBeLessThan(200)
    let computed = 0
    expect(await cache.tenant('acme').getOrCompute('a', () => ++computed)).toBe(1)
    expect(await cache.tenant('acme').getOrCompute('a', () => ++computed)).toBe(2)
    expect(performance.now() - startedAt).toBeLessThan(1500)
  })

  test.each<[string, ConfigurationInput['tiers']]>([
    ['in `config`', { hot: { backend: 'redis', config: { url: 'redis://127.0.0.1:1', fallback: { max_entries: 2 } } } }],
    ['in the tier', { hot: { backend: 'redis', config: { url: 'redis://127.0.0.1:1' }, fallback: { max_entries: 2 } } }],
  ])('`fallback` %s stands in meanwhile, up to its limit', async (_, tiers) => {
    const { cache } = await cacheOf({ ...(tiers === undefined ? {} : { tiers }) })
    const acme = cache.tenant('acme')
    await acme.get('anything') // the tier is found to be down
    for (const key of ['a', 'b', 'c']) await acme.getOrCompute(key, () => key)
    expect([await acme.get('a'), await acme.get('b'), await acme.get('c')]).toEqual([undefined, 'b', 'c'])
  })
})

describe('the settings that are compared', () => {
  describeRedis('with a real server', () => {
    let server: RedisServer
    beforeAll(async () => void (server = await startRedis({ maxmemory: '64mb', maxmemoryPolicy: 'allkeys-lru' })))
    afterAll(() => server.stop())

    test('agree silently, and differ with a report of each difference', async () => {
      const agreeing = await cacheOf({ tiers: { hot: { backend: 'redis', config: { url: server.url, max_memory: '64mb', eviction_policy: 'allkeys-lru' } } } })
      await agreeing.cache.tenant('acme').set('a', 1)
      const other = await cacheOf({ tiers: { hot: { backend: 'redis', config: { url: server.url, max_memory: '2gb', eviction_policy: 'noeviction' } } } })
      await other.cache.tenant('acme').set('a', 1)
      await until('both differences are reported', async () => other.errors.length === 2)
      expect(other.errors.map(({ message }) => message)).toEqual([
        expect.stringContaining('maxmemory is 67108864 bytes and ought to be 2147483648 bytes; nothing was changed'),
        expect.stringContaining('maxmemory-policy is allkeys-lru and ought to be noeviction; nothing was changed'),
      ])
      expect(agreeing.errors).toEqual([])
    })
  })
})

describeRedis('the example files', () => {
  test('redis.yaml: memory, Redis and disk', async () => {
    const server = await startRedis({ maxmemoryPolicy: 'allkeys-lru' })
    afterwards(() => server.stop())
    const env = { REDIS_URL: server.url, CACHE_DIR: temporaryDirectory() }
    await expectShared(() => example('redis.yaml', env))
    const { cache } = await example('redis.yaml', env)
    await cache.tenant('acme').set('embeddings/a', new Float32Array(3))
    expect(await cache.tenant('acme').lookup('embeddings/a')).toMatchObject({ tier: 'warm', expiresAt: null })
    await cache.tenant('acme').set('profiles/a', 1)
    expect(await server.command('KEYS', '*')).toEqual(expect.arrayContaining(['tc:acme:pages/a', 'tc:acme:profiles/a']))
  })

  test('redis-cluster.yaml', async () => {
    const cluster: RedisCluster = await startCluster()
    afterwards(() => Promise.all(cluster.nodes.map((node) => node.stop())))
    const nodes = Object.fromEntries(cluster.addresses.map(({ host, port }, index) => [`REDIS_NODE_${index + 1}`, `redis://${host}:${port}`]))
    await expectShared(() => example('redis-cluster.yaml', { ...nodes, REDIS_EVICTION_POLICY: 'noeviction' }))
  }, 30_000)

  test('redis-sentinel.yaml', async () => {
    const group: RedisSentinel = await startSentinel({ password: 'secret' })
    afterwards(() => group.stop())
    const sentinels = Object.fromEntries(group.addresses.flatMap(({ host, port }, index) => [[`SENTINEL_${index + 1}_HOST`, host], [`SENTINEL_${index + 1}_PORT`, String(port)]]))
    await expectShared(() => example('redis-sentinel.yaml', { ...sentinels, REDIS_SENTINEL_NAME: group.name, REDIS_PASSWORD: 'secret' }))
  }, 30_000)
})

describeTls('the example file with TLS', () => {
  test('redis-tls.yaml: an authority of our own, a client certificate and a user with few rights', async () => {
    const server = await startTlsRedis()
    afterwards(() => server.stop())
    const env = { REDIS_URL: `rediss://localhost:${server.port}`, REDIS_USERNAME: server.app.username, REDIS_PASSWORD: server.app.password }
    const files = { REDIS_CA_FILE: server.files.ca, REDIS_CERT_FILE: server.files.cert, REDIS_KEY_FILE: server.files.key }
    await expectShared(() => example('redis-tls.yaml', { ...env, ...files }))
    expect(await server.command('EXISTS', 'tc:acme:pages/a')).toBe(1)
  })
})
