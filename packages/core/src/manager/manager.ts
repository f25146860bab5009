import type { Readable } from 'node:stream'
import { CacheError, checkNothing, positiveDurationMs, validateTenant, type TenantId } from '@thermocline/backend'
import type { ComputeMany } from '../computing/compute-batch.js'
import type { Compute } from '../flights/compute-context.js'
import { Engine } from './engine.js'
import type { CacheEventName, CacheEvents } from '../state/events.js'
import { until } from './confirm.js'
import type {
  ClearVerbOptions,
  CloseOptions,
  DeleteOptions,
  ExpireOptions,
  ForTenant,
  GetOptions,
  GetOrComputeOptions,
  GetValueOptions,
  KeyOptions,
  Lookup,
  LookupOptions,
  RefreshOptions,
  SetOptions,
  TieredCacheManagerOptions,
  Unfinished,
} from './options.js'
import { healthOf, type CacheHealth } from './health.js'
import { composeStats, tenantSummary, type CacheStats } from './stats.js'
import { backendStats } from './backend-stats.js'
import type { ByteSource } from '../streams/bytes-from.js'
import type { Produce } from '../computing/get-or-compute-stream.js'
import type { ListedEntry, ListVerbOptions } from '../reading/list.js'
import { TenantCache } from './tenant-cache.js'
import * as verbs from './verbs.js'

const DEFAULT_DEADLINE = '2s'
const DEFAULT_FLUSH_DEADLINE = '30s'
/** How long a late close still waits for the journal's directory to be let go. */
const RELEASE_MS = 500
/** Handles kept for callers who ask for them each time. */
const KEPT_HANDLES = 1000

/**
 * A cache over any number of tiers, for any number of tenants.
 *
 * ```ts
 * const cache = new TieredCacheManager({
 *   tiers: { hot: { backend: new MemoryBackend() }, warm: { backend: new FileSystemBackend({ basePath: '/var/cache/app' }) } },
 *   policies: { embeddings: { tiers: { hot: false }, ttl: null } },
 * })
 * const vector = await cache.tenant('acme').getOrCompute('embeddings/doc-1', () => embed(text))
 * ```
 *
 * Every verb of {@link TenantCache} also exists here with the tenant in its options.
 *
 * The constructor throws a `TypeError` for invalid options; it never waits for a server.
 */
export class TieredCacheManager implements AsyncDisposable {
  readonly #engine: Engine
  readonly #handles = new Map<string, TenantCache>()
  #closing: Promise<Unfinished> | undefined

  constructor(options: TieredCacheManagerOptions) {
    this.#engine = new Engine(options)
  }

  /**
   * One tenant's cache.
   *
   * @throws TypeError when the id breaks a rule: a non-empty well-formed string of at most 128 UTF-8 bytes, without NUL
   */
  tenant(id: string): TenantCache {
    return this.#handles.get(id) ?? this.#makeHandle(validateTenant(id))
  }

  /** See {@link TenantCache.getOrCompute}. */
  getOrCompute<T>(key: string, compute: Compute<T>, options: GetOrComputeOptions & ForTenant): Promise<T> {
    return this.#later(verbs.GET_OR_COMPUTE, options, (cache, own) => cache.getOrCompute(key, compute, own))
  }

  /** See {@link TenantCache.getOrComputeMany}. */
  getOrComputeMany<T>(keys: Iterable<string>, compute: ComputeMany<T>, options: GetOrComputeOptions & ForTenant): Promise<Map<string, T>> {
    return this.#later(verbs.GET_OR_COMPUTE_MANY, options, (cache, own) => cache.getOrComputeMany(keys, compute, own))
  }

  /** See {@link TenantCache.refresh}. */
  refresh<T>(key: string, compute: Compute<T>, options: RefreshOptions & ForTenant): Promise<T> {
    return this.#later(verbs.REFRESH_KEY, options, (cache, own) => cache.refresh(key, compute, own))
  }

