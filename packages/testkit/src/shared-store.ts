import {
  CacheEntry,
  CacheError,
  getEach,
  Hosts,
  Paged,
  type BackendCapabilities,
  type BackendHost,
  type BackendStats,
  type CacheBackend,
  type Coordination,
  type Coordinator,
  type Detach,
  type EntryFields,
  type EncodedPayload,
  type Line,
  type LoggedMessage,
  type LogMessage,
  type OperationOptions,
  type PutOptions,
  type ReadOptions,
  type StoredEntryInfo,
  type TenantScope,
  type ValidKey,
} from '@thermocline/backend'

interface Stored {
  readonly encoded: EncodedPayload | undefined
  readonly fields: EntryFields
}

/**
 * A store in memory that several managers share as processes do, over which they agree: as plain as the contract can be kept. What may go wrong with a
 * store of that kind is done to it by its methods: it is cut off for one of its users, forgets lines, loses or trims its log.
 */
export class SharedStore {
  readonly entries = new Map<string, Stored>()
  readonly lines = new Map<string, string[]>()
  log: LoggedMessage[] = []
  /** Wakes who waits for a message. */
  readonly waiting = new Set<() => void>()
  #appended = 0

  /** A backend for one manager. */
  backend(): SharedBackend {
    return new SharedBackend(this)
  }

  append({ id, text }: LogMessage): string {
    const last = this.log.at(-1)
    const position = String(++this.#appended)
    this.log.push({ id, text, position, previous: last?.id ?? '', log: last?.log ?? id })
    for (const wake of [...this.waiting]) wake()
    return position
  }

  /** The oldest messages are gone. */
  trim(left: number): void {
    this.log = left === 0 ? [] : this.log.slice(-left)
  }

  /** Everything is gone, and positions begin anew. */
  flush(): void {
    this.entries.clear()
    this.lines.clear()
    this.log = []
    this.#appended = 0
  }

  /** What was written last, another server has never heard of. */
  loseLast(messages: number): void {
    this.log = this.log.slice(0, this.log.length - messages)
    this.#appended -= messages
  }
}

/** The store as one of its users has it. */
export class SharedBackend implements CacheBackend, Coordinator, Coordination {
  readonly name = 'shared'
  readonly capabilities: BackendCapabilities = { synchronous: false, shared: true, durable: false, streams: false, keeps: 'bytes' }
  readonly beginning = '0'
  readonly #store: SharedStore
  readonly #hosts = new Hosts()
  #isCut = false

  constructor(store: SharedStore) {
    this.#store = store
  }

