import {
  CacheError,
  encodeFrameHeader,
  getEach,
  Hosts,
  Paged,
  PROBE_TENANT,
  type BackendCapabilities,
  type BackendHost,
  type BackendStats,
  type CacheBackend,
  type CacheEntry,
  type ClearOptions,
  type Coordination,
  type Coordinator,
  type Detach,
  type ListOptions,
  type OperationOptions,
  type PutOptions,
  type ReadOptions,
  type StoredEntryInfo,
  type TenantScope,
  type ValidKey,
} from '@thermocline/backend'
import type { Cluster } from 'ioredis'
import { numbersOnEachMaster } from './cluster-slots.js'
import { SetCommand } from './commands.js'
import type { Connection } from './connection.js'
import { Connections } from './connections.js'
import { isReply, OutOfStep } from './errors.js'
import { QUARANTINE_MS } from './left-connections.js'
import { meetMasters, onEveryMaster } from './every-master.js'
import { inSteps } from './in-steps.js'
import { Names } from './names.js'
import { checkOptions, type CheckedOptions, type RedisBackendOptions } from './options.js'
import { RedisCoordination, type Frame } from './redis-coordination.js'
import { namesOn, unlink } from './scan.js'
import { differences, inTotal, serverInfo, type ServerInfo } from './server-info.js'
import { StoredEntries } from './stored-entries.js'

const NO_BYTES = new Uint8Array()
/** Beyond this the server's clock overflows: such an entry has no end there, only in its header. */
const LONGEST_EXPIRY_MS = 1e14

export interface RedisStats extends BackendStats {
  /** What the server, or the whole cluster, says of itself: not of one tenant, and of other applications too. */
  readonly server?: ServerInfo | undefined
}

/**
 * The hot tier that processes share: Redis or Valkey from 6.0 on, one server, a cluster, or a group that sentinels watch.
 *
 * Each entry is one string under one key, a frame with header and payload. The server removes it some time after its life is over;
 * the instants in the header decide. No command waits for a server that is not there, and none is sent late.
 */
export class RedisBackend implements CacheBackend, Coordinator {
  readonly name = 'redis'
  readonly capabilities: BackendCapabilities
  readonly #options: CheckedOptions
  readonly #names: Names
  readonly #connections: Connections
  readonly #hosts = new Hosts()
  readonly #stored: StoredEntries
  #coordination: RedisCoordination | undefined
  #isCompared = false

  /** Connects to nothing. @throws TypeError for invalid options and for a client with a `keyPrefix` */
  constructor(options: RedisBackendOptions = {}) {
    this.#options = checkOptions(options)
    this.#names = new Names(this.#options.keyPrefix)
    this.#connections = new Connections(this.#options, () => this.#hosts.clock.monotonic(), () => void this.#compareSettings())
    this.#stored = new StoredEntries(this.#connections, this.#hosts)
    this.capabilities = {
      synchronous: false,
      shared: true,
      durable: false,
      streams: false,
      keeps: 'bytes',
      maxPayloadBytes: this.#options.maxPayloadBytes,
      landsWithinMs: QUARANTINE_MS,
    }
  }

  attach(host: BackendHost): Detach {
    const detach = this.#hosts.attach(host)
    this.#connections.open()
    return detach
  }

