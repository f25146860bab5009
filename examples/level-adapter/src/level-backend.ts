import {
  CacheError,
  decodeFrameHeader,
  encodeFrameHeader,
  entryOfFrame,
  freshUntilOf,
  getEach,
  Hosts,
  payloadProblem,
  positiveDurationMs,
  type Awaitable,
  type BackendCapabilities,
  type BackendHost,
  type BackendStats,
  type CacheBackend,
  type CacheEntry,
  type CancelTimer,
  type ClearOptions,
  type Detach,
  type Duration,
  type FrameHeader,
  type FrameReading,
  type ListOptions,
  type OperationOptions,
  type PutOptions,
  type ReadOptions,
  type StoredEntryInfo,
  type TenantScope,
  type ValidKey,
} from '@thermocline/backend'
import { ClassicLevel } from 'classic-level'
import { levelFailure } from './level-failure.js'
import { Turns } from './turns.js'

export interface LevelOptions {
  /** The directory of the database; created when missing. One process at a time may open it. */
  readonly path: string
  /** How often entries whose life is over are removed. Default `'1h'`. */
  readonly sweepInterval?: Duration | undefined
}

/** An entry is two records, so that heads and listings read no payload. One batch writes both. */
const HEAD = 'h:'
const PAYLOAD = 'p:'
const MAX_PAYLOAD_BYTES = 32 * 1024 ** 2

/** Keeps entries in a LevelDB database. */
export class LevelBackend implements CacheBackend {
  readonly name = 'level'
  readonly capabilities: BackendCapabilities = {
    synchronous: false, // LevelDB answers with promises
    shared: false, // it lets one process in
    durable: true,
    streams: false,
    keeps: 'bytes',
    maxPayloadBytes: MAX_PAYLOAD_BYTES,
  }
  readonly #db: ClassicLevel<string, Buffer>
  readonly #sweepMs: number
  readonly #hosts = new Hosts()
  readonly #turns = new Turns()
  #cancelSweep: CancelTimer = () => undefined
  #closing: Promise<void> | undefined

  /** Waits for nothing: LevelDB opens in the background, and each operation waits for it. */
  constructor(options: LevelOptions) {
    this.#sweepMs = positiveDurationMs(options.sweepInterval ?? '1h', 'sweepInterval')
    this.#db = new ClassicLevel(options.path, { keyEncoding: 'utf8', valueEncoding: 'buffer' })
  }

