import { generateKeyPairSync } from 'node:crypto'
import path from 'node:path'
import { beforeAll, describe, expect, test } from '@jest/globals'
import { loadCache, parseConfig } from '@thermocline/config'
import { RedisBackend } from '@thermocline/redis'
import { redis } from '../src/adapters/redis.js'
import { makeCertificates, type Certificates } from '../../../test/support/redis/certificates.js'
import { tlsAvailable } from '../../../test/support/redis/index.js'
import { temporaryDirectory } from '../../../test/support/afterwards.js'
import { problemsOf, rejection, writeFiles } from './support.js'

const hot = (config: Record<string, unknown>, more: Record<string, unknown> = {}) => ({ tiers: { hot: { backend: 'redis', config, ...more } } })

/** The options that a `config` becomes, without those that are absent. */
function optionsOf(config: Record<string, unknown>, files: ReadonlyMap<string, Buffer> = new Map()): unknown {
  const { config: checked, maxPayloadBytes } = parseConfig(hot(config)).tiers['hot']!
  const options = redis.options(checked, { files, maxPayloadBytes }) as Record<string, unknown>
  expect(() => new RedisBackend(options)).not.toThrow()
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
}

describe('every setting of a redis tier becomes an option of the backend', () => {
  test.each([
    [{}, {}],
    [{ url: 'rediss://a:6380/2', username: 'u', password: 'p', db: 3, key_prefix: 'x:' }, { url: 'rediss://a:6380/2', username: 'u', password: 'p', db: 3, keyPrefix: 'x:' }],
    [{ host: 'a', port: 6380 }, { host: 'a', port: 6380 }],
    [{ port: 6380 }, { port: 6380 }],
    [{ cluster: ['redis://a:1', { host: 'b', port: 2 }, { host: 'c' }] }, { cluster: ['redis://a:1', { host: 'b', port: 2 }, { host: 'c' }] }],
    [
      { sentinel: { name: 'm', sentinels: [{ host: 'a' }, { host: 'b', port: 5 }], username: 'u', password: 'p' } },
      { sentinel: { name: 'm', sentinels: [{ host: 'a' }, { host: 'b', port: 5 }], username: 'u', password: 'p' } },
    ],
    [{ pool: { max_connections: 4, timeout: '100ms' } }, { pool: { maxConnections: 4, timeout: '100ms' } }],
    [{ max_memory: '2gb', eviction_policy: 'allkeys-lru' }, { maxMemory: 2 * 1024 ** 3, evictionPolicy: 'allkeys-lru' }],
    [{ max_memory: 1000 }, { maxMemory: 1000 }],
    [{ max_payload_bytes: '32mb' }, { maxPayloadBytes: 32 * 1024 ** 2 }],
    [{ tls: true }, { tls: true }],
    [{ tls: false }, { tls: false }],
    [{ tls: { server_name: 'cache', reject_unauthorized: false } }, { tls: { servername: 'cache', rejectUnauthorized: false } }],
    [{ default_ttl: 60, fallback: { max_entries: 5 } }, {}],
  ])('%j', (config, options) => {
    expect(optionsOf(config)).toEqual(options)
  })

  test('the content of files stands in for their names', () => {
    const files = new Map([['tls.ca_file', Buffer.from('ca')], ['tls.cert_file', Buffer.from('cert')], ['tls.key_file', Buffer.from('key')]])
    const tls = { ca_file: 'a', cert_file: 'b', key_file: 'c', passphrase: 'p' }
    expect(optionsOf({ tls }, files)).toEqual({ tls: { ca: Buffer.from('ca'), cert: Buffer.from('cert'), key: Buffer.from('key'), passphrase: 'p' } })
  })

  test('what belongs to the tier may stand in `config` or in the tier', () => {
    const expected = { backend: 'redis', config: {}, defaultTtl: 60, maxPayloadBytes: 1024, fallback: { maxEntries: 7 } }
    const settings = { default_ttl: 60, max_payload_bytes: '1kb', fallback: { max_entries: 7 } }
    expect(parseConfig(hot(settings)).tiers['hot']).toEqual(expected)
    expect(parseConfig(hot({}, settings)).tiers['hot']).toEqual(expected)
    const text = 'tiers: { hot: { backend: redis, config: { fallback: { max_entries: "${N}" }, tls: "${T}" } } }'
    expect(parseConfig(text, { env: { N: '7', T: 'yes' } }).tiers['hot']).toEqual({ backend: 'redis', config: { tls: true }, fallback: { maxEntries: 7 } })
  })
})

