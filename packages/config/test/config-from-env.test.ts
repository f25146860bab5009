import { describe, expect, test } from '@jest/globals'
import { ConfigError, configFromEnv, loadCache, parseConfig } from '@thermocline/config'

describe('a configuration from the environment alone', () => {
  test('is a memory tier where nothing is set', async () => {
    expect(configFromEnv({})).toEqual({ tiers: { memory: { backend: 'memory' } } })
    const cache = await loadCache(configFromEnv({ CACHE_MAX_SIZE: '1mb', CACHE_DEFAULT_TTL: '15m' }))
    expect(await cache.tenant('acme').getOrCompute('a', () => 1)).toBe(1)
    await cache.close()
  })

  test('reads every CACHE_ variable', () => {
    expect(configFromEnv({ CACHE_ENABLED: '0', CACHE_TTL_SECONDS: '90', CACHE_MAX_SIZE: '1048576' })).toEqual({
      enabled: false,
      default_ttl: 90,
      tiers: { memory: { backend: 'memory', config: { max_size: 1_048_576 } } },
    })
    expect(configFromEnv({ CACHE_DEFAULT_TTL: 'null', CACHE_TTL_SECONDS: '90' }).default_ttl).toBeNull()
    expect(configFromEnv({ CACHE_DEFAULT_TTL: '', CACHE_TTL_SECONDS: '90' }).default_ttl).toBe(90)
  })

  test('has a redis tier where REDIS_URL or REDIS_HOST is set, below memory where that has a size', () => {
    expect(configFromEnv({ REDIS_URL: 'redis://cache:6379/2', REDIS_HOST: 'other' }).tiers).toEqual({ redis: { backend: 'redis', config: { url: 'redis://cache:6379/2' } } })
    const env = { REDIS_HOST: 'cache', REDIS_PORT: '6380', REDIS_DB: '1', REDIS_PASSWORD: ' p ', REDIS_AUTH: 'q', REDIS_TLS_ENABLED: 'true', REDIS_POOL_MAX_CONNECTIONS: '5', REDIS_POOL_TIMEOUT: '250ms', CACHE_MAX_SIZE: '5mb' }
    const { tiers = {} } = configFromEnv(env)
    expect(Object.keys(tiers)).toEqual(['memory', 'redis'])
    expect(tiers['redis']?.config).toEqual({ host: 'cache', port: 6380, db: 1, password: ' p ', tls: true, pool: { max_connections: 5, timeout: '250ms' } })
    expect(configFromEnv({ REDIS_HOST: 'cache', REDIS_AUTH: 'q' }).tiers?.['redis']?.config).toEqual({ host: 'cache', password: 'q' })
  })

  test('takes the port out of what Kubernetes sets for a service named redis', () => {
    expect(configFromEnv({ REDIS_HOST: 'cache', REDIS_PORT: 'tcp://10.0.0.11:6380' }).tiers?.['redis']?.config).toEqual({ host: 'cache', port: 6380 })
    expect(configFromEnv({ REDIS_PORT: 'tcp://10.0.0.11:6380' }).tiers).toEqual({ memory: { backend: 'memory' } })
  })

  test('a password with ${ in it arrives as it is', () => {
    const password = 'a${B}$${C'
    expect(parseConfig(configFromEnv({ REDIS_HOST: 'cache', REDIS_PASSWORD: password })).tiers['redis']?.config).toEqual({ host: 'cache', password })
  })

  test('can be added to', () => {
    expect(parseConfig({ ...configFromEnv({}), policies: { frames: { memory: true, ttl: '1d' } } }).policies).toEqual({ frames: { tiers: { memory: true }, ttl: '1d' } })
  })

  test('lists every variable that cannot be used, without its value', () => {
    const bad = 'hunter2'
    const names = ['CACHE_MAX_SIZE', 'CACHE_ENABLED', 'CACHE_TTL_SECONDS', 'REDIS_URL', 'REDIS_DB', 'REDIS_TLS_ENABLED', 'REDIS_POOL_MAX_CONNECTIONS', 'REDIS_POOL_TIMEOUT']
    let thrown: unknown
    try {
      configFromEnv(Object.fromEntries(names.map((name) => [name, bad])))
    } catch (error) {
      thrown = error
    }
    expect(thrown).toBeInstanceOf(ConfigError)
    expect((thrown as ConfigError).problems.map(({ path }) => path).sort()).toEqual([...names].sort())
    expect((thrown as ConfigError).message).not.toContain(bad)
  })
})