  attach(host: BackendHost): Detach {
    if (this.#hosts.isEmpty) this.#scheduleSweep(host.clock)
    return this.#hosts.attach(host)
  }

  get(scope: TenantScope, key: ValidKey, options: ReadOptions): Promise<CacheEntry | undefined> {
    return this.#attempt('get', scope, key, async () => {
      const name = nameOf(scope.tenant, key)
      // one call reads from one snapshot: never the head of one put with the payload of another
      const [head, payload] = await this.#db.getMany(options.want === 'head' ? [HEAD + name] : [HEAD + name, PAYLOAD + name])
      if (head === undefined) return undefined
      const found = options.want === 'head' ? readHead(head, name) : readWhole(head, payload, name)
      if (found.status === 'ok') return entryOfFrame(found.value, payload)
      const message = `get on level takes an entry for a miss: ${found.reason}`
      this.#hosts.report(new CacheError(found.status, message, { operation: 'get', backend: this.name, tenant: scope.tenant, key }))
      if (found.status === 'corrupt') await this.#remove(name, head)
      return undefined
    })
  }

  put(scope: TenantScope, key: ValidKey, entry: CacheEntry, options: PutOptions): Promise<boolean> {
    return this.#attempt('put', scope, key, async () => {
      const payload = entry.encoded?.bytes
      if (payload === undefined || payload.byteLength > MAX_PAYLOAD_BYTES) return false
      const name = nameOf(scope.tenant, key)
      const head = encodeFrameHeader(scope.tenant, key, entry, options.keepUntil)
      return this.#turns.take(name, async () => {
        if (options.onlyIfAbsent && this.#holds(await this.#db.get(HEAD + name), name, freshUntilOf)) return false
        await this.#db.batch([
          { type: 'put', key: HEAD + name, value: head },
          { type: 'put', key: PAYLOAD + name, value: Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength) },
        ])
        return true
      })
    })
  }

  getMany(scope: TenantScope, keys: readonly ValidKey[], options: ReadOptions): Awaitable<readonly (CacheEntry | undefined)[]> {
    return getEach(this, scope, keys, options)
  }

  delete(scope: TenantScope, keys: readonly ValidKey[], options: OperationOptions): Promise<number> {
    return this.#attempt('delete', scope, undefined, () => this.#removeEach(keys.map((key) => nameOf(scope.tenant, key)), options))
  }

  clear(scope: TenantScope, prefix: string, options: ClearOptions): Promise<number> {
    return this.#attempt('clear', scope, undefined, async () => {
      const names: string[] = []
      for await (const [name, head] of this.#heads(nameOf(scope.tenant, prefix), options)) {
        const found = options.only === undefined ? undefined : readHead(head, name)
        if (found?.status !== 'ok' || options.only?.(found.value.key) === true) names.push(name)
      }
      return this.#removeEach(names, options)
    })
  }

  async *list(scope: TenantScope, prefix: string, options: ListOptions): AsyncIterable<StoredEntryInfo> {
    try {
      for await (const [name, head] of this.#heads(nameOf(scope.tenant, prefix), options)) {
        const found = readHead(head, name)
        if (found.status === 'ok') yield { key: found.value.key, size: head.byteLength + found.value.payloadBytes, expiresAt: found.value.keepUntil }
      }
    } catch (error) {
      throw levelFailure(error, { operation: 'list', backend: this.name, tenant: scope.tenant })
    }
  }

  /** Unknown: LevelDB would have to scan. */
  stats(): BackendStats {
    return {}
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#hosts.isEmpty) return
    this.#cancelSweep()
    await (this.#closing ??= this.#db.close())
  }

  async #attempt<T>(operation: string, scope: TenantScope, key: ValidKey | undefined, work: () => Promise<T>): Promise<T> {
    try {
      await this.#open(operation)
      return await work()
    } catch (error) {
      throw levelFailure(error, { operation, backend: this.name, tenant: scope.tenant, key })
    }
  }

  /** Tries again if opening has failed: another process may have let go of the database since. */
  async #open(operation: string): Promise<void> {
    if (this.#closing !== undefined) throw new CacheError('closed', `${operation} on level came after its end`, { operation, backend: this.name })
    await this.#db.open()
  }

  /** The heads of all names that begin with `start`. */
  async *#heads(start: string, { signal, progress }: OperationOptions): AsyncIterable<readonly [name: string, head: Buffer]> {
    await this.#open('scan')
    for await (const [at, head] of this.#db.iterator({ gte: HEAD + start, ...(signal && { signal }) })) {
      if (!at.startsWith(HEAD + start)) return
      progress?.()
      yield [at.slice(HEAD.length), head]
    }
  }

  /** Removes one by one and counts the entries that could still be served. */
  async #removeEach(names: readonly string[], { signal, progress }: OperationOptions): Promise<number> {
    let count = 0
    for (const name of names) {
      signal?.throwIfAborted()
      if (this.#holds(await this.#remove(name), name)) count++
      progress?.()
    }
    return count
  }

  /** Removes the entry, or only the one with this head. Returns the head of what it removed. */
  #remove(name: string, only?: Buffer): Promise<Buffer | undefined> {
    return this.#turns.take(name, async () => {
      const head = await this.#db.get(HEAD + name)
      if (head === undefined || only?.equals(head) === false) return undefined
      await this.#db.batch([{ type: 'del', key: HEAD + name }, { type: 'del', key: PAYLOAD + name }])
      return head
    })
  }

  /** Whether a head is of something that counts: its time has not come, or a newer release wrote it. */
  #holds(head: Buffer | undefined, name: string, untilOf: (header: FrameHeader) => number = ({ keepUntil }) => keepUntil): boolean {
    if (head === undefined) return false
    const found = readHead(head, name)
    return found.status === 'foreign' || (found.status === 'ok' && this.#hosts.clock.now() < untilOf(found.value))
  }

  #scheduleSweep(clock = this.#hosts.clock): void {
    this.#cancelSweep()
    this.#cancelSweep = clock.schedule(this.#sweepMs, () => void this.#sweep(), { background: true })
  }

  async #sweep(): Promise<void> {
    try {
      for await (const [name, head] of this.#heads('', {})) {
        const found = readHead(head, name)
        if (found.status !== 'ok' || this.#hosts.clock.now() < found.value.keepUntil) continue
        if ((await this.#remove(name, head)) === undefined) continue // replaced meanwhile
        this.#hosts.evicted(found.value, 'expired')
      }
    } catch (error) {
      this.#hosts.report(levelFailure(error, { operation: 'sweep', backend: this.name }))
    }
    if (this.#closing === undefined) this.#scheduleSweep()
  }
}

type HeadReading = Exclude<FrameReading<FrameHeader>, { status: 'short' }>

/** Neither half holds a NUL, so no two pairs meet. LevelDB takes any bytes: nothing needs escaping. */
function nameOf(tenant: string, key: string): string {
  return `${tenant}\0${key}`
}

function readHead(head: Buffer, name: string): HeadReading {
  const found = decodeFrameHeader(head)
  if (found.status === 'short') return { status: 'corrupt', reason: 'its header is cut short' }
  if (found.status === 'ok' && nameOf(found.value.tenant, found.value.key) !== name) return { status: 'foreign', reason: 'it names another tenant or key' }
  return found
}

function readWhole(head: Buffer, payload: Buffer | undefined, name: string): HeadReading {
  const found = readHead(head, name)
  if (found.status !== 'ok') return found
  const reason = payload === undefined ? 'its payload is missing' : payloadProblem(found.value, payload)
  return reason === undefined ? found : { status: 'corrupt', reason }
}