  /**
   * Processes that use the same server and `keyPrefix` agree over it.
   *
   * @throws TypeError for a cluster, whose log would lie on another node than most entries, and for a `keyPrefix` with braces
   */
  openCoordination(): Coordination {
    const { target, keyPrefix } = this.#options
    if (target.kind === 'cluster' || this.#connections.main.isCluster) throw new TypeError('processes cannot be coordinated over a Redis cluster yet: use coordination: false, or another tier')
    if (/[{}]/.test(keyPrefix)) throw new TypeError(`keyPrefix must have no braces where processes are coordinated, and is ${JSON.stringify(keyPrefix)}`)
    const coordination = new RedisCoordination(this.#connections, this.#names) // each manager has its own
    this.#coordination ??= coordination
    return coordination
  }

  get(scope: TenantScope, key: ValidKey, options: ReadOptions): Promise<CacheEntry | undefined> {
    const name = this.#names.of(scope, key)
    return options.want === 'head' ? this.#stored.head(scope, key, name, options) : this.#stored.whole(scope, key, name, options)
  }

  async getMany(scope: TenantScope, keys: readonly ValidKey[], options: ReadOptions): Promise<readonly (CacheEntry | undefined)[]> {
    return options.want === 'head' || keys.length === 0 ? getEach(this, scope, keys, options) : this.#stored.many(scope, keys, (key) => this.#names.of(scope, key), options)
  }

  put(scope: TenantScope, key: ValidKey, entry: CacheEntry, options: PutOptions): Promise<boolean> {
    const bytes = entry.encoded?.bytes.byteLength ?? 0
    if (bytes > this.#options.maxPayloadBytes) return Promise.resolve(false)
    if (options.keepUntil <= this.#hosts.clock.now()) {
      if (options.onlyIfAbsent || options.lease !== undefined) return Promise.resolve(false) // nothing is stored, and what is there stays
      return this.delete(scope, [key], options).then(() => true)
    }
    const connection = this.#connections.forBytes(bytes)
    const waiting = this.#connections.ready(connection, options)
    if (scope.tenant === PROBE_TENANT && connection.isCluster) return this.#putProbes(scope, key, entry, options, connection, waiting)
    return waiting === undefined ? this.#put(scope, key, entry, options, connection) : waiting.then(() => this.#put(scope, key, entry, options, connection))
  }

  async delete(scope: TenantScope, keys: readonly ValidKey[], options: OperationOptions): Promise<number> {
    const { main } = this.#connections
    await this.#connections.ready(main, options)
    try {
      const [only] = keys
      if (options.announces !== undefined && this.#coordination?.isAllowed === true && only !== undefined) {
        const removed = await this.#coordination.deleteAnnounced(scope, only, options.announces, main)
        if (removed !== undefined) return removed
      }
      const ours = scope.tenant === PROBE_TENANT && main.isCluster ? keys.flatMap((key) => this.#probes(scope, key, main)) : keys
      return await unlink(main, ours.map((key) => this.#names.of(scope, key)), options)
    } catch (error) {
      throw await main.writeFailed(error, 'delete', keys[0], options)
    }
  }

  async clear(scope: TenantScope, prefix: string, options: ClearOptions): Promise<number> {
    const { main } = this.#connections
    const goes = (name: string): boolean => {
      const key = this.#names.keyOf(scope, name)
      return key !== undefined && options.only?.(key) !== false
    }
    await this.#connections.ready(main, options)
    try {
      return await onEveryMaster(main, options, this.#names.stray, async (server) => {
        let removed = 0
        let removing: Promise<number> = Promise.resolve(0) // one page goes while the next is looked for
        for await (const names of namesOn(main, server, this.#names.pattern(scope, prefix), options)) {
          removed += await removing
          removing = unlink(main, names.filter(goes), options)
          removing.catch(() => undefined) // told by the next await, unless the scan fails first
        }
        return removed + (await removing)
      })
    } catch (error) {
      throw main.failed(error, 'clear', undefined)
    }
  }

  list(scope: TenantScope, prefix: string, options: ListOptions): AsyncIterable<StoredEntryInfo> {
    return new Paged(() => this.#pages(scope, prefix, options))
  }

  /** A page for each step, also for those that bring nothing: each has the budget to itself. */
  async *#pages(scope: TenantScope, prefix: string, options: ListOptions): AsyncIterable<readonly StoredEntryInfo[]> {
    const { main } = this.#connections
    const { signal } = options
    for await (const _ of inSteps(async (progress) => this.#connections.ready(main, { signal, progress }))) yield []
    const seen = new Set<string>() // a scan may show a name twice
    try {
      if (main.isCluster) for await (const _ of inSteps((progress) => meetMasters(main, { signal, progress }, this.#names.stray))) yield []
      for (const server of main.masters()) {
        for await (const names of namesOn(main, server, this.#names.pattern(scope, prefix), options)) {
          const found = names.flatMap((name) => {
            const key = seen.has(name) ? undefined : this.#names.keyOf(scope, name)
            seen.add(name)
            return key === undefined ? [] : [{ name, key }]
          })
          if (options.detail === 'keys') yield found.map(({ key }) => ({ key }))
          else if (found.length === 0) yield []
          else yield* this.#stored.infos(found)
        }
      }
    } catch (error) {
      throw main.failed(error, 'list', undefined)
    }
  }

  async stats(scope?: TenantScope): Promise<RedisStats> {
    if (scope !== undefined) return {}
    const { main } = this.#connections
    await this.#connections.ready(main, {})
    try {
      return { server: inTotal(await Promise.all(main.masters().map(serverInfo))) }
    } catch (error) {
      if (isReply(error, 'NOPERM')) return {}
      throw main.failed(error, 'stats', undefined)
    }
  }

  /** Ends the connections, once no manager uses the backend any more; a client that was given stays open. */
  [Symbol.asyncDispose](): Promise<void> {
    if (this.#hosts.isEmpty) this.#connections.close()
    return Promise.resolve()
  }

  #put(scope: TenantScope, key: ValidKey, entry: CacheEntry, options: PutOptions, connection: Connection): Promise<boolean> {
    const name = this.#names.of(scope, key)
    const payload = entry.encoded?.bytes ?? NO_BYTES
    let answered: Promise<unknown>
    try {
      const header = encodeFrameHeader(scope.tenant, key, entry, options.keepUntil)
      // native expiry is relative, so that the clocks of server and process need not agree
      const lifeLeft = Math.max(1, Math.ceil(options.keepUntil - this.#hosts.clock.now()))
      const lifeMs = lifeLeft > LONGEST_EXPIRY_MS ? undefined : lifeLeft
      connection.cork()
      const set = (): Promise<unknown> => connection.client.sendCommand(new SetCommand(name, header, payload, lifeMs, options.onlyIfAbsent)) as Promise<unknown>
      answered = this.#putAgreed(options, connection, () => ({ name, bytes: Buffer.concat([header, payload]), lifeMs }), set) ?? set()
    } catch (error) {
      return Promise.reject(error)
    }
    return answered.then(
      (reply) => {
        if (reply === 'refused') return false
        if (reply === null && options.onlyIfAbsent) return this.#stored.removeStale(scope, key, name, options).then(() => false)
        if (reply !== 'OK') return putFailed(connection, new OutOfStep(), key, options)
        this.#stored.noteSize(name, payload.byteLength)
        return true
      },
      (error: unknown) => putFailed(connection, error, key, options),
    )
  }

  /** A put of which other processes are told, or which needs a place in the key's line; `undefined`: it is none. */
  #putAgreed({ lease, announces, onlyIfAbsent }: PutOptions, connection: Connection, frame: () => Frame, set: () => Promise<unknown>): Promise<unknown> | undefined {
    const coordination = this.#coordination
    if (coordination === undefined) return undefined
    if (lease !== undefined) return coordination.putLeased(frame(), lease, onlyIfAbsent, connection)
    if (announces === undefined || !coordination.isAllowed) return undefined
    return coordination.putAnnounced(frame(), announces, connection).then((isStored) => (isStored ? 'OK' : set()))
  }

  /** Whether a cluster takes writes again is for each of its masters to say. */
  async #putProbes(scope: TenantScope, key: ValidKey, entry: CacheEntry, options: PutOptions, connection: Connection, waiting: Promise<void> | undefined): Promise<boolean> {
    await waiting
    const put = await Promise.all(this.#probes(scope, key, connection).map((probe) => this.#put(scope, probe, entry, options, connection)))
    return put.every(Boolean)
  }

  /** A key on each master of a cluster. */
  #probes(scope: TenantScope, key: ValidKey, connection: Connection): ValidKey[] {
    const probe = (n: number): ValidKey => `${key}/${n}` as ValidKey
    return numbersOnEachMaster(connection.client as unknown as Cluster, (n) => this.#names.of(scope, probe(n))).map(probe)
  }

  /** Compares the server's own limits with what was expected, once. */
  async #compareSettings(): Promise<void> {
    const { maxMemory, evictionPolicy } = this.#options
    if (this.#isCompared || (maxMemory === undefined && evictionPolicy === undefined)) return
    this.#isCompared = true
    try {
      for (const server of this.#connections.main.masters()) {
        for (const difference of differences(await serverInfo(server), { maxMemory, evictionPolicy })) {
          this.#hosts.report(new CacheError('misconfigured', `redis at ${addressOf(server)}: ${difference}; nothing was changed`, { operation: 'compare', backend: 'redis' }))
        }
      }
    } catch (error) {
      if (isReply(error, 'NOPERM')) this.#hosts.report(new CacheError('misconfigured', 'maxMemory and evictionPolicy cannot be compared: this user may not ask INFO', { operation: 'compare', backend: 'redis', cause: error }))
      else this.#isCompared = false
    }
  }
}

async function putFailed(connection: Connection, error: unknown, key: ValidKey, options: OperationOptions): Promise<never> {
  throw await connection.writeFailed(error, 'put', key, options)
}

function addressOf(server: { readonly options: object }): string {
  const { host, port } = server.options as { host?: string; port?: number }
  return `${host ?? 'localhost'}:${port ?? 6379}`
}
