import type { Readable } from 'node:stream'
import { checkNothing, Invalidation, kindOf, validateKey, validatePrefix, type Awaitable, type ValidKey } from '@thermocline/backend'
import { handOut } from '../codec/isolate.js'
import { abortable } from '../flights/abort.js'
import type { Compute } from '../flights/compute-context.js'
import type { Plan, Policy } from '../policies/policy.js'
import { backendStats } from './backend-stats.js'
import type { Engine } from './engine.js'
import { ComputeBatch, type ComputeMany } from '../computing/compute-batch.js'
import { getOrComputeInFlight, justCompute } from '../computing/get-or-compute.js'
import { computeTogether, getOrComputeTogether, KeyToMake } from '../computing/get-or-compute-many.js'
import { hotEntry, hotHit, hotPeek, isFresh } from './hot-path.js'
import { clearEverywhere, deleteEverywhere } from '../invalidation/invalidate.js'
import { listTiers, type ListedEntry, type ListVerbOptions } from '../reading/list.js'
import { confirm } from './confirm.js'
import type {
  ClearVerbOptions,
  DeleteOptions,
  ExpireOptions,
  GetOptions,
  GetOrComputeOptions,
  GetValueOptions,
  KeyOptions,
  Lookup,
  LookupOptions,
  RefreshOptions,
  SetOptions,
} from './options.js'
import { ComputeOperation, Operation, ReadOperation } from '../operation/operation.js'
import { conclude, walk } from '../reading/walk.js'
import { readMany } from '../reading/read-many.js'
import { composeStats, type CacheStats } from './stats.js'
import { bytesFrom, type ByteSource } from '../streams/bytes-from.js'
import { getOrComputeStream, justProduce, type Produce } from '../computing/get-or-compute-stream.js'
import { expireEverywhere } from '../streams/expire.js'
import { getStream } from '../streams/read-stream.js'
import { setStream } from '../streams/write-stream.js'
import type { TenantState } from '../state/tenant-state.js'
import type { EntryWishes } from '../operation/terms.js'
import type { Found } from '../operation/found.js'
import { peekTier } from '../reading/tier-access.js'
import { iterable, writeOptions } from './verb-options.js'
import * as verbs from './verbs.js'
import { allInWindows } from './windows.js'
import { setEverywhere, ValueSnapshot } from '../writing/write.js'

/**
 * One tenant's cache: every verb, without another mention of the tenant. Cheap to make and to keep; made by
 * `cache.tenant(id)`.
 *
 * The order of this class is the order of a read: the short way, which never waits and allocates nothing, then the long
 * way through the tiers.
 */
export class TenantCache {
  readonly #engine: Engine
  readonly #state: TenantState

  /** @internal */
  constructor(engine: Engine, state: TenantState) {
    this.#engine = engine
    this.#state = state
  }

  /** The tenant's id. */
  get tenant(): string {
    return this.#state.tenant
  }

