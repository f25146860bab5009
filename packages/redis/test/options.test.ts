import { inspect } from 'node:util'
import { describe, expect, test } from '@jest/globals'
import { RedisBackend, type RedisBackendOptions } from '@thermocline/redis'
import { Cluster, Redis } from 'ioredis'
import { checkOptions } from '../src/options.js'

const SECRET = 'hunter2'

/** What TypeScript would not let pass. */
function made(options: unknown): RedisBackend {
  return new RedisBackend(options as RedisBackendOptions)
}

describe('what is wrong with options', () => {
  const sentinels = [{ host: 'a' }]
  test.each<[options: unknown, says: RegExp]>([
    ['redis://localhost', /needs an object .* not string/],
    [null, /needs an object .* not null/],
    [{ ulr: 'redis://localhost' }, /^new RedisBackend\(options\) does not know the option ulr; did you mean url\?/],
    [{ key_prefix: 'a:' }, /does not know the option key_prefix; did you mean keyPrefix\?/],
    [{ pool: { maxConections: 2 } }, /^pool does not know the option maxConections; did you mean maxConnections\?/],
    [{ cluster: [{ host: 'a' }, { hots: 'b' }] }, /^cluster\[1\] does not know the option hots; did you mean host\?/],
    [{ sentinel: { nmae: 'main', sentinels } }, /^sentinel does not know the option nmae; did you mean name\?/],
    [{ sentinel: { name: 'main', sentinels: [{ host: 'a', prot: 1 }] } }, /^sentinel.sentinels\[0\] does not know the option prot; did you mean port\?/],
    [{ url: 'localhost:6379' }, /^url must be an address such as redis:/],
    [{ url: 'http://localhost' }, /^url must be an address such as redis:/],
    [{ url: 6379 }, /^url must be .* not 6379/],
    [{ url: '' }, /^url must be/],
    [{ url: 'redis://localhost/cache' }, /^url must end in the number of a database/],
    [{ url: 'redis://u:50%@localhost' }, /^url must have username and password percent-encoded/],
    [{ host: '' }, /^host must be a name or an address, not an empty string/],
    [{ host: 1 }, /^host must be a name or an address, not 1/],
    [{ port: 0 }, /^port must be a whole number from 1 to 65535, not 0/],
    [{ port: '6379' }, /^port must be a whole number from 1 to 65535, not string/],
    [{ port: 70_000 }, /^port must be .* not 70000/],
    [{ db: -1 }, /^db must be a whole number of at least 0, not -1/],
    [{ db: '1' }, /^db must be .* not string/],
    [{ username: 1 }, /^username must be a string, not 1/],
    [{ password: 1 }, /^password must be a string, not 1/],
    [{ password: null }, /^password must be a string, not null/],
    [{ tls: 'yes' }, /^tls must be true, false or TLS options, not string/],
    [{ keyPrefix: '' }, /^keyPrefix must be a non-empty string, not an empty string/],
    [{ keyPrefix: 1 }, /^keyPrefix must be a non-empty string, not 1/],
    [{ keyPrefix: 'a\ud800' }, /^keyPrefix must be well-formed/],
    [{ maxPayloadBytes: 0 }, /^maxPayloadBytes must be a positive whole number, not 0/],
    [{ maxPayloadBytes: '8mb' }, /^maxPayloadBytes must be .* not string/],
    [{ maxMemory: '2gb' }, /^maxMemory must be a whole number of bytes, not string/],
    [{ maxMemory: 1.5 }, /^maxMemory must be .* not 1.5/],
    [{ evictionPolicy: 1 }, /^evictionPolicy must be a string, not 1/],
    [{ pool: 2 }, /^pool must be \{ maxConnections, timeout \}, not 2/],
    [{ pool: null }, /^pool must be .* not null/],
    [{ pool: { maxConnections: 0 } }, /^pool.maxConnections must be a positive whole number, not 0/],
    [{ pool: { timeout: 'soon' } }, /pool.timeout/],
    [{ pool: { timeout: -1 } }, /pool.timeout/],
    [{ cluster: [] }, /^cluster must be a list of at least one node, not an empty list/],
    [{ cluster: 'redis://a' }, /^cluster must be a list .* not string/],
    [{ cluster: [{ host: 'a' }, 5] }, /^cluster\[1\] must be \{ host, port \}, not 5/],
    [{ cluster: [{ host: 'a' }, { port: -1 }] }, /^cluster\[1\]\.port must be/],
    [{ cluster: ['nonsense'] }, /^cluster\[0\] must be an address/],
    [{ cluster: ['redis://a/1'] }, /^db must be 0 in a cluster/],
    [{ cluster: [{ host: 'a' }], db: 1 }, /^db must be 0 in a cluster, not 1/],
    [{ sentinel: 'main' }, /^sentinel must be \{ name, sentinels \}/],
    [{ sentinel: { sentinels } }, /^sentinel must be \{ name, sentinels \}/],
    [{ sentinel: { name: 'main' } }, /^sentinel.sentinels must be a list of at least one address, not undefined/],
    [{ sentinel: { name: 'main', sentinels: [] } }, /^sentinel.sentinels must be .* not an empty list/],
    [{ sentinel: { name: 'main', sentinels: [7] } }, /^sentinel.sentinels\[0\] must be/],
    [{ sentinel: { name: 'main', sentinels, password: 1 } }, /^sentinel.password must be a string, not 1/],
    [{ client: {} }, /^client must be a Redis or Cluster of ioredis, not object/],
    [{ client: 'redis://a' }, /^client must be a Redis or Cluster of ioredis, not string/],
    [{ url: 'redis://a', host: 'b' }, /^give one of client, cluster, sentinel, url and host, not url and host/],
    [{ url: 'redis://a', port: 1 }, /^give one of .* not url and host/],
    [{ cluster: [{ host: 'a' }], sentinel: { name: 'main', sentinels } }, /^give one of .* not cluster and sentinel/],
  ])('%j', (options, says) => {
    expect(() => made(options)).toThrow(TypeError)
    expect(() => made(options)).toThrow(says)
  })

  test('a client with a keyPrefix is refused, and told what to do', () => {
    const client = new Redis({ lazyConnect: true, keyPrefix: 'mine:' })
    const cluster = new Cluster([{ host: 'a' }], { lazyConnect: true, redisOptions: { keyPrefix: 'mine:' } })
    for (const one of [client, cluster]) {
      expect(() => made({ client: one })).toThrow(/client must not have a keyPrefix \(it has "mine:"\).*new RedisBackend\(\{ client, keyPrefix \}\)/)
      one.disconnect()
    }
  })

  test('never says what is secret', () => {
    const wrong: unknown[] = [
      { url: `redis://u:${SECRET}@localhost:x` },
      { url: SECRET },
      { url: `redis://u:${SECRET}%@localhost` },
      { url: `redis://u:${SECRET}@localhost/db` },
      { cluster: [`redis://u:${SECRET}@`, SECRET] },
      { host: 'a', password: [SECRET] },
      { tls: SECRET },
      { sentinel: { name: 'main', sentinels: [SECRET], password: SECRET } },
      SECRET,
    ]
    for (const options of wrong) {
      let said = ''
      try {
        made(options)
      } catch (error) {
        said = inspect(error)
      }
      expect(said).toMatch(/TypeError/)
      expect(said).not.toContain(SECRET)
    }
  })

  test('a backend does not show it either', () => {
    expect(inspect(made({ url: `redis://u:${SECRET}@localhost` }), { depth: 8, showHidden: true })).not.toContain(SECRET)
  })
})