  /** See {@link TenantCache.get}. */
  get<T = unknown>(key: string, options: GetValueOptions<T> & ForTenant & { readonly default: T }): Promise<T>
  get<T = unknown>(key: string, options: GetValueOptions & ForTenant): Promise<T | undefined>
  get<T = unknown>(key: string, options: GetValueOptions & ForTenant): Promise<T | undefined> {
    return this.#later(verbs.GET_VALUE, options, (cache, own) => cache.get<T>(key, own))
  }

  /** See {@link TenantCache.peek}. */
  peek<T = unknown>(key: string, options: KeyOptions & ForTenant): T | undefined {
    const own = verbs.PEEK.withoutTenant(options)
    return this.tenant(options.tenant).peek<T>(key, own)
  }

  /** See {@link TenantCache.lookup}. */
  lookup<T = unknown>(key: string, options: LookupOptions & ForTenant): Promise<Lookup<T>> {
    return this.#later(verbs.LOOKUP, options, (cache, own) => cache.lookup<T>(key, own))
  }

  /** See {@link TenantCache.has}. */
  has(key: string, options: GetOptions & ForTenant): Promise<boolean> {
    return this.#later(verbs.HAS, options, (cache, own) => cache.has(key, own))
  }

  /** See {@link TenantCache.set}. */
  set(key: string, value: unknown, options: SetOptions & ForTenant): Promise<void> {
    return this.#later(verbs.SET_VALUE, options, (cache, own) => cache.set(key, value, own))
  }

  /** See {@link TenantCache.delete}. */
  delete(key: string, options: DeleteOptions & ForTenant): Promise<boolean | undefined> {
    return this.#later(verbs.DELETE_KEY, options, (cache, own) => cache.delete(key, own))
  }

  /** See {@link TenantCache.expire}. */
  expire(key: string, options: ExpireOptions & ForTenant): Promise<boolean | undefined> {
    return this.#later(verbs.EXPIRE, options, (cache, own) => cache.expire(key, own))
  }

  /** See {@link TenantCache.clear}. */
  clear(prefix: string | undefined, options: ClearVerbOptions & ForTenant): Promise<number | undefined> {
    return this.#later(verbs.CLEAR, options, (cache, own) => cache.clear(prefix, own))
  }

  /** See {@link TenantCache.getStream}. */
  getStream(key: string, options: GetOptions & ForTenant): Promise<Readable | undefined> {
    return this.#later(verbs.GET_STREAM, options, (cache, own) => cache.getStream(key, own))
  }

  /** See {@link TenantCache.setStream}. */
  setStream(key: string, source: ByteSource, options: SetOptions & ForTenant): Promise<void> {
    return this.#later(verbs.SET_STREAM, options, (cache, own) => cache.setStream(key, source, own))
  }

  /** See {@link TenantCache.getOrComputeStream}. */
  getOrComputeStream(key: string, produce: Produce, options: GetOrComputeOptions & ForTenant): Promise<Readable> {
    return this.#later(verbs.GET_OR_COMPUTE_STREAM, options, (cache, own) => cache.getOrComputeStream(key, produce, own))
  }

  /** See {@link TenantCache.getMany}. */
  getMany<T = unknown>(keys: Iterable<string>, options: GetOptions & ForTenant): Promise<Map<string, T>> {
    return this.#later(verbs.GET_MANY, options, (cache, own) => cache.getMany<T>(keys, own))
  }

  /** See {@link TenantCache.setMany}. */
  setMany(entries: Iterable<readonly [string, unknown]>, options: SetOptions & ForTenant): Promise<void> {
    return this.#later(verbs.SET_MANY, options, (cache, own) => cache.setMany(entries, own))
  }

  /** See {@link TenantCache.deleteMany}. */
  deleteMany(keys: Iterable<string>, options: DeleteOptions & ForTenant): Promise<number | undefined> {
    return this.#later(verbs.DELETE_MANY, options, (cache, own) => cache.deleteMany(keys, own))
  }

  /** See {@link TenantCache.list}. */
  list(prefix: string | undefined, options: ListVerbOptions & ForTenant): AsyncIterableIterator<ListedEntry> {
    const own = verbs.LIST.withoutTenant(options)
    return this.tenant(options.tenant).list(prefix, own)
  }

