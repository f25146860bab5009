import { FALLBACK_SCHEMA } from '../schema/caching.js'
import { choice, interval, list, map, size, text, ttl, wholeNumber } from '../schema/fields.js'
import { bytesOf } from '../schema/size.js'
import type { BuiltIn, WrongSetting } from './built-in-adapter.js'
import { TLS_FILES, TLS_SCHEMA, tlsOptions, wrongTls, wrongTlsFiles, type TlsConfig } from './redis-tls.js'

interface Address {
  readonly host: string
  readonly port?: number
}

interface RedisConfig {
  readonly url?: string
  readonly host?: string
  readonly port?: number
  readonly cluster?: readonly (string | Address)[]
  readonly sentinel?: { readonly name: string; readonly sentinels: readonly Address[]; readonly username?: string; readonly password?: string }
  readonly db?: number
  readonly username?: string
  readonly password?: string
  readonly tls?: boolean | TlsConfig
  readonly key_prefix?: string
  readonly pool?: { readonly max_connections?: number; readonly timeout?: number | string }
  readonly max_memory?: number | string
  readonly eviction_policy?: string
}

const ADDRESS = { pattern: '^rediss?://', expected: 'an address such as redis://localhost:6379 or rediss://cache.example.org:6380/1' }

const port = (byDefault: number) => wholeNumber('The port.', 1, { maximum: 65_535, default: byDefault })
const server = (what: string, byDefault: number) => map(what, { host: text('A name or an address.'), port: port(byDefault) }, { required: ['host'] })

export const redis: BuiltIn = {
  packageName: '@thermocline/redis',
  className: 'RedisBackend',
  configSchema: map(
    'A Redis or Valkey server, cluster or sentinel group.',
    {
      url: text('The address, redis:// or rediss:// (TLS).', ADDRESS),
      host: text('A name or an address, instead of url.'),
      port: port(6379),
      cluster: list('Some nodes of a cluster, each an address or { host, port }.', {
        ...server('Where a node is.', 6379),
        type: ['string', 'object'],
        ...ADDRESS,
        expected: 'an address such as redis://node-1:6379, or a map of host and port',
      }),
      sentinel: map(
        'A group that sentinels watch.',
        {
          name: text('The name of the group, such as mymaster.'),
          sentinels: list('Where the sentinels are.', server('Where a sentinel is.', 26_379)),
          username: text('The user of the sentinels themselves, where they have users.'),
          password: text('The password of the sentinels themselves.'),
        },
        { required: ['name', 'sentinels'] },
      ),
      db: wholeNumber('The number of the database. A cluster has only 0.', 0, { default: 0 }),
      username: text('The user, where the server has users.'),
      password: text('The password. Take it from the environment: ${REDIS_PASSWORD}.'),
      tls: TLS_SCHEMA,
      key_prefix: text('What every key begins with in the server.', { default: 'tc:' }),
      pool: map('Connections.', {
        max_connections: wholeNumber('The most connections to a server: one for small payloads, the others for those from 256 KiB on.', 1, { default: 2 }),
        timeout: interval("How long an operation waits for a connection. Default: as long as the tier's budget."),
      }),
      max_memory: size("The server's maxmemory as it ought to be: compared and a difference reported, never changed."),
      eviction_policy: choice("The server's maxmemory-policy as it ought to be: compared and a difference reported, never changed.", [
        'noeviction',
        'allkeys-lru',
        'allkeys-lfu',
        'allkeys-lrm',
        'allkeys-random',
        'volatile-lru',
        'volatile-lfu',
        'volatile-lrm',
        'volatile-random',
        'volatile-ttl',
      ]),
      max_payload_bytes: size('The same as max_payload_bytes of the tier. Default: 8mb.'),
      fallback: FALLBACK_SCHEMA,
      default_ttl: ttl('The same as default_ttl of the tier.'),
    },
    { exclusive: ['url', 'host', 'cluster', 'sentinel'] },
  ),
  files: TLS_FILES,
  wrong(config) {
    const { port: ownPort, db = 0, cluster, tls, ...rest } = config as RedisConfig
    const other = (['url', 'sentinel'] as const).find((name) => rest[name] !== undefined) ?? (cluster === undefined ? undefined : 'cluster')
    const wrong: WrongSetting[] = [...wrongTls(tls)]
    if (ownPort !== undefined && other !== undefined) wrong.push({ path: ['port'], message: `belongs to \`host\`; with \`${other}\` the port stands there` })
    if (cluster !== undefined && db !== 0) wrong.push({ path: ['db'], message: `must be 0, found ${db}: a cluster has only that one` })
    return wrong
  },
  wrongFiles: (config, files) => wrongTlsFiles((config as RedisConfig).tls, files),
  options(config, { files, maxPayloadBytes }) {
    const { url, host, port: ownPort, cluster, sentinel, db, username, password, tls, key_prefix: keyPrefix, pool, max_memory, eviction_policy: evictionPolicy } = config as RedisConfig
    return {
      url,
      host,
      port: ownPort,
      cluster,
      sentinel,
      db,
      username,
      password,
      tls: tlsOptions(tls, files),
      keyPrefix,
      pool: pool === undefined ? undefined : { maxConnections: pool.max_connections, timeout: pool.timeout },
      maxMemory: bytesOf(max_memory),
      evictionPolicy,
      maxPayloadBytes,
    }
  },
}