describe('urls and what stands beside them', () => {
  const serverOf = (options: RedisBackendOptions): unknown => {
    const { target } = checkOptions(options)
    return 'server' in target ? target.server : undefined
  }
  const plain = { host: 'localhost', port: 6379, username: undefined, password: undefined, db: 0, tls: undefined }

  test.each<[options: RedisBackendOptions, server: object]>([
    [{}, {}],
    [{ port: 7000 }, { port: 7000 }],
    [{ host: 'cache' }, { host: 'cache' }],
    [{ url: 'redis://' }, {}],
    [{ url: 'redis://cache' }, { host: 'cache' }],
    [{ url: 'redis://cache:7000/3' }, { host: 'cache', port: 7000, db: 3 }],
    [{ url: 'redis://cache?db=3' }, { host: 'cache', db: 3 }],
    [{ url: 'redis://:p%40ss@cache' }, { host: 'cache', password: 'p@ss' }],
    [{ url: 'redis://app:secret@cache' }, { host: 'cache', username: 'app', password: 'secret' }],
    [{ url: 'redis://[::1]:7000' }, { host: '::1', port: 7000 }],
    [{ url: 'rediss://cache' }, { host: 'cache', tls: {} }],
    [{ url: 'redis://cache', tls: true }, { host: 'cache', tls: {} }],
    [{ url: 'rediss://cache', tls: false }, { host: 'cache' }],
    [{ url: 'rediss://cache', tls: { servername: 'x' } }, { host: 'cache', tls: { servername: 'x' } }],
    [{ url: 'redis://app:secret@cache/1', password: 'other', db: 2 }, { host: 'cache', username: 'app', password: 'other', db: 2 }],
    [{ cluster: ['rediss://app:secret@a:7000', { host: 'b' }] }, { host: 'a', port: 7000, username: 'app', password: 'secret', tls: {} }],
    [{ sentinel: { name: 'main', sentinels: [{ host: 'a' }] }, password: 'secret' }, { password: 'secret' }],
  ])('%j', (options, server) => {
    expect(serverOf(options)).toEqual({ ...plain, ...server })
  })
})
