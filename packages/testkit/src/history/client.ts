import { CacheError } from '@thermocline/backend'
import type { GetOptions, SetOptions, TenantCache, TieredCacheManager } from '@thermocline/core'
import type { PlannedCall } from './plan.js'
import type { Answer, Computed, History, Read, Removal, Write } from './records.js'
import { stamped, stampOf } from './stamped.js'

/** The manager a client calls: a new one after it has been opened again. */
export interface InUse {
  readonly cache: TieredCacheManager
  /** Numbered as they were opened. */
  readonly number: number
  /** Tiers that only this manager can invalidate. */
  readonly ownTiers: readonly string[]
  /** All tiers, fastest first. */
  readonly tiers: readonly string[]
  isClosing: boolean
  /** Whether every tier has applied what was asked of it; `undefined`: that is not asked. */
  readonly hasApplied?: (() => Promise<boolean>) | undefined
  /** Its close has resolved. What has no answer then gets none: its process would have ended. */
  hasEnded: boolean
}

/** How much of a stream comes at a time. */
const CHUNK_BYTES = 16_384
const SOON_MS = 15

/** Verbs that ask every tier whatever a call leaves out: `list`, and those that may join another call, whose options then decide. */
const ASK_ALL: ReadonlySet<string> = new Set(['list', 'getOrCompute', 'getOrComputeStream', 'getStream'])

class OwnDoing extends Error {}

/** One client of a history: makes calls as they were planned, and records them. */
export class Client {
  readonly #number: number
  readonly #history: History
  /** The version that a client counts up for each value it makes. */
  #made = 0

  constructor(number: number, history: History) {
    this.#number = number
    this.#history = history
  }

  /** Resolves when the call has ended, however. */
  async make(call: PlannedCall, manager: InUse): Promise<void> {
    const made = new Call(call, manager, this.#number, this.#history, () => `c${this.#number}-${++this.#made}`)
    await made.run()
  }
}

class Call {
  readonly #call: PlannedCall
  readonly #manager: InUse
  readonly #client: number
  readonly #history: History
  readonly #nextVersion: () => string
  readonly #acme: TenantCache
  readonly #options: GetOptions
  readonly #ttlMs: number

  constructor(call: PlannedCall, manager: InUse, client: number, history: History, nextVersion: () => string) {
    this.#call = call
    this.#manager = manager
    this.#client = client
    this.#history = history
    this.#nextVersion = nextVersion
    this.#acme = manager.cache.tenant(call.tenant)
    this.#options = { tiers: Object.fromEntries(this.#leftOut.map((tier) => [tier, false])) }
    this.#ttlMs = call.ttlMs === undefined ? Number.POSITIVE_INFINITY : (call.ttlMs ?? Number.POSITIVE_INFINITY)
  }

  run(): Promise<void> {
    const { verb, key, keys } = this.#call
    switch (verb) {
      case 'set':
      case 'setMany':
        return this.#set(verb === 'set' ? [key] : keys)
      case 'setStream':
        return this.#setStream()
      case 'delete':
      case 'deleteMany':
        return this.#delete(verb === 'delete' ? [key] : keys)
      case 'clear':
        return this.#clear()
      case 'getMany':
        return this.#getMany()
      case 'list':
        return this.#list()
      case 'getOrCompute':
      case 'getOrComputeStream':
        return this.#getOrCompute()
      default:
        return this.#read(verb)
    }
  }

  get #leftOut(): readonly string[] {
    const { tiers } = this.#manager
    if (tiers.length === 1) return []
    const { without } = this.#call
    if (without === 'slowest') return tiers.slice(-1)
    if (without === 'fastest') return tiers.slice(0, 1)
    return without === 'all but the slowest' ? tiers.slice(0, -1) : []
  }