describe('what is refused', () => {
  test.each([
    [hot({ url: 'redis://a', port: 1 }), 'tiers.hot.config.port: belongs to `host`; with `url` the port stands there'],
    [hot({ cluster: ['redis://a'], db: 3 }), 'tiers.hot.config.db: must be 0, found 3: a cluster has only that one'],
    [hot({ url: 'redis://a', host: 'b' }), 'tiers.hot.config: `url` and `host` exclude each other: give one of them'],
    [hot({ tls: { cert_file: 'a' } }), 'tiers.hot.config.tls.key_file: is missing: a certificate of ours is of no use without its private key'],
    [hot({ tls: { key_file: 'a' } }), 'tiers.hot.config.tls.cert_file: is missing: a private key is of no use without its certificate'],
    [hot({ tls: { passphrase: 'a' } }), 'tiers.hot.config.tls.passphrase: opens nothing: there is no `key_file`'],
    [hot({ tls: { ca: 'a' } }), /^tiers\.hot\.config\.tls\.ca: unknown key/],
    [hot({ tls: 'on' }), /^tiers\.hot\.config\.tls: expected true, false or a map of ca_file/],
    [hot({ max_memory: '2 gigs' }), /^tiers\.hot\.config\.max_memory: expected a whole number of bytes/],
    [hot({ eviction_policy: 'allkeys-lur' }), /did you mean `allkeys-lru`\?$/],
    [hot({ fallback: {} }), 'tiers.hot.config.fallback.max_entries: is missing: expected a whole number of at least 1'],
    [hot({ fallback: { max_entries: 0 } }), 'tiers.hot.config.fallback.max_entries: expected a whole number of at least 1, found 0'],
    [hot({}, { fallback: { max_entires: 1 } }), /^tiers\.hot\.fallback/],
    [hot({ fallback: { max_entries: 1 } }, { fallback: { max_entries: 1 } }), 'tiers.hot.config.fallback: is given twice, here and as fallback of the tier hot: give one of them'],
    [hot({ max_payload_bytes: 1 }, { max_payload_bytes: 1 }), /^tiers\.hot\.config\.max_payload_bytes: is given twice/],
    [{ tiers: { hot: { backend: 'memory', fallback: { max_entries: 1 } } } }, 'tiers.hot.fallback: is memory, and so is this tier: leave it out'],
    [{ tiers: { hot: { backend: 'memory', config: { fallback: { max_entries: 1 } } } } }, /^tiers\.hot\.config\.fallback: unknown key/],
  ])('%j', (given, problem) => {
    expect(problemsOf(given as never)[0]).toEqual(typeof problem === 'string' ? problem : expect.stringMatching(problem))
  })

  test('what only the backend can tell is a problem of its tier, without the address', async () => {
    const { problems } = await rejection(loadCache(hot({ url: 'redis://:hunter2@a/b' })))
    expect(problems).toEqual([{ path: 'tiers.hot.config', message: expect.stringMatching(/^redis refuses these settings: url must end in the number of a database/) }])
  })
})

