import {
  CacheError,
  encodeFrameHeader,
  entryOfFrame,
  getEach,
  Hosts,
  ownMemory,
  PROBE_TENANT,
  readFrame,
  readFrameHead,
  type BackendCapabilities,
  type BackendHost,
  type BackendStats,
  type CacheBackend,
  type CacheEntry,
  type Detach,
  type FrameContent,
  type ListOptions,
  type OperationOptions,
  type PutOptions,
  type ReadOptions,
  type StoredEntryInfo,
  type TenantScope,
  type ValidKey,
} from '@thermocline/core'
import type { Cluster } from 'ioredis'
import { numbersOnEachMaster } from './cluster-slots.js'
import { SetCommand } from './commands.js'
import type { Connection } from './connection.js'
import { Connections } from './connections.js'
import { ManyReads, OneRead, type EntryRead } from './entry-reads.js'
import { asRedisError, isReply, OutOfStep } from './errors.js'
import { meetMasters, onEveryMaster } from './every-master.js'
import { LargeNames } from './large-names.js'
import { Names } from './names.js'
import { checkOptions, type CheckedOptions, type RedisBackendOptions } from './options.js'
import { Reads } from './reads.js'
import { namesOn, unlink } from './scan.js'
import { differences, inTotal, serverInfo, type ServerInfo } from './server-info.js'

/** As much of a value as holds any ordinary header: keys have up to 1,024 bytes. */
const HEAD_BYTES = 2048
/** Codecs whose values do not refer to the bytes they are made of. */
const MADE_ANEW: ReadonlySet<string> = new Set(['json', 'utf8', 'v8'])
/** Heads that are asked for at once in a listing. */
const HEADS_AT_ONCE = 128
const NO_BYTES = new Uint8Array()
const NOT_A_STRING = 'it is not a string'
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
export class RedisBackend implements CacheBackend {
  readonly name = 'redis'
  readonly capabilities: BackendCapabilities
  readonly #options: CheckedOptions
  readonly #names: Names
  readonly #large = new LargeNames()
  readonly #connections: Connections
  readonly #reads: Reads<EntryRead>
  readonly #hosts = new Hosts()
  #isCompared = false

  /** Connects to nothing. @throws TypeError for invalid options and for a client with a `keyPrefix` */
  constructor(options: RedisBackendOptions = {}) {
    this.#options = checkOptions(options)
    this.#names = new Names(this.#options.keyPrefix)
    this.#connections = new Connections(this.#options, () => void this.#compareSettings())
    this.#reads = this.#readsOver(this.#connections.main)
    this.capabilities = {
      synchronous: false,
      shared: true,
      durable: false,
      streams: false,
      nativeExpiry: true,
      keeps: 'bytes',
      maxPayloadBytes: this.#options.maxPayloadBytes,
    }
  }

  attach(host: BackendHost): Detach {
    const detach = this.#hosts.attach(host)
    this.#connections.open()
    return detach
  }