  get #setOptions(): SetOptions {
    const { ttlMs } = this.#call
    // what every tier's default is does not matter: it is longer than any history
    return ttlMs === undefined ? this.#options : { ...this.#options, ttl: ttlMs === null ? null : ttlMs / 1000 }
  }

  get #who(): { readonly manager: number; readonly client: number; readonly verb: string; readonly without: readonly string[]; readonly tenant: string } {
    return { manager: this.#manager.number, client: this.#client, verb: this.#call.verb, without: this.#leftOut, tenant: this.#call.tenant }
  }

  /** A signal of the client's own, where the call is to break off. */
  #signal(): { readonly signal?: AbortSignal } {
    if (!this.#call.breaksOff) return {}
    const controller = new AbortController()
    this.#history.clock.schedule(SOON_MS, () => controller.abort(new OwnDoing('the client has left')), { background: true })
    return { signal: controller.signal }
  }

  async #set(keys: readonly string[]): Promise<void> {
    const { tenant, form, length } = this.#call
    const history = this.#history
    const writes = keys.map((key) => history.write({ ...this.#who, key, version: this.#nextVersion(), form, ttlMs: this.#ttlMs }))
    const values = writes.map(({ key, version }) => [key, stamped({ tenant, key, version }, form, length)] as const)
    const options = { ...this.#setOptions, ...this.#signal() }
    const [only] = values
    const work = this.#call.verb === 'set' && only !== undefined ? this.#acme.set(only[0], only[1], options) : this.#acme.setMany(values, options)
    for (const write of writes) write.bornBy = history.clock.now() // taken in before the verb waits for anything
    await this.#end(writes, work)
  }

  async #setStream(): Promise<void> {
    const { key, tenant, length } = this.#call
    const write = this.#history.write({ ...this.#who, key, version: this.#nextVersion(), form: 'bytes', ttlMs: this.#ttlMs })
    write.isBroken = this.#call.breaksOff
    const source = this.#chunks(stamped({ tenant, key, version: write.version }, 'bytes', length) as Buffer, () => this.#history.sourceEnded(write))
    await this.#end([write], this.#acme.setStream(key, source, this.#setOptions))
  }

  async #delete(keys: readonly string[]): Promise<void> {
    const removals = keys.map((key) => this.#history.removal({ ...this.#who, key, prefix: undefined }))
    const options = { ...this.#options, ...this.#signal() }
    await this.#end(removals, this.#call.verb === 'delete' ? this.#acme.delete(keys[0] as string, options) : this.#acme.deleteMany(keys, options))
  }

  async #clear(): Promise<void> {
    const { prefix } = this.#call
    await this.#end([this.#history.removal({ ...this.#who, key: undefined, prefix })], this.#acme.clear(prefix))
  }

  async #getMany(): Promise<void> {
    const { keys } = this.#call
    const reads = keys.map((key) => this.#beginRead(key))
    const work = this.#acme.getMany(keys, { ...this.#options, ...this.#signal() })
    const found = work.then((hits) => {
      for (const read of reads) read.answer = hits.has(read.key) ? this.#answerOf(read, hits.get(read.key)) : { is: 'miss' }
    })
    await this.#end(reads, found)
  }

  async #list(): Promise<void> {
    const { prefix } = this.#call
    // which keys there are is only known afterwards; that of the prefix stands for the call itself
    const call = this.#beginRead(prefix === '' ? this.#call.key : prefix)
    const listing = async (): Promise<void> => {
      const seen = new Set<string>()
      for await (const { key, tier } of this.#acme.list(prefix)) {
        const id = JSON.stringify([key, tier])
        const read: Read = { ...call, key, answer: { is: 'present' } }
        if (!key.startsWith(prefix)) read.answer = { is: 'wrong', rule: 'foreign', what: `${key}, which does not begin with ${JSON.stringify(prefix)}` }
        else if (seen.has(id)) read.answer = { is: 'wrong', rule: 'corrupt', what: `${key} of ${tier} twice` }
        seen.add(id)
        this.#history.records.push(read)
        this.#history.ended(read)
      }
    }
    await this.#end([call], listing())
  }

  async #read(verb: 'get' | 'getStream' | 'has' | 'lookup' | 'peek'): Promise<void> {
    const { key, breaksOff } = this.#call
    const acme = this.#acme
    const read = this.#beginRead(key)
    const options = { ...this.#options, ...(verb === 'getStream' ? {} : this.#signal()) }
    const work = async (): Promise<Answer | undefined> => {
      switch (verb) {
        case 'get':
          // without options a hit in memory takes a way of its own
          return this.#answerUnlessMissing(read, await (this.#call.without === 'none' && !breaksOff ? acme.get(key) : acme.get(key, options)))
        case 'peek':
          return this.#answerUnlessMissing(read, this.#call.without === 'none' ? acme.peek(key) : acme.peek(key, this.#options))
        case 'has':
          return (await acme.has(key, options)) ? { is: 'present' } : { is: 'miss' }
        case 'getStream':
          return this.#readStream(read, await acme.getStream(key, options))
        case 'lookup': {
          const found = await acme.lookup(key, options)
          if (found.status === 'miss') return { is: 'miss' }
          const answer = this.#answerOf(read, found.value)
          return answer.is === 'version' ? { ...answer, expiresAt: found.expiresAt ?? Number.POSITIVE_INFINITY } : answer
        }
      }
    }
    await this.#end([read], work().then((answer) => (read.answer = answer)))
  }

  async #getOrCompute(): Promise<void> {
    const { verb, key, tenant, form, length, slowMs, breaksOff } = this.#call
    const read = this.#beginRead(key)
    const options = { ...this.#setOptions, ...this.#signal() }
    const begin = (isStream: boolean): { readonly computed: Computed; readonly value: unknown } => {
      const computed = this.#history.computed(read, { version: this.#nextVersion(), form: isStream ? 'bytes' : form, ttlMs: this.#ttlMs })
      return { computed, value: stamped({ tenant, key, version: computed.version }, computed.form, length) }
    }
    const compute = async (): Promise<unknown> => {
      const { computed, value } = begin(false)
      await this.#pause(slowMs)
      const fails = breaksOff && length > 1000
      this.#history.ended(computed, fails ? 'rejected' : 'resolved')
      if (fails) throw new OwnDoing('the compute has failed')
      return value
    }
    const produce = (): AsyncIterable<Uint8Array> => {
      const { computed, value } = begin(true)
      return this.#chunks(value as Buffer, () => undefined, (isWhole) => this.#history.ended(computed, isWhole ? 'resolved' : 'rejected'))
    }
    const work = async (): Promise<Answer | undefined> => {
      if (verb === 'getOrComputeStream') return this.#readStream(read, await this.#acme.getOrComputeStream(key, produce, options))
      return this.#answerOf(read, await (this.#call.without === 'none' && this.#call.ttlMs === undefined && !breaksOff ? this.#acme.getOrCompute(key, compute) : this.#acme.getOrCompute(key, compute, options)))
    }
    await this.#end([read], work().then((answer) => (read.answer = answer)))
  }

  #beginRead(key: string): Read {
    const { ownTiers, tiers } = this.#manager
    const asked = tiers.filter((tier) => !this.#leftOut.includes(tier))
    return this.#history.read({ ...this.#who, key, asksOwnTiers: ASK_ALL.has(this.#call.verb) || asked.some((tier) => ownTiers.includes(tier)) })
  }

  #answerUnlessMissing(read: Read, value: unknown): Answer {
    return value === undefined ? { is: 'miss' } : this.#answerOf(read, value)
  }

  #answerOf({ tenant, key }: Read, value: unknown, isStream = false): Answer {
    const stamp = stampOf(value)
    if (stamp === undefined) return { is: 'wrong', rule: 'corrupt', what: `a damaged value: ${excerptOfValue(value)}` }
    if (stamp.tenant !== tenant || stamp.key !== key) return { is: 'wrong', rule: 'foreign', what: `${stamp.version} of ${JSON.stringify(stamp.tenant)} and ${JSON.stringify(stamp.key)}` }
    return { is: 'version', version: stamp.version, form: isStream ? undefined : stamp.form }
  }

  async #readStream(read: Read, stream: AsyncIterable<Uint8Array> | undefined): Promise<Answer | undefined> {
    if (stream === undefined) return { is: 'miss' }
    const chunks: Uint8Array[] = []
    for await (const chunk of stream) {
      chunks.push(chunk)
      if (!this.#call.breaksOff) continue
      read.hasLeft = true
      return undefined
    }
    return this.#answerOf(read, Buffer.concat(chunks), true)
  }

  /** Chunk by chunk, or until it breaks off. */
  async *#chunks(bytes: Buffer, whole: () => void, over: (isWhole: boolean) => void = () => undefined): AsyncGenerator<Uint8Array, void, undefined> {
    let isWhole = false
    try {
      for (let at = 0; at < bytes.length; at += CHUNK_BYTES) {
        yield bytes.subarray(at, at + CHUNK_BYTES)
        await this.#pause(this.#call.slowMs)
        if (this.#call.breaksOff) throw new OwnDoing('the source has failed')
      }
      isWhole = true
      whole()
    } finally {
      over(isWhole)
    }
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => (ms === 0 ? setImmediate(resolve) : void this.#history.clock.schedule(ms, resolve)))
  }

  async #end(records: readonly (Write | Removal | Read)[], work: Promise<unknown>): Promise<void> {
    try {
      await work
      if (this.#manager.hasEnded) throw new OwnDoing('its manager had been closed before')
      for (const record of records) this.#history.ended(record)
      const isApplied = await this.#manager.hasApplied?.()
      for (const record of records) if (record.kind !== 'read') record.isApplied = isApplied
    } catch (error) {
      const isOwnDoing = error instanceof OwnDoing || (this.#manager.isClosing && isClosed(error)) || (error instanceof AggregateError && error.errors.some((one) => one instanceof OwnDoing))
      for (const record of records) {
        record.isOwnDoing = isOwnDoing
        if (record.kind === 'read') record.hasLeft ||= isOwnDoing
        this.#history.ended(record, 'rejected', error)
      }
    }
  }
}

function isClosed(error: unknown): boolean {
  return error instanceof AggregateError ? error.errors.every(isClosed) : error instanceof CacheError && error.code === 'closed'
}

function excerptOfValue(value: unknown): string {
  const text = value instanceof Uint8Array ? Buffer.from(value).toString('latin1') : typeof value === 'string' ? value : JSON.stringify(value)
  return `${text.slice(0, 120)}${text.length > 120 ? `... (${text.length} characters)` : ''}`
}