describe('files that settings name', () => {
  test('are looked for from the directory of the file, then from the working directory; all that are missing are told with everything else', async () => {
    const directory = temporaryDirectory()
    writeFiles(directory, {
      'cache.yaml': `tiers:
  hot:
    backend: redis
    atempts: 1
    config: { tls: { ca_file: certs/none.crt, cert_file: "\${CERT}", key_file: "." } }
`,
    })
    const error = await rejection(loadCache(path.join(directory, 'cache.yaml'), { env: { CERT: '/hunter2' } }))
    const gone = 'names a file that is neither beside the configuration file nor in the working directory'
    expect(error.problems.map(({ path: at, message, line }) => `${line} ${at}: ${message}`)).toEqual([
      expect.stringMatching(/^4 tiers\.hot\.atempts: unknown key/),
      `5 tiers.hot.config.tls.ca_file: ${gone}: "certs/none.crt"`,
      `5 tiers.hot.config.tls.cert_file: ${gone}: text from \${CERT}`,
      '5 tiers.hot.config.tls.key_file: is a directory and no file: "."',
    ])
    expect(error.message).not.toContain('hunter2')
  })

  test('whose content was given instead of a name are not shown', async () => {
    const key = '-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----'
    const { message } = await rejection(loadCache(hot({ tls: { cert_file: '/none', key_file: key } })))
    expect(message).toContain('text that is no path; give the path of a file, not what is in it')
    expect(message).not.toContain('hunter2')
  })

  test('are neither read by parseConfig nor for a cache that is switched off', async () => {
    const given = hot({ tls: { ca_file: '/none' } })
    expect(parseConfig(given).tiers['hot']?.config).toEqual({ tls: { ca_file: '/none' } })
    await (await loadCache({ ...given, enabled: false })).close()
  })

  test('that hold something else are told so', async () => {
    const directory = temporaryDirectory()
    writeFiles(directory, { 'ca.crt': 'no certificate', 'own.crt': '', 'own.key': 'no key' })
    const { problems } = await rejection(loadCache(hot({ tls: { ca_file: 'ca.crt', cert_file: 'own.crt', key_file: 'own.key' } }), { directory }))
    expect(problems.map(({ path: at, message }) => `${at}: ${message}`)).toEqual([
      'tiers.hot.config.tls.ca_file: holds no certificate in PEM',
      'tiers.hot.config.tls.cert_file: holds no certificate in PEM',
      'tiers.hot.config.tls.key_file: holds no private key in PEM',
    ])
  })

  const describeKeys = tlsAvailable() ? describe : describe.skip
  describeKeys('private keys', () => {
    let certificates: Certificates
    let directory: string
    const load = (key_file: string, passphrase?: string) =>
      loadCache(hot({ host: '127.0.0.1', port: 1, tls: { cert_file: certificates.client.certFile, key_file, ...(passphrase === undefined ? {} : { passphrase }) } }), { directory, logger: false })

    beforeAll(async () => void (certificates = await makeCertificates(temporaryDirectory())))

    test('must fit their certificate, and open with their passphrase', async () => {
      directory = temporaryDirectory()
      const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
      const encrypted = privateKey.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'hunter2' })
      writeFiles(directory, { 'other.key': String(privateKey.export({ type: 'pkcs8', format: 'pem' })), 'closed.key': String(encrypted) })
      const messageOf = async (...args: Parameters<typeof load>) => (await rejection(load(...args))).problems.map(({ path: at, message }) => `${at}: ${message}`)
      expect(await messageOf('other.key')).toEqual(['tiers.hot.config.tls.key_file: is not the private key of the certificate in `cert_file`'])
      expect(await messageOf('closed.key')).toEqual(['tiers.hot.config.tls.key_file: holds an encrypted private key: give its `passphrase`'])
      expect(await messageOf('closed.key', 'wrong')).toEqual(['tiers.hot.config.tls.key_file: holds an encrypted private key that `passphrase` does not open'])
      expect(await messageOf('closed.key', 'hunter2')).toEqual(['tiers.hot.config.tls.key_file: is not the private key of the certificate in `cert_file`'])
      await (await load(certificates.client.keyFile)).close()
    })
  })
})
