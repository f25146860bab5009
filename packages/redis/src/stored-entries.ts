import {
  CacheError,
  entryOfFrame,
  ownMemory,
  PROBE_TENANT,
  readFrame,
  readFrameHead,
  type CacheEntry,
  type FrameContent,
  type Hosts,
  type OperationOptions,
  type StoredEntryInfo,
  type TenantScope,
  type ValidKey,
} from '@thermocline/backend'
import type { Connection } from './connection.js'
import type { Connections } from './connections.js'
import { ManyReads, OneRead, type EntryRead } from './entry-reads.js'
import { isReply, OutOfStep } from './errors.js'
import { everyMasterAnswers } from './every-master.js'
import { LARGE_BYTES, LargeNames } from './large-names.js'
import { TOO_LARGE } from './reply-filter.js'
import { Reads } from './reads.js'

/** As much of a value as holds any ordinary header: keys have up to 1,024 bytes. */
const HEAD_BYTES = 2048
/** Codecs whose values do not refer to the bytes they are made of. */
const MADE_ANEW: ReadonlySet<string> = new Set(['json', 'utf8', 'v8'])
/** Heads that are asked for at once in a listing. */
const HEADS_AT_ONCE = 128
const NOT_A_STRING = 'it is not a string'

/** A name that was found, and the key it stands for. */
export interface FoundName {
  readonly name: string
  readonly key: string
}

/** Reads what is under names, and sees to what is no entry of ours: it is reported and a miss, and removed where it was one and is damaged. */
export class StoredEntries {
  readonly #connections: Connections
  readonly #hosts: Hosts
  readonly #large = new LargeNames()
  readonly #reads: Reads<EntryRead>
  /** Those over connections for large payloads. */
  readonly #bulkReads = new Map<Connection, Reads<EntryRead>>()

  constructor(connections: Connections, hosts: Hosts) {
    this.#connections = connections
    this.#hosts = hosts
    this.#reads = this.#readsOver(connections.main, 1)
  }

  /** Notes what was stored: a large payload is read over a connection of its own. */
  noteSize(name: string, bytes: number): void {
    this.#large.note(name, bytes)
  }

  /** An entry with its payload. */
  whole(scope: TenantScope, key: ValidKey, name: string, options: OperationOptions): Promise<CacheEntry | undefined> {
    const reads = this.#large.has(name) ? this.#largeReads(this.#connections.bulk()) : this.#reads
    const { connection } = reads
    const waiting = this.#connections.ready(connection, options)
    return waiting === undefined ? this.#read(scope, key, name, reads) : waiting.then(() => this.#read(scope, key, name, reads))
  }

