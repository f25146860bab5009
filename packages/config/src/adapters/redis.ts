import { choice, flag, interval, list, map, size, text, ttl, wholeNumber } from '../schema/fields.js'
import type { BuiltIn } from './built-in-adapter.js'
import { camelCased } from './camel-case.js'

const ADDRESS = { pattern: '^rediss?://', expected: 'an address such as redis://localhost:6379 or rediss://cache.example.org:6380/1' }

const port = wholeNumber('The port.', 1, { maximum: 65_535, default: 6379 })
const node = map('Where a server is.', { host: text('A name or an address.'), port }, { required: ['host'] })

export const redis: BuiltIn = {
  packageName: '@thermocline/redis',
  className: 'RedisBackend',
  configSchema: map(
    'A Redis or Valkey server, cluster or sentinel group.',
    {
      url: text('The address, redis:// or rediss:// (TLS).', ADDRESS),
      host: text('A name or an address, instead of url.'),
      port,
      db: wholeNumber('The number of the database.', 0, { default: 0 }),
      username: text('The user, where the server has users.'),
      password: text('The password. Take it from the environment: ${REDIS_PASSWORD}.'),
      tls: flag('Whether the connection is encrypted.', false),
      key_prefix: text('What every key begins with in the server.', { default: 'tc:' }),
      cluster: list('Some nodes of a cluster, each an address or { host, port }.', {
        ...node,
        type: ['string', 'object'],
        ...ADDRESS,
        expected: 'an address such as redis://node-1:6379, or a map of host and port',
      }),
      sentinel: map(
        'A group that sentinels watch.',
        { name: text('The name of the group.'), sentinels: list('Where the sentinels are.', node) },
        { required: ['name', 'sentinels'] },
      ),
      pool: map('Connections.', {
        max_connections: wholeNumber('The most connections.', 1),
        timeout: interval('How long to wait for a connection.'),
      }),
      max_memory: size("The server's maxmemory as it ought to be: compared and a difference reported, never changed by itself."),
      eviction_policy: choice("The server's maxmemory-policy as it ought to be: compared and a difference reported, never changed by itself.", [
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
      fallback: map('Memory that stands in while the server cannot be reached.', { max_entries: wholeNumber('The most entries kept there.', 1) }),
      default_ttl: ttl('The same as default_ttl of the tier.'),
    },
    { exclusive: ['url', 'host', 'cluster', 'sentinel'] },
  ),
  options: camelCased,
}