  /** The numbers of all tenants together, and a summary of each tenant remembered. */
  async stats(...nothing: readonly never[]): Promise<CacheStats> {
    const engine = this.#engine
    engine.assertOpen('stats')
    checkNothing(nothing[0], 'stats() of the manager takes no options; a tenant’s are cache.tenant(id).stats()')
    const stats = composeStats({
      counters: engine.totals(),
      policies: engine.policies.all,
      tiers: engine.tiers,
      backends: await backendStats(engine, undefined),
      pendingWrites: engine.background.size,
      pendingRefreshes: engine.refreshes.size,
      writeBack: engine.writeBack.stats,
    })
    return { ...stats, tenants: Object.fromEntries([...engine.tenants.each()].map(([tenant, counters]) => [tenant, tenantSummary(counters)])) }
  }

  /** How the cache and its tiers are: what is left out now, and why. Asks no store. */
  async health(...nothing: readonly never[]): Promise<CacheHealth> {
    const engine = this.#engine
    engine.assertOpen('health')
    checkNothing(nothing[0], 'health() takes no options')
    return healthOf(engine.tiers, engine.coordinationHealth)
  }

  /**
   * Calls the listener for every event of that name; returns a function that ends it. A listener that throws is logged.
   *
   * @throws TypeError unless the listener is a function
   */
  on<N extends CacheEventName>(name: N, listener: (event: CacheEvents[N]) => void, ...nothing: readonly never[]): () => void {
    checkNothing(nothing[0], 'on(name, listener) takes no options')
    return this.#engine.events.on(name, listener)
  }

  /**
   * Tries everything at once that is to be written back or that tiers owe, and waits for it, until the deadline (default `'30s'`). Resolves with what
   * could not be finished; that is tried again in the background.
   *
   * @throws CacheError `not-confirmed` with `{ confirmed: true }` when anything is left
   */
  async flush(options: CloseOptions = {}): Promise<Unfinished> {
    const engine = this.#engine
    engine.assertOpen('flush')
    verbs.FLUSH.check(options)
    const deadlineMs = positiveDurationMs(options.deadline ?? DEFAULT_FLUSH_DEADLINE, 'deadline')
    engine.writeBack.kick()
    for (const { queues } of engine.tiers) queues.payNow()
    await until(engine, () => isFinished(engine.unfinished), deadlineMs)
    return told('flush', engine.unfinished, options)
  }

