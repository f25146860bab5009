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

  /** A backend for one manager. @param link the way there; by default one that takes no time */
  backend(link?: Link, capabilities?: Partial<BackendCapabilities>): SharedBackend {
    return new SharedBackend(this, link, capabilities)
  }

  append({ id, text }: LogMessage): string {
    const last = this.log.at(-1)
    const position = String(++this.#appended)
    this.log.push({ id, text, position, previous: last?.id ?? '', log: last?.log ?? id })
    for (const wake of [...this.waiting]) wake()
    return position
  }

  /** Stores an entry, unless its lease is gone, or something is there that is to stay. @param now by the clock of whoever asks */
  put(name: string, entry: CacheEntry, { onlyIfAbsent, keepUntil, lease, announces }: PutOptions, now: number): Outcome {
    if (lease !== undefined && !this.standsIn(name, lease.token)) return 'lost'
    const there = this.entries.get(name)
    if (onlyIfAbsent && there !== undefined && now < CacheEntry.head(there.fields).freshUntil) {
      if (lease !== undefined) this.leave(name, lease.token, lease.wake)
      return 'kept'
    }
    const details = keepUntil < entry.expiresAt ? { ...entry.details, keepUntil } : entry.details
    this.entries.set(name, { encoded: entry.encoded, fields: { createdAt: entry.createdAt, expiresAt: entry.expiresAt, computeMicros: entry.computeMicros, details } })
    if (lease !== undefined) this.useUp(name, lease.token, lease.wake)
    if (announces !== undefined) {
      this.lines.delete(name)
      this.append(announces)
    }
    return 'stored'
  }

  standsIn(name: string, token: string): boolean {
    return this.lines.get(name)?.some((one) => isOf(one, token)) === true
  }

  leave(name: string, token: string, wake: LogMessage): void {
    if (!this.standsIn(name, token)) return
    const line = this.lines.get(name) ?? []
    const wasFirst = isOf(line[0] as string, token)
    const others = line.filter((one) => !isOf(one, token))
    if (others.length === 0) this.lines.delete(name)
    else this.lines.set(name, others)
    if (wasFirst && others.length > 0) this.append(wake)
  }

  /** Empties the line, if the token stands in it. */
  useUp(name: string, token: string, wake: LogMessage): boolean {
    if (!this.standsIn(name, token)) return false
    const others = (this.lines.get(name)?.length ?? 0) > 1
    this.lines.delete(name)
    if (others) this.append(wake)
    return true
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

  /** Takes down what there is now, so that another server may have no more than that later on. @returns to be called when that one takes over */
  copy(): () => void {
    const [entries, lines, log, appended] = [new Map(this.entries), new Map([...this.lines].map(([name, line]) => [name, [...line]])), [...this.log], this.#appended]
    return () => {
      this.entries.clear()
      for (const [name, stored] of entries) this.entries.set(name, stored)
      this.lines.clear()
      for (const [name, line] of lines) this.lines.set(name, line)
      this.log = log
      this.#appended = appended
    }
  }

  /** What was written last, another server has never heard of. */
  loseLast(messages: number): void {
    this.log = this.log.slice(0, this.log.length - messages)
    this.#appended -= messages
  }
}

/** The way between a user and the store. */
export interface Link {
  /** Resolves when a request has arrived. @throws CacheError when it does not */
  request(operation: string): Promise<void>
  /** Resolves when the answer has. @throws CacheError when it does not */
  answer(operation: string): Promise<void>
}

/** One that can be cut. */
class Wire implements Link {
  isCut = false

  request(operation: string): Promise<void> {
    return this.answer(operation)
  }

  async answer(operation: string): Promise<void> {
    await Promise.resolve()
    if (this.isCut) throw new CacheError('unavailable', 'the shared store cannot be reached', { operation, backend: 'shared' })
  }
}

/** What has become of a put. */
type Outcome = 'stored' | 'lost' | 'kept'

/** The store as one of its users has it. */
export class SharedBackend implements CacheBackend, Coordinator, Coordination {
  readonly name = 'shared'
  readonly capabilities: BackendCapabilities
  readonly losesEntries = true
  readonly beginning = '0'
  readonly #store: SharedStore
  readonly #hosts = new Hosts()
  readonly #wire = new Wire()
  readonly #link: Link

  /** @param link by default one that takes no time */
  constructor(store: SharedStore, link?: Link, capabilities: Partial<BackendCapabilities> = {}) {
    this.#store = store
    this.#link = link ?? this.#wire
    this.capabilities = { synchronous: false, shared: true, durable: false, streams: false, keeps: 'bytes', ...capabilities }
  }

  /** It cannot be reached, until {@link heal}. */
  cut(): void {
    this.#wire.isCut = true
    for (const wake of [...this.#store.waiting]) wake()
  }

  heal(): void {
    this.#wire.isCut = false
  }

  openCoordination(): Coordination {
    return this
  }

  attach(host: BackendHost): Detach {
    return this.#hosts.attach(host)
  }

  get(scope: TenantScope, key: ValidKey, { want }: ReadOptions): Promise<CacheEntry | undefined> {
    return this.#ask('get', () => {
      const found = this.#store.entries.get(nameOf(scope, key))
      if (found === undefined) return undefined
      return want === 'head' || found.encoded === undefined ? CacheEntry.head(found.fields) : CacheEntry.ofBytes(found.encoded, found.fields)
    })
  }

  getMany(scope: TenantScope, keys: readonly ValidKey[], options: ReadOptions): Promise<readonly (CacheEntry | undefined)[]> {
    return Promise.resolve(getEach(this, scope, keys, options))
  }

  async put(scope: TenantScope, key: ValidKey, entry: CacheEntry, options: PutOptions): Promise<boolean> {
    const now = this.#hosts.clock.now()
    const outcome = await this.#ask('put', () => this.#store.put(nameOf(scope, key), entry, options, now))
    options.lease?.ended(outcome)
    return outcome === 'stored'
  }

  delete(scope: TenantScope, keys: readonly ValidKey[], { announces }: OperationOptions): Promise<number> {
    return this.#ask('delete', () => {
      let removed = 0
      for (const key of keys) {
        if (this.#store.entries.delete(nameOf(scope, key))) removed++
        if (announces !== undefined) this.#store.lines.delete(nameOf(scope, key))
      }
      if (announces !== undefined) this.#store.append(announces)
      return removed
    })
  }

  clear(scope: TenantScope, prefix: string): Promise<number> {
    return this.#ask('clear', () => {
      let removed = 0
      for (const name of [...this.#store.entries.keys()]) if (name.startsWith(nameOf(scope, prefix)) && this.#store.entries.delete(name)) removed++
      return removed
    })
  }

  list(scope: TenantScope, prefix: string): AsyncIterable<StoredEntryInfo> {
    const under = nameOf(scope, prefix)
    const page = (): StoredEntryInfo[] => [...this.#store.entries].flatMap(([name, { fields }]) => (name.startsWith(under) ? [{ key: name.slice(nameOf(scope, '').length), expiresAt: fields.expiresAt }] : []))
    const ask = (): Promise<StoredEntryInfo[]> => this.#ask('list', page)
    async function* pages(): AsyncGenerator<readonly StoredEntryInfo[], void, undefined> {
      yield await ask()
    }
    return new Paged(pages)
  }

  stats(): BackendStats {
    return {}
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve()
  }

  enter(scope: TenantScope, key: ValidKey, token: string): Promise<Line> {
    return this.#ask('enter', () => {
      const name = nameOf(scope, key)
      if (!this.#store.standsIn(name, token)) this.#store.lines.set(name, [...(this.#store.lines.get(name) ?? []), token])
      return this.#line(name, token)
    })
  }

  look(scope: TenantScope, key: ValidKey, token: string): Promise<Line> {
    return this.#ask('look', () => this.#line(nameOf(scope, key), token))
  }

  renew(scope: TenantScope, key: ValidKey, token: string, times: number): Promise<boolean> {
    return this.#ask('renew', () => {
      const line = this.#store.lines.get(nameOf(scope, key)) ?? []
      const at = line.findIndex((one) => isOf(one, token))
      if (at >= 0) line[at] = `${token}.${times}`
      return at >= 0
    })
  }

  takeOver(scope: TenantScope, key: ValidKey, token: string, first: string): Promise<boolean> {
    return this.#ask('takeOver', () => {
      const name = nameOf(scope, key)
      const line = this.#store.lines.get(name) ?? []
      if (line[0] !== first) return false
      this.#store.lines.set(name, [token, ...line.slice(1).filter((one) => !isOf(one, token))])
      return true
    })
  }

  leave(scope: TenantScope, key: ValidKey, token: string, wake: LogMessage): Promise<void> {
    return this.#ask('leave', () => this.#store.leave(nameOf(scope, key), token, wake))
  }

  commit(scope: TenantScope, key: ValidKey, token: string, wake: LogMessage): Promise<boolean> {
    return this.#ask('commit', () => this.#store.useUp(nameOf(scope, key), token, wake))
  }

  empty(scope: TenantScope, keys: readonly ValidKey[]): Promise<void> {
    return this.#ask('empty', () => {
      for (const key of keys) this.#store.lines.delete(nameOf(scope, key))
    })
  }

  emptyUnder(scope: TenantScope, prefix: string): Promise<void> {
    return this.#ask('empty', () => {
      for (const name of [...this.#store.lines.keys()]) if (name.startsWith(nameOf(scope, prefix))) this.#store.lines.delete(name)
    })
  }

  announce(scope: TenantScope, key: ValidKey, message: LogMessage): Promise<void> {
    return this.#ask('announce', () => {
      this.#store.lines.delete(nameOf(scope, key))
      this.#store.append(message)
    })
  }

  append(message: LogMessage): Promise<string> {
    return this.#ask('append', () => this.#store.append(message))
  }

  async read(after: string, waitMs: number, { signal }: OperationOptions): Promise<readonly LoggedMessage[]> {
    await this.#link.request('read')
    const found = (): readonly LoggedMessage[] => this.#store.log.filter(({ position }) => this.isBefore(after, position))
    if (found().length === 0 && waitMs > 0) await this.#nextMessage(waitMs, signal)
    const messages = found()
    await this.#link.answer('read')
    return messages
  }

  end(): Promise<LoggedMessage | undefined> {
    return this.#ask('end', () => this.#store.log.at(-1))
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

  /** What the store does, it does in one step. */
  async #ask<T>(operation: string, work: () => T): Promise<T> {
    await this.#link.request(operation)
    const result = work()
    await this.#link.answer(operation)
    return result
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

  #line(name: string, token: string): Line {
    const line = this.#store.lines.get(name) ?? []
    const [first] = line
    return { first, isFirst: first !== undefined && isOf(first, token), isListed: this.#store.standsIn(name, token), isStored: this.#store.entries.has(name) }
  }
}

/** What stands in a line is a token, with how often it was renewed behind it. */
function isOf(standing: string, token: string): boolean {
  return standing === token || standing.startsWith(`${token}.`)
}

function nameOf({ tenant }: TenantScope, key: string): string {
  return `${tenant}\0${key}`
}
