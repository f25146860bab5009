import type { ConnectionOptions } from 'node:tls'
import { checkKnown, isObject, kindOfOption, positiveDurationMs, type Duration } from '@thermocline/backend'
import { Cluster, Redis } from 'ioredis'

export interface RedisAddress {
  /** A name or an address. Default `localhost`. */
  readonly host?: string | undefined
  /** Default 6379; a sentinel's is 26379. */
  readonly port?: number | undefined
}

/** What a server is told of us, and how connections are made. */
export interface RedisConnectionOptions {
  /** The user, where the server has users (ACL). */
  readonly username?: string | undefined
  readonly password?: string | undefined
  /** The number of the database. Default 0. Cluster has only that one. */
  readonly db?: number | undefined
  /** Whether connections are encrypted, or how: a private `ca`, a client's `cert` and `key`, `servername`. Default: as `url` says. */
  readonly tls?: boolean | ConnectionOptions | undefined
  readonly pool?:
    | {
        /** The most connections to a server: one for small payloads, the others for those above 256 KiB. Default 2. */
        readonly maxConnections?: number | undefined
        /** How long an operation waits for a connection. Default: as long as the tier's budget. */
        readonly timeout?: Duration | undefined
      }
    | undefined
}

/** One of `url`, `host` or `port`, `cluster`, `sentinel` and `client`; none of them: `localhost:6379`. */
export interface RedisBackendOptions extends RedisConnectionOptions, RedisAddress {
  /** `redis://user:password@host:port/db`, or `rediss://` for TLS. What is given beside it goes first. */
  readonly url?: string | undefined
  /** Some nodes of a cluster, each an address or a url; the others are found through them. */
  readonly cluster?: readonly (RedisAddress | string)[] | undefined
  /** A group that sentinels watch. */
  readonly sentinel?:
    | {
        /** The name of the group, such as `mymaster`. */
        readonly name: string
        readonly sentinels: readonly RedisAddress[]
        readonly username?: string | undefined
        readonly password?: string | undefined
      }
    | undefined
  /**
   * A client of yours, which stays open: a `Redis` or `Cluster` of ioredis without a `keyPrefix`. Its own settings hold; the
   * backend only sends when it is ready, so its offline queue is never used.
   */
  readonly client?: Redis | Cluster | undefined
  /** What every key begins with in the server. Not empty, and no beginning of another application's. Default `tc:`. */
  readonly keyPrefix?: string | undefined
  /** Larger payloads are not stored. Default 8 MiB. */
  readonly maxPayloadBytes?: number | undefined
  /** The server's `maxmemory` as it ought to be, in bytes: compared after connecting, and a difference is reported. Never changed. */
  readonly maxMemory?: number | undefined
  /** The server's `maxmemory-policy` as it ought to be, such as `allkeys-lru`: compared after connecting, and a difference is reported. Never changed. */
  readonly evictionPolicy?: string | undefined
}

/** Which servers, once the options are checked. */
export type Target =
  | { readonly kind: 'client'; readonly client: Redis | Cluster }
  | { readonly kind: 'single'; readonly server: Server }
  | { readonly kind: 'sentinel'; readonly server: Server; readonly group: NonNullable<RedisBackendOptions['sentinel']> }
  | { readonly kind: 'cluster'; readonly server: Server; readonly nodes: readonly { readonly host: string; readonly port: number }[] }

export interface Server {
  readonly host: string
  readonly port: number
  readonly username: string | undefined
  readonly password: string | undefined
  readonly db: number
  readonly tls: ConnectionOptions | undefined
}

export interface CheckedOptions {
  readonly target: Target
  readonly keyPrefix: string
  readonly maxPayloadBytes: number
  readonly maxConnections: number
  /** `Infinity`: as long as the tier's budget. */
  readonly connectionTimeoutMs: number
  readonly maxMemory: number | undefined
  readonly evictionPolicy: string | undefined
}

const DEFAULT_MAX_PAYLOAD_BYTES = 8 * 1024 ** 2
const DEFAULT_PORT = 6379
const SENTINEL_PORT = 26_379

const KNOWN: readonly (keyof RedisBackendOptions)[] = ['url', 'host', 'port', 'username', 'password', 'db', 'tls', 'pool', 'cluster', 'sentinel', 'client', 'keyPrefix', 'maxPayloadBytes', 'maxMemory', 'evictionPolicy']
const KNOWN_OF_POOL: readonly (keyof NonNullable<RedisBackendOptions['pool']>)[] = ['maxConnections', 'timeout']
const KNOWN_OF_SENTINEL: readonly (keyof NonNullable<RedisBackendOptions['sentinel']>)[] = ['name', 'sentinels', 'username', 'password']
const KNOWN_OF_ADDRESS: readonly (keyof RedisAddress)[] = ['host', 'port']