  /**
   * Finishes computes and background writes, tries once more what tiers owe, closes the backends that no other manager uses, and lets the process
   * exit. What is not done by the deadline (default `'2s'`) is left: computes under way have their signal aborted. Afterwards verbs reject with code
   * `closed`, and getOrCompute just computes. Closing again waits for the same end.
   *
   * Resolves with what could not be finished, which is logged as well.
   *
   * @throws CacheError `not-confirmed` with `{ confirmed: true }` when anything is left; the cache is closed all the same
   */
  async close(options: CloseOptions = {}): Promise<Unfinished> {
    verbs.CLOSE.check(options)
    const deadlineMs = positiveDurationMs(options.deadline ?? DEFAULT_DEADLINE, 'deadline')
    this.#closing ??= this.#close(deadlineMs, options.confirmed === true)
    return told('close', await this.#closing, options)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #close(deadlineMs: number, confirmed: boolean): Promise<Unfinished> {
    const engine = this.#engine
    engine.close()
    let unfinished: Unfinished | undefined
    const finish = async (): Promise<void> => {
      await engine.drained()
      engine.stopped = true
      for (const stream of engine.streams) stream.abort(new CacheError('closed', 'the cache was closed while the stream was read', { operation: 'stream' }))
      await engine.background.drained() // what was given up on the side
      await Promise.all(engine.tiers.map(({ queues }) => queues.payOnce()))
      if (confirmed) await until(engine, () => isFinished(engine.unfinished), deadlineMs)
      unfinished = engine.unfinished
      await engine.agreement?.close()
      await leaveOpen(engine)
      const closed = await Promise.allSettled(engine.tiers.map((tier) => tier.close()))
      closed.forEach((result, at) => {
        if (result.status === 'rejected') engine.report(result.reason, { operation: 'close', tier: engine.tiers[at] })
      })
      await engine.writeBack.close()
      await engine.recordLog?.close()
    }
    const inTime = await within(engine, finish().catch((error: unknown) => engine.report(error, { operation: 'close' })), deadlineMs)
    unfinished ??= engine.unfinished
    if (inTime) {
      this.#logUnfinished(unfinished)
      return unfinished
    }
    engine.stopped = true
    engine.logger.warn(`close left work behind after ${deadlineMs} ms: ${engine.background.size} background writes were not finished, a compute did not end, or a backend did not close`, { deadlineMs, backgroundWrites: engine.background.size })
    this.#logUnfinished(unfinished)
    engine.tenants.abortFlights(new CacheError('closed', 'the cache was closed', { operation: 'close' }))
    for (const stream of engine.streams) stream.abort(new CacheError('closed', 'the cache was closed while the stream was read', { operation: 'stream' }))
    const kept = Promise.allSettled([engine.writeBack.close(), leaveOpen(engine).then(() => engine.recordLog?.close())]) // so that the next start finds what is pending, and what is owed
    await within(engine, kept, RELEASE_MS)
    void engine.agreement?.close()
    for (const tier of engine.tiers) {
      tier.breaker.dispose()
      tier.queues.close()
    }
    return unfinished
  }

  /** What write-back could not remove from its journal it has told itself. */
  #logUnfinished({ pending, owed: all }: Unfinished): void {
    const { logger, recordLog, writeBack } = this.#engine
    const owed = all - writeBack.stats.removalsOwed
    if (pending > 0) logger.warn(`closed with ${pending} entries that are still to be written back; they stay in the journal for the next start`, { pending })
    if (owed <= 0) return
    const later = recordLog === undefined ? 'there is no disk tier to record them, so what was deleted may be read there again' : 'they are recorded on the disk and carried out at the next start; other processes may read there what was deleted until then'
    logger.warn(`closed while tiers still owe ${owed} invalidations: ${later}`, { owed })
  }

  #makeHandle(id: TenantId): TenantCache {
    const handle = new TenantCache(this.#engine, this.#engine.tenants.of(id))
    this.#handles.set(id, handle)
    if (this.#handles.size > KEPT_HANDLES) {
      const [oldest] = this.#handles.keys()
      if (oldest !== undefined) this.#handles.delete(oldest)
    }
    return handle
  }

  /** What is wrong with the options rejects, like everything else a verb has to say. */
  async #later<T, O extends object>(verb: verbs.Verb<O>, options: O & ForTenant, run: (cache: TenantCache, own: O | undefined) => Promise<T>): Promise<T> {
    const own = verb.withoutTenant(options)
    return run(this.tenant(options.tenant), own)
  }
}

/** Something may land in shared tiers when this process has ended. */
async function leaveOpen({ tiers }: Engine): Promise<void> {
  await Promise.all(tiers.map(({ queues }) => queues.leaveOpen()))
}

function isFinished({ pending, owed }: Unfinished): boolean {
  return pending === 0 && owed === 0
}

/** @throws CacheError `not-confirmed` */
function told(operation: string, unfinished: Unfinished, { confirmed }: CloseOptions): Unfinished {
  if (confirmed !== true || isFinished(unfinished)) return unfinished
  throw new CacheError('not-confirmed', `${operation} could not finish everything: ${unfinished.pending} entries are still to be written back, and tiers owe ${unfinished.owed} invalidations`, { operation })
}

/** Whether the work ended in time. */
async function within(engine: Engine, work: Promise<unknown>, deadlineMs: number): Promise<boolean> {
  let cancel = (): void => undefined
  const late = new Promise<'late'>((resolve) => {
    cancel = engine.clock.schedule(deadlineMs, () => resolve('late'))
  })
  const first = await Promise.race([work, late])
  cancel()
  return first !== 'late'
}