  get(scope: TenantScope, key: ValidKey, options: ReadOptions): Promise<CacheEntry | undefined> {
    const name = this.#names.of(scope, key)
    if (options.want === 'head') return this.#head(scope, key, name, options)
    const isLarge = this.#large.has(name)
    const connection = isLarge ? this.#connections.bulk() : this.#connections.main
    const waiting = connection.ready(options)
    if (waiting !== undefined) return waiting.then(() => this.#read(scope, key, name, isLarge ? connection : undefined))
    return this.#read(scope, key, name, isLarge ? connection : undefined)
  }

  /** One promise for all, and as few commands as {@link Reads} makes of them. */
  async getMany(scope: TenantScope, keys: readonly ValidKey[], options: ReadOptions): Promise<readonly (CacheEntry | undefined)[]> {
    const { main } = this.#connections
    if (options.want === 'head' || keys.length === 0) return getEach(this, scope, keys, options)
    const waiting = main.ready(options)
    if (waiting !== undefined) await waiting
    const many = new ManyReads(scope, keys.length)
    for (let at = 0; at < keys.length; at++) {
      const key = keys[at] as ValidKey
      const name = this.#names.of(scope, key)
      const read = many.read(key, name, at)
      if (this.#large.has(name)) Promise.resolve(this.get(scope, key, options)).then((entry) => read.arrived(entry), (error: unknown) => read.failed(error))
      else this.#reads.add(read)
    }
    return many.entries
  }

  put(scope: TenantScope, key: ValidKey, entry: CacheEntry, options: PutOptions): Promise<boolean> {
    const bytes = entry.encoded?.bytes.byteLength ?? 0
    if (bytes > this.#options.maxPayloadBytes) return Promise.resolve(false)
    if (options.keepUntil <= this.#hosts.clock.now()) {
      if (options.onlyIfAbsent) return Promise.resolve(false) // nothing is stored, and what is there stays
      return this.delete(scope, [key], options).then(() => true)
    }
    const connection = this.#connections.forBytes(bytes)
    const waiting = connection.ready(options)
    if (scope.tenant === PROBE_TENANT && connection.isCluster) return this.#putProbes(scope, key, entry, options, connection, waiting)
    return waiting === undefined ? this.#put(scope, key, entry, options, connection) : waiting.then(() => this.#put(scope, key, entry, options, connection))
  }

  async delete(scope: TenantScope, keys: readonly ValidKey[], options: OperationOptions): Promise<number> {
    const { main } = this.#connections
    await main.ready(options)
    try {
      const ours = scope.tenant === PROBE_TENANT && main.isCluster ? keys.flatMap((key) => this.#probes(scope, key, main)) : keys
      return await unlink(main, ours.map((key) => this.#names.of(scope, key)), options)
    } catch (error) {
      throw this.#failed(error, 'delete', keys[0], main)
    }
  }

  async clear(scope: TenantScope, prefix: string, options: OperationOptions): Promise<number> {
    const { main } = this.#connections
    await main.ready(options)
    try {
      return await onEveryMaster(main, options, this.#names.stray, async (server) => {
        let removed = 0
        let removing: Promise<number> = Promise.resolve(0) // one page goes while the next is looked for
        for await (const names of namesOn(main, server, this.#names.pattern(scope, prefix), options)) {
          removed += await removing
          removing = unlink(main, names.filter((name) => this.#names.keyOf(scope, name) !== undefined), options)
          removing.catch(() => undefined) // told by the next await, unless the scan fails first
        }
        return removed + (await removing)
      })
    } catch (error) {
      throw this.#failed(error, 'clear', undefined, main)
    }
  }

  async *list(scope: TenantScope, prefix: string, options: ListOptions): AsyncIterable<StoredEntryInfo> {
    const { main } = this.#connections
    await main.ready(options)
    const seen = new Set<string>() // a scan may show a name twice
    try {
      if (main.isCluster) await meetMasters(main, options, this.#names.stray)
      for (const server of main.masters()) {
        for await (const names of namesOn(main, server, this.#names.pattern(scope, prefix), options)) {
          const found = names.flatMap((name) => {
            const key = seen.has(name) ? undefined : this.#names.keyOf(scope, name)
            seen.add(name)
            return key === undefined ? [] : [{ name, key }]
          })
          if (options.detail === 'keys') for (const { key } of found) yield { key }
          else for await (const info of this.#infos(main, found, options)) yield info
        }
      }
    } catch (error) {
      throw this.#failed(error, 'list', undefined, main)
    }
  }

  async stats(scope?: TenantScope): Promise<RedisStats> {
    if (scope !== undefined) return {}
    const { main } = this.#connections
    await main.ready({})
    try {
      return { server: inTotal(await Promise.all(main.masters().map(serverInfo))) }
    } catch (error) {
      if (isReply(error, 'NOPERM')) return {}
      throw this.#failed(error, 'stats', undefined, main)
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
    let command: SetCommand
    try {
      const header = encodeFrameHeader(scope.tenant, key, entry, options.keepUntil)
      // native expiry is relative, so that the clocks of server and process need not agree
      const lifeMs = Math.max(1, Math.ceil(options.keepUntil - this.#hosts.clock.now()))
      command = new SetCommand(name, header, payload, lifeMs > LONGEST_EXPIRY_MS ? undefined : lifeMs, options.onlyIfAbsent)
    } catch (error) {
      return Promise.reject(error)
    }
    connection.cork()
    const answered = connection.client.sendCommand(command) as Promise<unknown>
    return answered.then(
      (reply) => {
        if (reply === null && options.onlyIfAbsent) return false
        if (reply !== 'OK') throw this.#failed(new OutOfStep(), 'put', key, connection)
        this.#large.note(name, payload.byteLength)
        return true
      },
      (error: unknown) => {
        throw this.#failed(error, 'put', key, connection)
      },
    )
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

  #read(scope: TenantScope, key: ValidKey, name: string, bulk: Connection | undefined): Promise<CacheEntry | undefined> {
    const read = new OneRead(scope, key, name)
    if (bulk === undefined) this.#reads.add(read)
    else this.#readsOver(bulk).add(read)
    return read.entry
  }

  #readsOver(connection: Connection): Reads<EntryRead> {
    return new Reads(connection, this.#answer, this.#fail)
  }

  readonly #answer = (read: EntryRead, bytes: Buffer | null, connection: Connection): void => {
    try {
      read.arrived(bytes === null ? undefined : this.#entryOf(read.scope, read.key, read.name, bytes, connection))
    } catch (error) {
      read.failed(error)
    }
  }

  readonly #fail = (read: EntryRead, error: unknown, connection: Connection): void => {
    if (isReply(error, 'WRONGTYPE')) read.arrived(this.#refused(read.scope, read.key, 'foreign', NOT_A_STRING))
    else read.failed(this.#failed(error, 'get', read.key, connection))
  }

  /** An entry without its payload, of which the server sends nothing. */
  async #head(scope: TenantScope, key: ValidKey, name: string, options: OperationOptions): Promise<CacheEntry | undefined> {
    const { main } = this.#connections
    await main.ready(options)
    try {
      if (scope.tenant === PROBE_TENANT && main.isCluster) await everyMasterAnswers(main)
      const bytes = (await main.client.getrangeBuffer(name, 0, HEAD_BYTES - 1)) as unknown
      if (!Buffer.isBuffer(bytes) || bytes.byteLength > HEAD_BYTES) throw new OutOfStep()
      if (bytes.byteLength === 0) return undefined // absent: nothing of ours is empty
      const reading = readFrameHead(bytes, HEAD_BYTES)
      if (reading === undefined) return withoutPayload(await this.#read(scope, key, name, undefined))
      return this.#sound(scope, key, name, reading, main)
    } catch (error) {
      if (isReply(error, 'WRONGTYPE')) return this.#refused(scope, key, 'foreign', NOT_A_STRING)
      throw this.#failed(error, 'get', key, main)
    }
  }

  #entryOf(scope: TenantScope, key: ValidKey, name: string, bytes: Buffer, connection: Connection): CacheEntry | undefined {
    this.#large.note(name, bytes.byteLength)
    return this.#sound(scope, key, name, readFrame(bytes, { tenant: scope.tenant, key }), connection)
  }

  #sound(scope: TenantScope, key: ValidKey, name: string, reading: FrameContent, connection: Connection): CacheEntry | undefined {
    if (reading.status === 'ok') {
      const { header, payload } = reading
      if (header.key === key && header.tenant === scope.tenant) return entryOfFrame(header, payload === undefined || MADE_ANEW.has(header.codec) ? payload : ownMemory(payload))
      connection.leaveIfOutOfStep()
      return this.#refused(scope, key, 'foreign', 'it belongs to another tenant or key')
    }
    connection.leaveIfOutOfStep()
    if (reading.status === 'corrupt') void this.#removeDamaged(name).catch(() => undefined)
    return this.#refused(scope, key, reading.status, reading.reason)
  }

  #refused(scope: TenantScope, key: ValidKey, status: 'foreign' | 'corrupt', reason: string): undefined {
    const left = status === 'foreign' ? 'it was left in place' : 'it was removed'
    this.#hosts.report(new CacheError(status, `what redis holds is a miss because ${reason}; ${left}`, { operation: 'get', backend: 'redis', tenant: scope.tenant, key }))
  }

  /** Looks once more before removing: a good entry may have been written over the damaged one meanwhile. */
  async #removeDamaged(name: string): Promise<void> {
    const { main } = this.#connections
    await main.ready({})
    const bytes = (await main.client.getBuffer(name)) as unknown
    if (Buffer.isBuffer(bytes) && readFrame(bytes).status === 'corrupt') await main.client.unlink(name)
  }

  async *#infos(connection: Connection, found: readonly { readonly name: string; readonly key: string }[], options: OperationOptions): AsyncIterable<StoredEntryInfo> {
    for (let at = 0; at < found.length; at += HEADS_AT_ONCE) {
      const part = found.slice(at, at + HEADS_AT_ONCE)
      connection.cork()
      const heads = await Promise.all(part.map(({ name }) => connection.client.getrangeBuffer(name, 0, HEAD_BYTES - 1).catch(foreignToNothing)))
      options.progress?.()
      for (const [place, { key, name }] of part.entries()) {
        const bytes = heads[place] as Buffer
        if (bytes.byteLength === 0) continue
        const reading = readFrameHead(bytes, HEAD_BYTES) ?? readFrame((await connection.client.getBuffer(name)) ?? bytes)
        if (reading.status === 'ok') yield { key, size: reading.header.payloadOffset + reading.header.payloadBytes, expiresAt: reading.header.keepUntil }
      }
    }
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

  #failed(error: unknown, operation: string, key: string | undefined, connection: Connection): CacheError {
    if (error instanceof OutOfStep) connection.leave(error)
    const failure = asRedisError(error, operation, key, connection.isCluster)
    if (failure.code === 'unavailable' || failure.code === 'read-only') void connection.lookAnew().catch(() => undefined)
    return failure
  }
}

/** In a cluster the probe's key lives on one server, and all that the cluster names have to be there. */
async function everyMasterAnswers(connection: Connection): Promise<void> {
  await connection.lookAnew()
  const states = await Promise.all(connection.masters().map((server) => server.cluster('INFO')))
  if (!states.every((state) => state.includes('cluster_state:ok'))) throw new Error('CLUSTERDOWN not all slots are served')
}

function withoutPayload(entry: CacheEntry | undefined): CacheEntry | undefined {
  if (entry !== undefined) entry.encoded = undefined
  return entry
}

function foreignToNothing(error: unknown): Buffer {
  if (isReply(error, 'WRONGTYPE')) return Buffer.alloc(0)
  throw error
}

function addressOf(server: { readonly options: object }): string {
  const { host, port } = server.options as { host?: string; port?: number }
  return `${host ?? 'localhost'}:${port ?? 6379}`
}