  /**
   * The cached value, or what `compute` makes. Concurrent callers of one key share one compute. What is found is copied
   * into faster tiers; what is computed is stored in every tier of the policy before this resolves.
   *
   * Rejects with the compute's own error, with `signal.reason`, or with a `TypeError` for invalid arguments; never
   * because a tier is down.
   */
  getOrCompute<T>(key: string, compute: Compute<T>, options?: GetOrComputeOptions): Promise<T> {
    if (options === undefined) {
      const hit = hotHit(this.#engine, this.#state, key, compute)
      if (hit !== undefined) return hit as Promise<T>
    }
    return this.#getOrCompute(key, compute, options === undefined ? NO_OPTIONS : options) as Promise<T>
  }

  /**
   * Makes a new value, whatever is there, and stores it; the same as `getOrCompute` with `{ refresh: true }`. Until then others are served what is there.
   * Callers who want a new value meanwhile share it, and so do those who find nothing. Where the compute fails, what is there stays.
   *
   * Rejects as `getOrCompute` does; no stale value stands in for the new one.
   */
  async refresh<T>(key: string, compute: Compute<T>, options: RefreshOptions = {}): Promise<T> {
    verbs.REFRESH_KEY.check(options)
    return this.getOrCompute(key, compute, { ...options, refresh: true })
  }

  /**
   * The cached value, or `undefined`, or the `default` of the options. A value that is not fresh any more is a miss. See {@link lookup} to tell a stored
   * `undefined` from a miss.
   */
  get<T = unknown>(key: string, options: GetValueOptions<T> & { readonly default: T }): Promise<T>
  get<T = unknown>(key: string, options?: GetValueOptions): Promise<T | undefined>
  get<T = unknown>(key: string, options?: GetValueOptions): Promise<T | undefined> {
    if (options === undefined) {
      const hit = hotHit(this.#engine, this.#state, key)
      if (hit !== undefined) return hit as Promise<T>
    }
    return this.#get(key, options === undefined ? NO_OPTIONS : options) as Promise<T | undefined>
  }

  /** The value if a synchronous tier holds it fresh, else `undefined`. Counts nothing, promotes nothing. */
  peek<T = unknown>(key: string, options?: KeyOptions): T | undefined {
    if (options === undefined) {
      const entry = hotPeek(this.#engine, this.#state, key)
      if (entry !== undefined) return entry.value as T
    }
    return this.#peek(key, options) as T | undefined
  }

  /**
   * Whether the key is cached, and what is known about it: `fresh`, or `stale` while a stale window of its policy, or of this call, is open. Counts
   * nothing, promotes nothing, refreshes nothing.
   */
  lookup(key: string, options: LookupOptions & { readonly value: false }): Promise<Lookup<undefined>>
  lookup<T = unknown>(key: string, options?: LookupOptions): Promise<Lookup<T>>
  async lookup<T = unknown>(key: string, options: LookupOptions = {}): Promise<Lookup<T>> {
    const wantsValue = options?.value !== false
    const { found, plan } = await this.#find('lookup', verbs.LOOKUP, key, options, wantsValue ? 'value' : 'head', true)
    if (found === undefined) return { status: 'miss' }
    const { entry, slot, isStale } = found
    return {
      status: isStale ? 'stale' : 'fresh',
      ...((wantsValue ? { value: handOut(entry.value, this.#engine.isolation) } : {}) as { value: T }),
      tier: slot.tier.name,
      createdAt: entry.createdAt,
      expiresAt: entry.staleAt === Number.POSITIVE_INFINITY ? null : entry.staleAt,
      ...staleUntil(found, plan),
      // copies: what is handed out here is nobody's way into the entry
      ...(entry.details?.metadata === undefined ? {} : { metadata: { ...entry.details.metadata } }),
      ...(entry.details?.tags === undefined ? {} : { tags: [...entry.details.tags] }),
    }
  }

  /** Whether the key is cached fresh. Reads no payload, counts nothing, promotes nothing. */
  async has(key: string, options: GetOptions = {}): Promise<boolean> {
    return (await this.#find('has', verbs.HAS, key, options, 'head', false)).found !== undefined
  }

  /**
   * Stores a value in every tier of the policy. A tier that cannot take it loses the key instead, at once or as soon as
   * it can be reached. `ttl: 0` removes the key.
   *
   * Rejects with a `TypeError` for invalid arguments, with `CacheError` `not-encodable` when a tier needs bytes and the
   * codec refuses the value (nothing is changed then), and with `not-recorded` when a tier can neither store nor forget.
   */
  async set(key: string, value: unknown, options: SetOptions = {}): Promise<void> {
    const engine = this.#engine
    engine.assertOpen('set')
    const validKey = validateKey(key)
    verbs.SET_VALUE.check(options)
    const plan = this.#plan(validKey, options, verbs.SET_VALUE)
    const wishes = writeOptions(options, plan)
    options.signal?.throwIfAborted()
    if (!engine.enabled) return
    const operation = new Operation(engine, this.#state, validKey, plan)
    // taken before anything is touched: a value that is refused changes nothing
    const snapshot = new ValueSnapshot(operation, { value, ...wishes })
    const isKept = await abortable(engine.invalidation(setEverywhere(operation, snapshot)), options.signal)
    if (options.confirmed === true) await confirm(engine, this.#state, 'set', Invalidation.ofKey(validKey), options.signal)
    if (isKept && engine.events.wants('set')) engine.events.emit('set', { tenant: this.tenant, key, policy: plan.policy.name })
  }

  /** Removes the key: `true` if a tier had it, `false` if none had, `undefined` if none can tell. */
  async delete(key: string, options: DeleteOptions = {}): Promise<boolean | undefined> {
    const deleted = await this.#invalidate('delete', verbs.DELETE_KEY, key, options, (operation) => deleteEverywhere(operation.engine, operation.state, Invalidation.ofKey(operation.key), operation.plan))
    const { enabled, events } = this.#engine
    if (enabled && events.wants('delete')) events.emit('delete', { tenant: this.tenant, key })
    return deleted
  }

  /**
   * The key is not fresh any more: until it is made anew it may be served as stale, as long as a stale window of its policy, or of this call, is open, and
   * in no case longer than it would have been. Without such a window it is deleted. What began before stores nothing, as for `delete`.
   *
   * `true` if a tier had it, `false` if none had, `undefined` if none can tell. Rejects as `delete` does.
   */
  async expire(key: string, options: ExpireOptions = {}): Promise<boolean | undefined> {
    return this.#invalidate('expire', verbs.EXPIRE, key, options, expireEverywhere)
  }

  /**
   * Removes every key of the tenant that starts with `prefix` (a plain string prefix; none: all), in every tier. The
   * number of entries that the tier with the most of them removed, or `undefined` when no tier can tell.
   */
  async clear(prefix?: string, options: ClearVerbOptions = {}): Promise<number | undefined> {
    const engine = this.#engine
    engine.assertOpen('clear')
    verbs.CLEAR.check(options)
    const validPrefix = validatePrefix(prefix)
    if (!engine.enabled) return undefined
    const invalidation = Invalidation.ofPrefix(validPrefix)
    const removed = await engine.invalidation(clearEverywhere(engine, this.#state, invalidation))
    if (options.confirmed === true) await confirm(engine, this.#state, 'clear', invalidation, undefined)
    if (engine.events.wants('clear')) engine.events.emit('clear', { tenant: this.tenant, prefix: validPrefix })
    return removed
  }

  /**
   * The payload as a stream of its bytes, or `undefined`: strings as UTF-8, what is JSON as its text, decompressed. Faster tiers are filled
   * while it is read, at the caller's pace. Several readers of one key share one download.
   *
   * To be read to its end or destroyed. It errors instead of ending when the bytes are not those that were stored, and with
   * `signal.reason` when the signal fires.
   */
  async getStream(key: string, options: GetOptions = {}): Promise<Readable | undefined> {
    const engine = this.#engine
    engine.assertOpen('getStream')
    const validKey = validateKey(key)
    verbs.GET_STREAM.check(options)
    const plan = this.#plan(validKey, options, verbs.GET_STREAM)
    options.signal?.throwIfAborted()
    return engine.enabled ? getStream(new ReadOperation(engine, this.#state, validKey, plan, 'stream', true), options.signal) : undefined
  }

  /**
   * Stores what a stream gives as one value, a Buffer to whoever gets it whole, in every tier of the policy, without ever having all of it in
   * memory. Nothing changes before the source has ended: that is when the set takes its place in the order of calls. What a tier
   * cannot hold (`maxPayloadBytes`; 8 MiB in tiers without streams) it does not get.
   *
   * Rejects as `set` does, and with the source's own error; nothing is stored then, in no tier.
   */
  async setStream(key: string, source: ByteSource, options: SetOptions = {}): Promise<void> {
    const engine = this.#engine
    engine.assertOpen('setStream')
    const validKey = validateKey(key)
    verbs.SET_STREAM.check(options)
    const plan = this.#plan(validKey, options, verbs.SET_STREAM)
    const wishes = writeOptions(options, plan)
    const chunks = bytesFrom(source, 'source')
    options.signal?.throwIfAborted()
    if (!engine.enabled) return
    const isKept = await engine.invalidation(setStream(new Operation(engine, this.#state, validKey, plan), chunks, wishes, options.signal))
    if (options.confirmed === true) await confirm(engine, this.#state, 'setStream', Invalidation.ofKey(validKey), options.signal)
    if (isKept && engine.events.wants('set')) engine.events.emit('set', { tenant: this.tenant, key, policy: plan.policy.name })
  }

  /**
   * The cached payload as a stream, or what `produce` makes: it returns a `Readable`, a `ReadableStream` or an iterable of chunks, bytes or
   * text, and what passes is stored. Concurrent callers share one download or one compute, each with a stream of its own.
   *
   * Rejects like `getOrCompute`; a source that fails ends each caller's stream with its own error, and nothing is stored.
   */
  async getOrComputeStream(key: string, produce: Produce, options: GetOrComputeOptions = {}): Promise<Readable> {
    const engine = this.#engine
    const validKey = validateKey(key)
    if (typeof produce !== 'function') throw new TypeError(`getOrComputeStream(key, produce) needs a function that makes a stream, not ${kindOf(produce)}`)
    verbs.GET_OR_COMPUTE_STREAM.check(options)
    const plan = this.#plan(validKey, options, verbs.GET_OR_COMPUTE_STREAM)
    const wishes = writeOptions(options, plan)
    options.signal?.throwIfAborted()
    if (engine.closed || !engine.enabled) return justProduce(this.#state, validKey, produce, options.signal)
    return getOrComputeStream(this.#making(validKey, plan, 'stream', produce, wishes, options), options.signal)
  }

  /** The cached values of those keys that are hits, in the order of the keys. */
  async getMany<T = unknown>(keys: Iterable<string>, options: GetOptions = {}): Promise<Map<string, T>> {
    this.#engine.assertOpen('getMany')
    const wanted = [...new Set(iterable(keys, 'keys'))].map(validateKey)
    verbs.GET_MANY.check(options)
    const groups = [...this.#byPolicy(wanted, options, verbs.GET_MANY)]
    options.signal?.throwIfAborted()
    if (!this.#engine.enabled) return new Map()
    const answers = await until(Promise.all(groups.map(([plan, keys]) => readMany(this.#engine, this.#state, keys, plan))), options.signal)
    const hits = new Map<string, T>()
    const { isolation } = this.#engine
    const note = (key: string, hit: Found | undefined): void => {
      if (hit !== undefined) hits.set(key, handOut(hit.entry.value, isolation) as T)
    }
    const [only] = answers
    if (answers.length === 1 && only !== undefined) {
      wanted.forEach((key, at) => note(key, only[at]))
      return hits
    }
    const found = new Map<string, Found | undefined>()
    groups.forEach(([, keys], group) => keys.forEach((key, at) => found.set(key, answers[group]?.[at])))
    for (const key of wanted) note(key, found.get(key))
    return hits
  }

  /**
   * The values of several keys, in the order of the keys: what is cached, and what `compute` makes of the others, in one call for all of them. Each key is
   * shared with everybody else who asks for it, is stored by itself, and has stale windows of its own. What the Map of `compute` leaves out is not cached, and
   * is not in the result.
   *
   * Rejects as `getOrCompute` does, with the first error there is, once all keys have ended: what could be made is stored then.
   */
  getOrComputeMany<T>(keys: Iterable<string>, compute: ComputeMany<T>, options?: GetOrComputeOptions): Promise<Map<string, T>> {
    const engine = this.#engine
    const state = this.#state
    const found = new Map<string, unknown>()
    try {
      if (typeof compute !== 'function') throw new TypeError(`getOrComputeMany(keys, compute) needs a function to compute with, not ${kindOf(compute)}`)
      const batch = new ComputeBatch(compute, (key) => engine.warnOnce('unexpected keys', `a compute of getOrComputeMany returned a value for a key that was not missing, which is not stored: ${JSON.stringify(key)}`, { tenant: this.tenant, key }))
      const missing = new Set<string>()
      for (const key of iterable(keys, 'keys')) {
        const entry = options === undefined ? hotEntry(engine, state, key, batch.load) : undefined
        if (entry === undefined) missing.add(key)
        found.set(key, entry === undefined ? undefined : entry.value) // has its place
      }
      return (missing.size === 0 ? Promise.resolve(found) : this.#makeMissing(found, missing, compute, batch, options ?? {})) as Promise<Map<string, T>>
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /** Stores several entries with the same options. Invalid keys and values that are refused change nothing at all. */
  async setMany(entries: Iterable<readonly [string, unknown]>, options: SetOptions = {}): Promise<void> {
    this.#engine.assertOpen('setMany')
    const pairs = [...iterable(entries, 'entries')].map((pair) => {
      if (!Array.isArray(pair)) throw new TypeError(`setMany(entries) takes pairs [key, value], not ${kindOf(pair)}`)
      return [validateKey(pair[0]), pair[1]] as const
    })
    verbs.SET_MANY.check(options)
    const planned = pairs.map(([key, value]) => ({ key, value, plan: this.#plan(key, options, verbs.SET_MANY) }))
    const wishes = writeOptions(options, ...new Set(planned.map(({ plan }) => plan)))
    options.signal?.throwIfAborted()
    const { enabled } = this.#engine
    const items = planned.map(({ key, value, plan }) => {
      const operation = new Operation(this.#engine, this.#state, key, plan)
      return { operation, snapshot: enabled ? new ValueSnapshot(operation, { value, ...wishes }) : undefined }
    })
    await allInWindows('setMany', items, async ({ operation, snapshot }) => {
      if (snapshot === undefined) return
      const { key, plan } = operation
      const isKept = await abortable(this.#engine.invalidation(setEverywhere(operation, snapshot)), options.signal)
      if (options.confirmed === true) await confirm(this.#engine, this.#state, 'setMany', Invalidation.ofKey(key), options.signal)
      if (isKept && this.#engine.events.wants('set')) this.#engine.events.emit('set', { tenant: this.tenant, key, policy: plan.policy.name })
    })
  }

  /** Removes several keys; how many of them a tier had, or `undefined` when that cannot be told. */
  async deleteMany(keys: Iterable<string>, options: DeleteOptions = {}): Promise<number | undefined> {
    this.#engine.assertOpen('deleteMany')
    const wanted = [...new Set(iterable(keys, 'keys'))].map(validateKey)
    verbs.DELETE_MANY.check(options)
    const deleted = await allInWindows('deleteMany', wanted, (key) => this.delete(key, options))
    return deleted.includes(undefined) ? undefined : deleted.filter((one) => one === true).length
  }

  /** Lists the tenant's entries under a plain string prefix: each (key, tier) once, fastest tier first. Loads no payload. */
  list(prefix?: string, options: ListVerbOptions = {}): AsyncIterableIterator<ListedEntry> {
    this.#engine.assertOpen('list')
    const validPrefix = validatePrefix(prefix)
    verbs.LIST.check(options)
    return listTiers(this.#engine, this.#state, validPrefix, options)
  }

  /** The tenant's numbers since the manager was made. */
  async stats(...nothing: readonly never[]): Promise<CacheStats> {
    const engine = this.#engine
    engine.assertOpen('stats')
    checkNothing(nothing[0], 'stats() of a tenant takes no options')
    return composeStats({
      counters: this.#state.counters,
      policies: engine.policies.all,
      tiers: engine.tiers,
      backends: await backendStats(engine, this.#state),
      pendingWrites: engine.background.size,
      pendingRefreshes: engine.refreshes.size,
      writeBack: engine.writeBack.stats,
    })
  }

  #getOrCompute(key: string, compute: Compute<unknown>, options: GetOrComputeOptions): Promise<unknown> {
    const engine = this.#engine
    try {
      const validKey = validateKey(key)
      if (typeof compute !== 'function') throw new TypeError(`getOrCompute(key, compute) needs a function to compute with, not ${kindOf(compute)}`)
      if (options !== NO_OPTIONS) verbs.GET_OR_COMPUTE.check(options)
      const plan = this.#plan(validKey, options, verbs.GET_OR_COMPUTE)
      const wishes = writeOptions(options, plan)
      options.signal?.throwIfAborted()
      if (engine.closed || !engine.enabled) return justCompute(this.#state, validKey, compute, options.signal)
      return getOrComputeInFlight(this.#making(validKey, plan, 'value', compute, wishes, options), options.signal)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /** Carries out a verb that invalidates one key. `undefined` where the cache is switched off. */
  async #invalidate<O extends DeleteOptions, T>(name: string, verb: verbs.Verb<O>, key: string, options: O, carryOut: (operation: Operation) => Promise<T>): Promise<T | undefined> {
    const engine = this.#engine
    engine.assertOpen(name)
    const validKey = validateKey(key)
    verb.check(options)
    const plan = this.#plan(validKey, options, verb)
    options.signal?.throwIfAborted()
    if (!engine.enabled) return undefined
    const outcome = await abortable(engine.invalidation(carryOut(new Operation(engine, this.#state, validKey, plan))), options.signal)
    if (options.confirmed === true) await confirm(engine, this.#state, name, Invalidation.ofKey(validKey), options.signal)
    return outcome
  }

  /** Puts what is missing in its place. */
  async #makeMissing(found: Map<string, unknown>, missing: ReadonlySet<string>, compute: ComputeMany<unknown>, batch: ComputeBatch, options: GetOrComputeOptions): Promise<Map<string, unknown>> {
    const engine = this.#engine
    const wanted = [...missing].map(validateKey)
    verbs.GET_OR_COMPUTE_MANY.check(options)
    const planned = [...this.#byPolicy(wanted, options, verbs.GET_OR_COMPUTE_MANY)]
    const wishes = writeOptions(options, ...planned.map(([plan]) => plan))
    const { signal, refresh: isForced } = options
    signal?.throwIfAborted()
    if (engine.closed || !engine.enabled) return computeTogether(this.tenant, wanted, compute, signal)
    const making = { make: batch.load, wishes, isForced, mayLeaveOut: true }
    const operations = planned.flatMap(([plan, keys]) => keys.map((key) => new KeyToMake(engine, this.#state, key, plan, 'value', { ...making, span: engine.telemetry.startGet(key, this.tenant, plan.policy.name) })))
    const values = await getOrComputeTogether(operations, signal)
    operations.forEach(({ key }, at) => {
      const made = values[at]
      if (made === undefined) found.delete(key)
      else found.set(key, made.value)
    })
    return found
  }

  async #get(key: string, options: GetValueOptions): Promise<unknown> {
    const found = await this.#read(key, options)
    return found === undefined ? options.default : handOut(found.entry.value, this.#engine.isolation)
  }

  /** The long way of get: walks the tiers, promotes, counts. */
  async #read(key: string, options: GetValueOptions): Promise<Found | undefined> {
    const engine = this.#engine
    const state = this.#state
    engine.assertOpen('get')
    const validKey = validateKey(key)
    if (options !== NO_OPTIONS) verbs.GET_VALUE.check(options)
    const plan = this.#plan(validKey, options, verbs.GET_VALUE)
    options.signal?.throwIfAborted()
    if (!engine.enabled) return undefined
    if (!engine.telemetry.bound) engine.telemetry.bind()
    const span = engine.telemetry.startGet(key, state.tenant, plan.policy.name)
    const operation = new ReadOperation(engine, state, validKey, plan, 'value', true)
    const fence = state.fences.open(validKey)
    let found: Found | undefined
    let failure: { error: unknown } | undefined
    try {
      found = await until(walk(operation), options.signal)
      conclude(operation, found, fence)
      return found
    } catch (error) {
      failure = { error }
      throw error
    } finally {
      state.fences.close(fence)
      engine.telemetry.endGet(span, found, failure)
    }
  }

  /** The walk of has and lookup: without a trace in counts or recency. */
  async #find<O extends GetOptions>(name: string, verb: verbs.Verb<O>, key: string, options: O, want: 'value' | 'head', takesStale: boolean): Promise<{ readonly found: Found | undefined; readonly plan: Plan }> {
    const engine = this.#engine
    engine.assertOpen(name)
    const validKey = validateKey(key)
    verb.check(options)
    const plan = this.#plan(validKey, options, verb)
    options.signal?.throwIfAborted()
    const found = engine.enabled ? await until(walk(new ReadOperation(engine, this.#state, validKey, plan, want, false, takesStale)), options.signal) : undefined
    return { found, plan }
  }

  #peek(key: string, options: KeyOptions | undefined): unknown {
    const engine = this.#engine
    engine.assertOpen('peek')
    const validKey = validateKey(key)
    if (options !== undefined) verbs.PEEK.check(options)
    const plan = this.#plan(validKey, options ?? {}, verbs.PEEK)
    if (!engine.enabled) return undefined
    for (const { tier } of plan.slots) {
      const entry = peekTier(engine, this.#state, validKey, tier, LOOK)
      if (entry !== undefined && isFresh(entry, engine.clock)) return handOut(entry.value, engine.isolation)
    }
    return undefined
  }

  /** A call of a verb that makes what it does not find. Its span begins. */
  #making<T>(key: ValidKey, plan: Plan, want: 'value' | 'stream', make: ComputeOperation<T>['make'], wishes: EntryWishes, { refresh }: GetOrComputeOptions): ComputeOperation<T> {
    const engine = this.#engine
    return new ComputeOperation(engine, this.#state, key, plan, want, { make, wishes, isForced: refresh, span: engine.telemetry.startGet(key, this.tenant, plan.policy.name) })
  }

  #plan<O extends KeyOptions>(key: ValidKey, options: O, verb: verbs.Verb<O>): Plan {
    return this.#policy(key, options).plan(options, verb.call)
  }

  #policy(key: ValidKey, options: KeyOptions): Policy {
    const { policies } = this.#engine
    return options.policy === undefined ? policies.forKey(key) : policies.byName(options.policy)
  }

  /** The keys of each plan: a call that overrides something makes a plan of its own, once for each policy. */
  #byPolicy(keys: readonly ValidKey[], options: GetOptions, verb: verbs.Verb<GetOptions>): Map<Plan, ValidKey[]> {
    const plans = new Map<Policy, Plan>()
    const keysOf = new Map<Plan, ValidKey[]>()
    let last: Policy | undefined
    let group: ValidKey[] = []
    for (const key of keys) {
      const policy = this.#policy(key, options)
      if (policy !== last) {
        let plan = plans.get(policy)
        if (plan === undefined) plans.set(policy, (plan = policy.plan(options, verb.call)))
        group = keysOf.get(plan) ?? []
        keysOf.set(plan, group)
        last = policy
      }
      group.push(key)
    }
    return keysOf
  }
}


const LOOK = Object.freeze({ want: 'payload', touch: false } as const)
const NO_OPTIONS = Object.freeze({})

/** The end of the window in which a call with that plan may be served it when it is not fresh any more. */
function staleUntil({ entry }: Found, { freshness }: Plan): { readonly staleUntil?: number } {
  const end = Math.min(entry.keepUntil, entry.staleAt + freshness.windowMs)
  return end > entry.staleAt ? { staleUntil: end } : {}
}

/** The answer of a walk, or the signal's reason if it fires first. */
function until<T>(answer: Awaitable<T>, signal: AbortSignal | undefined): Awaitable<T> {
  return signal === undefined ? answer : abortable(Promise.resolve(answer), signal)
}
