import type { ConfigurationInput, TierInput } from '../configuration.js'
import { ProblemList } from '../problems/problem-list.js'
import { checkEnvironment } from '../options.js'
import { parseConfig } from '../parse-config.js'
import { EnvironmentReader } from './environment-reader.js'
import { literally, type Environment } from './substitute.js'

/**
 * A configuration from the environment alone, to be given to `loadCache`, as it is or with policies added. Variables
 * that are not set or empty are as if they were not there:
 *
 * - `REDIS_URL`, or `REDIS_HOST` with `REDIS_PORT`: a tier `redis`. To either: `REDIS_DB`, `REDIS_PASSWORD` or `REDIS_AUTH`,
 *   `REDIS_TLS_ENABLED`, `REDIS_POOL_MAX_CONNECTIONS`, `REDIS_POOL_TIMEOUT`
 * - `CACHE_MAX_SIZE` (bytes, or `512mb`): the most bytes of a tier `memory` above it. Without Redis that tier exists in any case
 * - `CACHE_ENABLED`, and `CACHE_DEFAULT_TTL` (`15m`, seconds, or `null` for ever) or, when that is absent, `CACHE_TTL_SECONDS`
 *
 * @throws TypeError for an environment whose variables are not text
 * @throws ConfigError that lists every variable that cannot be used, by name and without its value
 *
 * @example
 * ```ts
 * const cache = await loadCache({ ...configFromEnv(), policies: { frames: { redis: true, ttl: '1d' } } })
 * ```
 */
export function configFromEnv(env: Environment = process.env): ConfigurationInput {
  checkEnvironment('configFromEnv(env)', env)
  const problems = new ProblemList({})
  const read = new EnvironmentReader(env, problems)
  const maxSize = read.size('CACHE_MAX_SIZE')
  const redis = redisTier(read)
  const memory: TierInput = { backend: 'memory', ...(maxSize === undefined ? {} : { config: { max_size: maxSize } }) }
  const enabled = read.flag('CACHE_ENABLED')
  const defaultTtl = read.ttl('CACHE_DEFAULT_TTL', 'CACHE_TTL_SECONDS')
  problems.throwIfAny()
  const configuration: ConfigurationInput = {
    ...(enabled === undefined ? {} : { enabled }),
    ...(defaultTtl === undefined ? {} : { default_ttl: defaultTtl }),
    tiers: { ...(redis === undefined || maxSize !== undefined ? { memory } : {}), ...(redis === undefined ? {} : { redis }) },
  }
  parseConfig(configuration, { env: {} })
  return configuration
}

function redisTier(read: EnvironmentReader): TierInput | undefined {
  const url = read.text('REDIS_URL')
  const host = read.text('REDIS_HOST')
  if (url === undefined && host === undefined) return undefined
  const settings = {
    ...(url === undefined ? { host, port: read.port('REDIS_PORT') } : { url: read.redisUrl('REDIS_URL') }),
    db: read.wholeNumber('REDIS_DB', 0),
    password: read.secret('REDIS_PASSWORD') ?? read.secret('REDIS_AUTH'),
    tls: read.flag('REDIS_TLS_ENABLED'),
    pool: present({ max_connections: read.wholeNumber('REDIS_POOL_MAX_CONNECTIONS', 1), timeout: read.duration('REDIS_POOL_TIMEOUT') }),
  }
  return { backend: 'redis', config: present(settings) ?? {} }
}

/** The properties that are there, as text that is not looked at for variables again; `undefined` when there are none. */
function present(properties: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> | undefined {
  const there = Object.entries(properties).filter(([, value]) => value !== undefined)
  if (there.length === 0) return undefined
  return Object.fromEntries(there.map(([name, value]) => [name, typeof value === 'string' ? literally(value) : value]))
}