/** @throws TypeError that names the option, what it was and the rule */
export function checkOptions(given: RedisBackendOptions): CheckedOptions {
  const options: unknown = given
  if (!isObject(options)) throw new TypeError(`new RedisBackend(options) needs an object such as { url: 'redis://localhost:6379' }, not ${kindOfOption(given)}`)
  checkKnown(options, KNOWN, 'new RedisBackend(options)')
  const { keyPrefix = 'tc:', maxPayloadBytes = DEFAULT_MAX_PAYLOAD_BYTES, pool = {}, maxMemory, evictionPolicy } = given
  if (typeof keyPrefix !== 'string' || keyPrefix === '') throw new TypeError(`keyPrefix must be a non-empty string, not ${kindOfOption(keyPrefix)}: other keys of the server must stay apart`)
  if (!keyPrefix.isWellFormed()) throw new TypeError('keyPrefix must be well-formed Unicode')
  if (!isObject(pool)) throw new TypeError(`pool must be { maxConnections, timeout }, not ${kindOfOption(pool)}`)
  checkKnown(pool, KNOWN_OF_POOL, 'pool')
  positiveInteger(maxPayloadBytes, 'maxPayloadBytes')
  positiveInteger(pool.maxConnections, 'pool.maxConnections')
  if (maxMemory !== undefined && !(Number.isSafeInteger(maxMemory) && maxMemory >= 0)) throw new TypeError(`maxMemory must be a whole number of bytes, not ${kindOfOption(maxMemory)}`)
  text(evictionPolicy, 'evictionPolicy')
  return {
    target: targetOf(given),
    keyPrefix,
    maxPayloadBytes,
    maxConnections: pool.maxConnections ?? 2,
    connectionTimeoutMs: pool.timeout === undefined ? Number.POSITIVE_INFINITY : positiveDurationMs(pool.timeout, 'pool.timeout'),
    maxMemory,
    evictionPolicy,
  }
}

function targetOf(options: RedisBackendOptions): Target {
  const { client, cluster, sentinel, url } = options
  const ways = { client, cluster, sentinel, url, host: options.host ?? (options.port === undefined ? undefined : 'localhost') }
  const named = Object.entries(ways).flatMap(([name, value]) => (value === undefined ? [] : [name]))
  if (named.length > 1) throw new TypeError(`give one of client, cluster, sentinel, url and host, not ${named.join(' and ')}`)
  if (client !== undefined) return { kind: 'client', client: checkClient(client) }
  if (cluster !== undefined) {
    if (!Array.isArray(cluster) || cluster.length === 0) throw new TypeError(`cluster must be a list of at least one node, not ${kindOfOption(cluster)}`)
    const nodes = (cluster as readonly unknown[]).map((node, at) => (typeof node === 'string' ? parseUrl(node, `cluster[${at}]`) : addressOf(node, `cluster[${at}]`, DEFAULT_PORT)))
    const first = nodes.find((node): node is Server => 'tls' in node)
    const server = withCredentials(first ?? nowhere, options)
    if (server.db !== 0) throw new TypeError(`db must be 0 in a cluster, not ${server.db}`)
    return { kind: 'cluster', server, nodes: nodes.map(({ host, port }) => ({ host, port })) }
  }
  if (sentinel !== undefined) {
    if (isObject(sentinel)) checkKnown(sentinel, KNOWN_OF_SENTINEL, 'sentinel')
    if (!isObject(sentinel) || typeof sentinel.name !== 'string' || sentinel.name === '') throw new TypeError('sentinel must be { name, sentinels }, with the name of the group')
    if (!Array.isArray(sentinel.sentinels) || sentinel.sentinels.length === 0) throw new TypeError(`sentinel.sentinels must be a list of at least one address, not ${kindOfOption(sentinel.sentinels)}`)
    text(sentinel.username, 'sentinel.username')
    text(sentinel.password, 'sentinel.password')
    const sentinels = (sentinel.sentinels as readonly unknown[]).map((one, at) => addressOf(one, `sentinel.sentinels[${at}]`, SENTINEL_PORT))
    return { kind: 'sentinel', server: withCredentials(nowhere, options), group: { ...sentinel, sentinels } }
  }
  return { kind: 'single', server: withCredentials(url === undefined ? { ...nowhere, ...addressOf(options, '', DEFAULT_PORT) } : parseUrl(url, 'url'), options) }
}