  /** It cannot be reached, until {@link heal}. */
  cut(): void {
    this.#isCut = true
    for (const wake of [...this.#store.waiting]) wake()
  }

  heal(): void {
    this.#isCut = false
  }

  openCoordination(): Coordination {
    return this
  }

  attach(host: BackendHost): Detach {
    return this.#hosts.attach(host)
  }

  async get(scope: TenantScope, key: ValidKey, { want }: ReadOptions): Promise<CacheEntry | undefined> {
    await this.#reach('get')
    const found = this.#store.entries.get(nameOf(scope, key))
    if (found === undefined) return undefined
    return want === 'head' || found.encoded === undefined ? CacheEntry.head(found.fields) : CacheEntry.ofBytes(found.encoded, found.fields)
  }

  getMany(scope: TenantScope, keys: readonly ValidKey[], options: ReadOptions): Promise<readonly (CacheEntry | undefined)[]> {
    return Promise.resolve(getEach(this, scope, keys, options))
  }

  async put(scope: TenantScope, key: ValidKey, entry: CacheEntry, { onlyIfAbsent, keepUntil, lease, announces }: PutOptions): Promise<boolean> {
    await this.#reach('put')
    const name = nameOf(scope, key)
    const { entries, lines } = this.#store
    if (lease !== undefined && !this.#standsIn(name, lease.token)) {
      lease.ended('lost')
      return false
    }
    const there = entries.get(name)
    if (onlyIfAbsent && there !== undefined && this.#hosts.clock.now() < CacheEntry.head(there.fields).freshUntil) {
      if (lease !== undefined) {
        await this.leave(scope, key, lease.token, lease.wake)
        lease.ended('kept')
      }
      return false
    }
    const details = keepUntil < entry.expiresAt ? { ...entry.details, keepUntil } : entry.details
    entries.set(name, { encoded: entry.encoded, fields: { createdAt: entry.createdAt, expiresAt: entry.expiresAt, computeMicros: entry.computeMicros, details } })
    const others = (lines.get(name)?.length ?? 0) > 1
    if (lease !== undefined || announces !== undefined) lines.delete(name)
    if (announces !== undefined) this.#store.append(announces)
    if (lease !== undefined && others) this.#store.append(lease.wake)
    lease?.ended('stored')
    return true
  }

  async delete(scope: TenantScope, keys: readonly ValidKey[], { announces }: OperationOptions): Promise<number> {
    await this.#reach('delete')
    let removed = 0
    for (const key of keys) {
      if (this.#store.entries.delete(nameOf(scope, key))) removed++
      if (announces !== undefined) this.#store.lines.delete(nameOf(scope, key))
    }
    if (announces !== undefined) this.#store.append(announces)
    return removed
  }

  async clear(scope: TenantScope, prefix: string): Promise<number> {
    await this.#reach('clear')
    let removed = 0
    for (const name of [...this.#store.entries.keys()]) if (name.startsWith(nameOf(scope, prefix)) && this.#store.entries.delete(name)) removed++
    return removed
  }

  list(scope: TenantScope, prefix: string): AsyncIterable<StoredEntryInfo> {
    const { entries } = this.#store
    const under = nameOf(scope, prefix)
    async function* pages(): AsyncGenerator<readonly StoredEntryInfo[], void, undefined> {
      await Promise.resolve()
      yield [...entries].flatMap(([name, { fields }]) => (name.startsWith(under) ? [{ key: name.slice(nameOf(scope, '').length), expiresAt: fields.expiresAt }] : []))
    }
    return new Paged(pages)
  }

  stats(): BackendStats {
    return {}
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve()
  }

  async enter(scope: TenantScope, key: ValidKey, token: string): Promise<Line> {
    await this.#reach('enter')
    const name = nameOf(scope, key)
    if (!this.#standsIn(name, token)) this.#store.lines.set(name, [...(this.#store.lines.get(name) ?? []), token])
    return this.#line(name, token)
  }

  async look(scope: TenantScope, key: ValidKey, token: string): Promise<Line> {
    await this.#reach('look')
    return this.#line(nameOf(scope, key), token)
  }

  async renew(scope: TenantScope, key: ValidKey, token: string, times: number): Promise<boolean> {
    await this.#reach('renew')
    const line = this.#store.lines.get(nameOf(scope, key)) ?? []
    const at = line.findIndex((one) => isOf(one, token))
    if (at >= 0) line[at] = `${token}.${times}`
    return at >= 0
  }

  async takeOver(scope: TenantScope, key: ValidKey, token: string, first: string): Promise<boolean> {
    await this.#reach('takeOver')
    const name = nameOf(scope, key)
    const line = this.#store.lines.get(name) ?? []
    if (line[0] !== first) return false
    this.#store.lines.set(name, [token, ...line.slice(1).filter((one) => !isOf(one, token))])
    return true
  }

  async leave(scope: TenantScope, key: ValidKey, token: string, wake: LogMessage): Promise<void> {
    await this.#reach('leave')
    const name = nameOf(scope, key)
    if (!this.#standsIn(name, token)) return
    const line = this.#store.lines.get(name) ?? []
    const wasFirst = isOf(line[0] as string, token)
    const others = line.filter((one) => !isOf(one, token))
    if (others.length === 0) this.#store.lines.delete(name)
    else this.#store.lines.set(name, others)
    if (wasFirst && others.length > 0) this.#store.append(wake)
  }

  async commit(scope: TenantScope, key: ValidKey, token: string, wake: LogMessage): Promise<boolean> {
    await this.#reach('commit')
    const name = nameOf(scope, key)
    if (!this.#standsIn(name, token)) return false
    const others = (this.#store.lines.get(name)?.length ?? 0) > 1
    this.#store.lines.delete(name)
    if (others) this.#store.append(wake)
    return true
  }

  async empty(scope: TenantScope, keys: readonly ValidKey[]): Promise<void> {
    await this.#reach('empty')
    for (const key of keys) this.#store.lines.delete(nameOf(scope, key))
  }

  async emptyUnder(scope: TenantScope, prefix: string): Promise<void> {
    await this.#reach('empty')
    for (const name of [...this.#store.lines.keys()]) if (name.startsWith(nameOf(scope, prefix))) this.#store.lines.delete(name)
  }

  async announce(scope: TenantScope, key: ValidKey, message: LogMessage): Promise<void> {
    await this.#reach('announce')
    this.#store.lines.delete(nameOf(scope, key))
    this.#store.append(message)
  }

  async append(message: LogMessage): Promise<string> {
    await this.#reach('append')
    return this.#store.append(message)
  }

  async read(after: string, waitMs: number, { signal }: OperationOptions): Promise<readonly LoggedMessage[]> {
    await this.#reach('read')
    const found = (): readonly LoggedMessage[] => this.#store.log.filter(({ position }) => this.isBefore(after, position))
    if (found().length === 0 && waitMs > 0) await this.#nextMessage(waitMs, signal)
    await this.#reach('read')
    return found()
  }

  async end(): Promise<LoggedMessage | undefined> {
    await this.#reach('end')
    return this.#store.log.at(-1)
  }

  before(): string {
    return this.beginning
  }

  isBefore(position: string, other: string): boolean {
    return Number(position) < Number(other)
  }

  close(): Promise<void> {
    for (const wake of [...this.#store.waiting]) wake()
    return Promise.resolve()
  }

  #nextMessage(waitMs: number, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.#hosts.clock.schedule(waitMs, () => done(), { background: true })
      const done = (): void => {
        cancel()
        signal?.removeEventListener('abort', done)
        this.#store.waiting.delete(done)
        resolve()
      }
      this.#store.waiting.add(done)
      signal?.addEventListener('abort', done)
      if (signal?.aborted === true) done()
    })
  }

  async #reach(operation: string): Promise<void> {
    await Promise.resolve()
    if (this.#isCut) throw new CacheError('unavailable', 'the shared store cannot be reached', { operation, backend: this.name })
  }

  #standsIn(name: string, token: string): boolean {
    return this.#store.lines.get(name)?.some((one) => isOf(one, token)) === true
  }

  #line(name: string, token: string): Line {
    const line = this.#store.lines.get(name) ?? []
    const [first] = line
    return { first, isFirst: first !== undefined && isOf(first, token), isListed: this.#standsIn(name, token), isStored: this.#store.entries.has(name) }
  }
}

/** What stands in a line is a token, with how often it was renewed behind it. */
function isOf(standing: string, token: string): boolean {
  return standing === token || standing.startsWith(`${token}.`)
}

function nameOf({ tenant }: TenantScope, key: string): string {
  return `${tenant}\0${key}`
}