  /** One promise for all, and as few commands as {@link Reads} makes of them. */
  async many(scope: TenantScope, keys: readonly ValidKey[], nameOf: (key: ValidKey) => string, options: OperationOptions): Promise<readonly (CacheEntry | undefined)[]> {
    const { main } = this.#connections
    const waiting = this.#connections.ready(main, options)
    if (waiting !== undefined) await waiting
    const many = new ManyReads(scope, keys.length)
    for (let at = 0; at < keys.length; at++) {
      const key = keys[at] as ValidKey
      const name = nameOf(key)
      const read = many.read(key, name, at)
      if (this.#large.has(name)) this.whole(scope, key, name, options).then((entry) => read.arrived(entry), (error: unknown) => read.failed(error))
      else this.#reads.add(read)
    }
    return many.entries
  }

  /** An entry without its payload, of which the server sends nothing. */
  async head(scope: TenantScope, key: ValidKey, name: string, options: OperationOptions): Promise<CacheEntry | undefined> {
    const { main } = this.#connections
    await this.#connections.ready(main, options)
    try {
      if (scope.tenant === PROBE_TENANT && main.isCluster) await everyMasterAnswers(main, options)
      const bytes = (await main.client.getrangeBuffer(name, 0, HEAD_BYTES - 1)) as unknown
      if (!Buffer.isBuffer(bytes) || bytes.byteLength > HEAD_BYTES) throw new OutOfStep()
      if (bytes.byteLength === 0) return undefined // absent: nothing of ours is empty
      const reading = readFrameHead(bytes, HEAD_BYTES)
      if (reading === undefined) return withoutPayload(await this.#read(scope, key, name, this.#reads))
      return this.#sound(scope, key, name, reading, main)
    } catch (error) {
      if (isReply(error, 'WRONGTYPE')) return this.#refused(scope, key, 'foreign', NOT_A_STRING)
      throw main.failed(error, 'get', key)
    }
  }

  /**
   * What is in the way of a put that replaces only what is not fresh: the server cannot tell. A stale entry goes, so that the next put finds room; that
   * it might be replaced by a new one between the two commands costs a miss.
   */
  async removeStale(scope: TenantScope, key: ValidKey, name: string, options: OperationOptions): Promise<void> {
    const there = await this.head(scope, key, name, options)
    if (there !== undefined && there.freshUntil <= this.#hosts.clock.now()) await this.#connections.main.client.unlink(name)
  }

  /** What a listing says of entries, some at a time; what is no entry is left out. */
  async *infos(found: readonly FoundName[]): AsyncIterable<readonly StoredEntryInfo[]> {
    const { main } = this.#connections
    for (let at = 0; at < found.length; at += HEADS_AT_ONCE) {
      const part = found.slice(at, at + HEADS_AT_ONCE)
      main.cork()
      const heads = await Promise.all(part.map(({ name }) => main.client.getrangeBuffer(name, 0, HEAD_BYTES - 1).catch(foreignToNothing)))
      const infos: StoredEntryInfo[] = []
      for (const [place, { key, name }] of part.entries()) {
        const bytes = heads[place] as Buffer
        if (bytes.byteLength === 0) continue
        const reading = readFrameHead(bytes, HEAD_BYTES) ?? readFrame((await main.client.getBuffer(name)) ?? bytes)
        if (reading.status === 'ok') infos.push({ key, size: reading.header.payloadOffset + reading.header.payloadBytes, expiresAt: reading.header.keepUntil })
      }
      yield infos
    }
  }

  #read(scope: TenantScope, key: ValidKey, name: string, reads: Reads<EntryRead>): Promise<CacheEntry | undefined> {
    const read = new OneRead(scope, key, name)
    reads.add(read)
    return read.entry
  }

  #largeReads(bulk: Connection): Reads<EntryRead> {
    let reads = this.#bulkReads.get(bulk)
    if (reads === undefined) this.#bulkReads.set(bulk, (reads = this.#readsOver(bulk, LARGE_BYTES)))
    return reads
  }

  #readsOver(connection: Connection, expectedBytes: number): Reads<EntryRead> {
    return new Reads(connection, expectedBytes, this.#answer, this.#fail)
  }

  readonly #answer = (read: EntryRead, bytes: Buffer | null, connection: Connection): void => {
    try {
      read.arrived(bytes === null ? undefined : this.#entryOf(read, bytes, connection))
    } catch (error) {
      read.failed(error)
    }
  }

  readonly #fail = (read: EntryRead, error: unknown, connection: Connection): void => {
    if (isReply(error, 'WRONGTYPE')) read.arrived(this.#refused(read.scope, read.key, 'foreign', NOT_A_STRING))
    else read.failed(connection.failed(error, 'get', read.key))
  }

  #entryOf({ scope, key, name }: EntryRead, bytes: Buffer, connection: Connection): CacheEntry | undefined {
    if (bytes.byteLength === TOO_LARGE.byteLength && bytes.equals(TOO_LARGE)) return this.#refused(scope, key, 'foreign', 'it is larger than maxPayloadBytes')
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
}

function withoutPayload(entry: CacheEntry | undefined): CacheEntry | undefined {
  if (entry !== undefined) entry.encoded = undefined
  return entry
}

function foreignToNothing(error: unknown): Buffer {
  if (isReply(error, 'WRONGTYPE')) return Buffer.alloc(0)
  throw error
}