const nowhere: Server = { host: 'localhost', port: DEFAULT_PORT, username: undefined, password: undefined, db: 0, tls: undefined }

function checkClient(client: Redis | Cluster): Redis | Cluster {
  const given = client as unknown
  if (!isObject(given) || typeof given['getBuffer'] !== 'function' || typeof given['on'] !== 'function') {
    throw new TypeError(`client must be a Redis or Cluster of ioredis, not ${kindOfOption(given)}`)
  }
  const options = given['options']
  const prefix = isObject(options) ? options['keyPrefix'] : undefined
  if ((typeof prefix === 'string' || Buffer.isBuffer(prefix)) && prefix.length > 0) {
    throw new TypeError(
      `client must not have a keyPrefix (it has ${JSON.stringify(prefix.toString())}): ioredis leaves it out of SCAN and adds it twice on UNLINK; give it to the backend instead, as new RedisBackend({ client, keyPrefix })`,
    )
  }
  return client
}

/** What is given beside the url goes first. */
function withCredentials(server: Server, { username, password, db, tls }: RedisConnectionOptions): Server {
  text(username, 'username')
  text(password, 'password')
  if (db !== undefined && !(Number.isInteger(db) && db >= 0)) throw new TypeError(`db must be a whole number of at least 0, not ${kindOfOption(db)}`)
  if (tls !== undefined && typeof tls !== 'boolean' && !isObject(tls)) throw new TypeError(`tls must be true, false or TLS options, not ${kindOfOption(tls)}`)
  return {
    ...server,
    username: username ?? server.username,
    password: password ?? server.password,
    db: db ?? server.db,
    tls: tls === undefined ? server.tls : tls === true ? (server.tls ?? {}) : tls === false ? undefined : tls,
  }
}

function parseUrl(given: unknown, option: string): Server {
  const expected = 'an address such as redis://localhost:6379 or rediss://cache.example.org:6380/1'
  // the address itself stays out of messages: it may hold a password
  const url = typeof given === 'string' && URL.canParse(given) ? new URL(given) : undefined
  if (url === undefined || !/^rediss?:$/.test(url.protocol)) throw new TypeError(`${option} must be ${expected}, not ${typeof given === 'string' ? 'something else' : kindOfOption(given)}`)
  const db = url.pathname.replace(/^\//, '') || (url.searchParams.get('db') ?? '0')
  if (!/^\d+$/.test(db)) throw new TypeError(`${option} must end in the number of a database, as in ${expected}`)
  return {
    host: url.hostname === '' ? 'localhost' : url.hostname.replace(/^\[(.*)\]$/, '$1'),
    port: url.port === '' ? DEFAULT_PORT : Number(url.port),
    username: url.username === '' ? undefined : decoded(url.username, option),
    password: url.password === '' ? undefined : decoded(url.password, option),
    db: Number(db),
    tls: url.protocol === 'rediss:' ? {} : undefined,
  }
}

function decoded(text: string, option: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw new TypeError(`${option} must have username and password percent-encoded: a % stands there alone`)
  }
}

function addressOf(given: unknown, option: string, defaultPort: number): { host: string; port: number } {
  if (!isObject(given)) throw new TypeError(`${option} must be { host, port }, not ${kindOfOption(given)}`)
  if (option !== '') checkKnown(given, KNOWN_OF_ADDRESS, option)
  const { host = 'localhost', port = defaultPort } = given
  const name = (field: string): string => (option === '' ? field : `${option}.${field}`)
  if (typeof host !== 'string' || host === '') throw new TypeError(`${name('host')} must be a name or an address, not ${kindOfOption(host)}`)
  if (typeof port !== 'number' || !Number.isInteger(port) || port < 1 || port > 65_535) throw new TypeError(`${name('port')} must be a whole number from 1 to 65535, not ${kindOfOption(port)}`)
  return { host, port }
}

function positiveInteger(value: unknown, option: string): void {
  if (value !== undefined && !(typeof value === 'number' && Number.isInteger(value) && value > 0)) throw new TypeError(`${option} must be a positive whole number, not ${kindOfOption(value)}`)
}

function text(value: unknown, option: string): void {
  if (value !== undefined && typeof value !== 'string') throw new TypeError(`${option} must be a string, not ${kindOfOption(value)}`)
}
