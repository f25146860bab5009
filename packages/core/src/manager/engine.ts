import {
  asCacheError,
  CacheError,
  completeClock,
  kindOf,
  KnownNames,
  messageOf,
  systemClock,
  ttlMs,
  validateTenant,
  type BackendHost,
  type CacheBackend,
  type CacheErrorCode,
  type Clock,
  type EvictionReason,
  type Isolation,
  type RecordLog,
} from '@thermocline/backend'
import { Payloads } from '../codec/payloads.js'
import { CodecTable } from '../codec/standard.js'
import { ComputePoint } from '../flights/compute-point.js'
import { timeLimit } from '../flights/time-limit.js'
import { TransientMap } from '../flights/transient-map.js'
import type { Circuit } from '../layers/resilience-parts.js'
import { POLICY_OPTIONS, type Policy } from '../policies/policy.js'
import type { OperationHost } from '../operation/operation.js'
import { PolicyTable } from '../policies/policy-table.js'
import { Telemetry, type Reading } from '../telemetry/telemetry.js'
import { openRecordLog, Tier, type TierHost, type TierOptions } from '../tiers/tier.js'
import { Background } from '../state/background.js'
import { count, Counters } from '../state/counters.js'
import { Events } from '../state/events.js'
import type { Failure } from '../state/host.js'
import { Log, type LogFields } from '../state/log.js'
import { Refreshes } from '../state/refreshes.js'
import type { Agreement } from '../coordination/agreement.js'
import { makeAgreement, openAgreed, type Agreed } from './coordination-option.js'
import type { CacheHealth } from './health.js'
import type { TieredCacheManagerOptions, Unfinished } from './options.js'
import { TenantRegistry } from '../state/tenant-state.js'
import type { SharedStream } from '../streams/shared-stream.js'
import { WriteBack, type WriteBackOptions } from '../write-back/write-back.js'
import { Demotion } from '../promotion/demotion.js'

const DEFAULT_TTL_MS = 3_600_000
const MAX_BACKGROUND = 1000
const FOR_A_PERSON: ReadonlySet<CacheErrorCode> = new Set(['access-denied', 'bucket-missing', 'wrong-region', 'clock-skew', 'misconfigured'])

/** Names that mean something else beside tiers in a policy or in configuration, where options are written in snake_case. */
const RESERVED_TIER_NAMES: ReadonlySet<string> = new Set([
  ...POLICY_OPTIONS,
  ...POLICY_OPTIONS.map((name) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)),
  ...['write', 'promote', 'tags', 'metadata', 'policy', 'signal'],
])

const OPTIONS = new KnownNames(
  Object.keys({ tiers: true, policies: true, defaultTtl: true, codecs: true, enabled: true, clock: true, logger: true, telemetry: true, writeBack: true, refreshConcurrency: true, coordination: true } satisfies Readonly<Record<keyof TieredCacheManagerOptions, true>>),
)
const WRITE_BACK = new KnownNames(Object.keys({ directory: true, maxBytes: true, maxEntries: true, concurrency: true } satisfies Readonly<Record<keyof WriteBackOptions, true>>))

/** What all verbs of one manager share: its parts, put together once. */
export class Engine implements OperationHost {
  readonly clock: Clock
  readonly enabled: boolean
  readonly tiers: readonly Tier[]
  /** The fastest tier: the only one the short way asks. */
  readonly firstTier: Tier
  readonly policies: PolicyTable
  readonly codecs: CodecTable
  readonly payloads = new Payloads()
  readonly tenants: TenantRegistry
  readonly events: Events
  readonly telemetry: Telemetry
  readonly background: Background
  readonly writeBack: WriteBack
  readonly demotion: Demotion
  readonly computePoint = new ComputePoint()
  readonly refreshes: Refreshes
  readonly agreement: Agreement | undefined
  readonly #agreed: Agreed | undefined
  /** Streams that somebody reads or writes; close gives them up. */
  readonly streams = new Set<SharedStream>()
  readonly logger: Log
  /** The strictest isolation any memory tier asks for: it holds for every value handed out. */
  readonly isolation: Isolation
  readonly recordLog: RecordLog | undefined
  /**
   * The fastest tier's backend while a hit may take the short way: it answers without a promise, nothing in it is in doubt,
   * values are handed out as they are, and nobody listens to hits. One field, because the hot path reads it each time.
   */
  hot: CacheBackend | undefined
  /** Somebody listens to stale hits: none of them takes the short way. */
  tellsStale = false
  closed = false
  /** What was computed or read is not stored any more. */
  stopped = false
  /** Counts of failures and evictions that belong to no tenant in use. */
  readonly #unowned: Counters
  readonly #everySpan: boolean
  readonly #warned = new Set<string>()
  readonly #invalidations = new TransientMap<Promise<unknown>, true>()
  readonly #computes = new TransientMap<Promise<unknown>, true>()
  readonly #waiting = new Set<() => void>()

  constructor(options: TieredCacheManagerOptions) {
    if (typeof options !== 'object' || options === null) throw new TypeError(`new TieredCacheManager(options) needs { tiers }, not ${kindOf(options)}`)
    OPTIONS.check(options, 'new TieredCacheManager(options)')
    this.clock = options.clock === undefined || options.clock === systemClock ? systemClock : completeClock(options.clock)
    this.enabled = checkEnabled(options.enabled)
    this.refreshes = new Refreshes(this.clock, options.refreshConcurrency)
    this.computePoint.wrap(timeLimit(this.clock))
    this.logger = new Log(options.logger)
    this.events = new Events({
      onThrow: (error, event) => this.logger.warn(`a listener for "${event}" threw: ${messageOf(error)}`, { event }),
      onChange: () => this.#updateShortWay(),
    })
    this.codecs = new CodecTable(options.codecs)
    const names = tierNames(options.tiers)
    this.recordLog = openRecordLog(names.map((name) => options.tiers[name] as TierOptions).filter((tier) => typeof tier?.backend === 'object' && tier.backend !== null))
    this.#agreed = openAgreed(options, names, this.clock, (message) => this.logger.warn(message, {}))
    this.agreement = this.#agreed && makeAgreement(this.#agreed, this)
    if (this.agreement !== undefined) this.computePoint.wrap(this.agreement.around)
    const tiers: Tier[] = []
    this.tiers = tiers
    try {
      for (const [index, name] of names.entries()) tiers.push(new Tier(name, index, options.tiers[name] as TierOptions, this.#tierHost()))
      this.firstTier = tiers[0] as Tier
      const defaultTtlMs = ttlMs(options.defaultTtl, 'defaultTtl') ?? DEFAULT_TTL_MS
      this.policies = new PolicyTable(options.policies, this.tiers, defaultTtlMs, this.codecs)
      for (const { steps } of this.policies.all) for (const { reader } of steps) this.payloads.add(reader)
      this.tenants = new TenantRegistry(this.policies.all.length, this.tiers.length)
      this.#unowned = new Counters(this.policies.all.length, this.tiers.length)
      this.isolation = strictest(tiers)
      this.#everySpan = options.telemetry?.spans === 'all'
      this.background = new Background(MAX_BACKGROUND, (error) => this.report(error, { operation: 'background' }))
      this.telemetry = new Telemetry(options.telemetry ?? {}, this.#metricSources(options.telemetry?.tenantAttribute === true))
      this.demotion = new Demotion(this)
      if (options.writeBack !== undefined) WRITE_BACK.check(options.writeBack, 'writeBack')
      this.writeBack = new WriteBack(this, options.writeBack)
    } catch (error) {
      for (const tier of tiers) tier.leave() // their connections could not be closed otherwise
      throw error
    }
    if (this.#agreed !== undefined) this.agreement?.start(this.tiers[names.indexOf(this.#agreed.name)] as Tier)
    this.#updateShortWay()
  }

  get coordinationHealth(): CacheHealth['coordination'] {
    const { agreement } = this
    if (agreement === undefined || this.#agreed === undefined) return { status: 'off' }
    if (!agreement.isOn) return { status: 'off', reason: agreement.refusal }
    return { status: agreement.isHearing ? 'connected' : 'blind', tier: this.#agreed.name, untold: agreement.untold, ...agreement.stats }
  }

  close(): void {
    this.closed = true
    this.refreshes.close()
    this.telemetry.close()
    this.#updateShortWay()
  }

  /** Has a listener told whenever a tier owes less or less waits to be written back. Returns how to stop. */
  onProgress(listener: () => void): () => void {
    this.#waiting.add(listener)
    return () => this.#waiting.delete(listener)
  }

  progressed(): void {
    for (const listener of [...this.#waiting]) listener()
  }

  /** Keeps track of a compute under way: close waits for it. */
  computing<T>(work: Promise<T>): Promise<T> {
    return this.#track(this.#computes, work)
  }

  /** What could not be finished so far. */
  get unfinished(): Unfinished {
    const { pending, removalsOwed } = this.writeBack.stats
    return { pending, owed: this.tiers.reduce((sum, { queues }) => sum + queues.owed + queues.doubts, removalsOwed) }
  }

  /** Keeps track of a set, delete or clear under way: close waits for it. */
  invalidation<T>(work: Promise<T>): Promise<T> {
    return this.#track(this.#invalidations, work)
  }

  #track<T>(under: TransientMap<Promise<unknown>, true>, work: Promise<T>): Promise<T> {
    under.set(work, true)
    const done = (): void => void under.delete(work)
    work.then(done, done)
    return work
  }

  /** Resolves when everything that was called has been carried out: computes, verbs, background writes, and what tiers have queued. */
  async drained(): Promise<void> {
    await Promise.allSettled(this.#computes.keys())
    await Promise.allSettled(this.#invalidations.keys())
    await this.background.drained()
    await Promise.all(this.tiers.map((tier) => tier.queues.drained()))
    await this.writeBack.drained()
  }

  /** @throws CacheError `closed` after close */
  assertOpen(operation: string): void {
    if (this.closed) throw new CacheError('closed', `${operation} was called after the cache was closed`, { operation })
  }

  /** Makes a failure visible that no caller is told of: counted, measured, sent to listeners. */
  report(thrown: unknown, about: Failure): void {
    const { operation, tier, state, key } = about
    const error = asCacheError(thrown, { operation, backend: tier?.backend.name, tenant: state?.tenant, key })
    if (error.code === 'circuit-open') return // the outage itself was reported when the circuit opened
    const counters = (state ?? this.tenants.peek(error.tenant ?? ''))?.counters ?? this.#unowned
    count(counters.errors, tier?.index ?? this.tiers.length)
    this.telemetry.recordError({ ...tier?.attributes, operation, reason: error.code, ...(key === undefined ? {} : { policy: this.policies.forKey(key).name }) })
    // only a person can help: seen at once, not when the circuit opens after several
    if (FOR_A_PERSON.has(error.code)) this.warnOnce(`${tier?.name} ${error.code}`, `${tier === undefined ? '' : `tier ${tier.name} (${tier.backend.name}): `}${error.message}`, { tier: tier?.name, backend: tier?.backend.name, code: error.code, operation })
    if (this.events.wants('error')) this.events.emit('error', { error, operation, tier: tier?.name, tenant: state?.tenant ?? error.tenant, key: key ?? error.key })
  }

  /** Logs what a person should see once, however often it happens. */
  warnOnce(topic: string, message: string, fields: LogFields = {}): void {
    if (this.#warned.has(topic)) return
    this.#warned.add(topic)
    this.logger.warn(message, fields)
  }

  /** All counts of the manager. */
  totals(): Counters {
    const totals = this.tenants.totals()
    totals.add(this.#unowned)
    return totals
  }

  #updateShortWay(): void {
    this.tellsStale = this.events.wants('stale')
    const plain = this.enabled && !this.closed && this.isolation === 'share' && !this.#everySpan && !this.events.wants('hit')
    this.hot = plain && !this.firstTier.queues.anySuspect ? this.firstTier.direct : undefined
  }

  #tierHost(): TierHost {
    const agreed = this.#agreed
    return {
      clock: this.clock,
      agreed: agreed && this.agreement && { over: agreed.backend, agreement: this.agreement, beliefs: agreed.trust },
      recordLog: this.recordLog,
      backendHost: (tier) => this.#backendHost(tier),
      report: (tier, error) => this.report(error, { operation: error.operation, tier }),
      progressed: () => this.progressed(),
      suspectsChanged: (tier) => {
        if (tier === this.firstTier) this.#updateShortWay()
      },
      stateChanged: (tier, state, circuit, error) => this.#stateChanged(tier, state, circuit, error),
    }
  }

  #backendHost(tier: Tier): BackendHost {
    return {
      clock: this.clock,
      report: (error) => this.report(error, { operation: error.operation, tier, key: error.key }),
      demotes: (_scope, key) => this.demotion.wants(tier, key),
      evicted: (scope, key, entry, reason: EvictionReason) => {
        if (reason !== 'expired') count((this.tenants.peek(scope.tenant)?.counters ?? this.#unowned).evictions, this.#cell(this.policies.forKey(key), tier))
        if (this.events.wants('evict')) this.events.emit('evict', { tenant: scope.tenant, key, tier: tier.name, reason })
        if (entry !== undefined && reason !== 'expired') this.demotion.take(tier, scope, key, entry)
      },
    }
  }

  #stateChanged(tier: Tier, state: 'open' | 'closed', circuit: Circuit, error: CacheError | undefined): void {
    if (state === 'open') {
      const leftOut = tier.breaker.isOpen('read') && tier.breaker.isOpen('write') ? 'reads and writes' : `${circuit}s`
      const fields = { tier: tier.name, backend: tier.backend.name, circuit, code: error?.code, operation: error?.operation }
      this.logger.warn(`tier ${tier.name} (${tier.backend.name}) is degraded, ${leftOut} are left out until it recovers: ${String(error?.message)}`, fields)
      this.events.emit('degraded', { tier: tier.name, circuit, error })
    } else {
      this.logger.info(`tier ${tier.name} (${tier.backend.name}) has recovered`, { tier: tier.name, backend: tier.backend.name, circuit })
      this.events.emit('recovered', { tier: tier.name })
      this.writeBack.kick()
    }
  }

  #metricSources(byTenant: boolean): ConstructorParameters<typeof Telemetry>[1] {
    const perPolicy = (of: (counters: Counters, policy: Policy) => readonly Reading[]) => (): Iterable<Reading> => this.#readings(byTenant, (counters) => this.policies.all.flatMap((policy) => of(counters, policy)))
    const perCell = (name: 'hits' | 'staleHits' | 'tierMisses' | 'promotions' | 'evictions') => (): Iterable<Reading> =>
      this.#readings(byTenant, (counters) =>
        this.policies.all.flatMap((policy) =>
          this.tiers.map((tier): Reading => [counters[name][this.#cell(policy, tier)] ?? 0, { ...tier.attributes, policy: policy.name }]),
        ),
      )
    const gauge = (name: 'entries' | 'bytes') => (): Promise<readonly Reading[]> => this.#gauges(name, byTenant)
    return {
      counters: {
        'cache.hits': perCell('hits'),
        'cache.stale_hits': perCell('staleHits'),
        'cache.misses': perCell('tierMisses'),
        'cache.refreshes': perPolicy(({ refreshes, refreshesGivenUp }, { index, name: policy }) => [
          [refreshes[index] ?? 0, { policy, outcome: 'refreshed' }],
          [refreshesGivenUp[index] ?? 0, { policy, outcome: 'given-up' }],
        ]),
        'cache.timeouts': perPolicy(({ softTimeouts, hardTimeouts }, { index, name: policy }) => [
          [softTimeouts[index] ?? 0, { policy, kind: 'soft' }],
          [hardTimeouts[index] ?? 0, { policy, kind: 'hard' }],
        ]),
        'cache.promotions': perCell('promotions'),
        'cache.evictions': perCell('evictions'),
      },
      gauges: { 'cache.entries': gauge('entries'), 'cache.size': gauge('bytes') },
    }
  }

  /** What has never happened is left out: a series appears with its first count. */
  *#readings(byTenant: boolean, read: (counters: Counters) => readonly Reading[]): Iterable<Reading> {
    if (!byTenant) {
      for (const reading of read(this.totals())) if (reading[0] > 0) yield reading
      return
    }
    for (const [tenant, counters] of this.tenants.each()) {
      for (const [value, attributes] of read(counters)) if (value > 0) yield [value, { ...attributes, tenant }]
    }
    // what belongs to no tenant in use any more is told without one
    const others = new Counters(this.policies.all.length, this.tiers.length)
    others.add(this.#unowned)
    others.add(this.tenants.retired)
    for (const reading of read(others)) if (reading[0] > 0) yield reading
  }

  #cell(policy: Policy, tier: Tier): number {
    return policy.index * this.tiers.length + tier.index
  }

  async #gauges(name: 'entries' | 'bytes', byTenant: boolean): Promise<readonly Reading[]> {
    const readings: Reading[] = []
    for (const tier of this.tiers) {
      if (!tier.readable) continue
      const scopes = byTenant ? [...this.tenants.each()].map(([tenant]) => this.tenants.of(validateTenant(tenant)).scope) : [undefined]
      for (const scope of scopes) {
        const value = (await Promise.resolve(tier.backend.stats(scope)).catch(() => undefined))?.[name]
        if (value !== undefined) readings.push([value, { ...tier.attributes, ...(scope === undefined ? {} : { tenant: scope.tenant }) }])
      }
    }
    return readings
  }
}

function tierNames(tiers: unknown): string[] {
  if (typeof tiers !== 'object' || tiers === null || Object.keys(tiers).length === 0) {
    throw new TypeError(`tiers must be an object with at least one tier, such as { hot: { backend: new MemoryBackend() } }, not ${kindOf(tiers)}`)
  }
  const names = Object.keys(tiers)
  for (const name of names) {
    if (name === '' || RESERVED_TIER_NAMES.has(name)) throw new TypeError(`a tier may not be named ${JSON.stringify(name)}: that is the name of an option`)
    if (/^\d+$/.test(name)) throw new TypeError(`a tier may not be named ${JSON.stringify(name)}: objects put number-like keys first, so the order of the tiers would be lost`)
    const tier = (tiers as Record<string, unknown>)[name]
    if (typeof tier !== 'object' || tier === null) throw new TypeError(`tiers.${name} must be { backend, ... }, not ${kindOf(tier)}`)
  }
  return names
}

function checkEnabled(enabled: unknown): boolean {
  if (enabled === undefined || typeof enabled === 'boolean') return enabled ?? true
  throw new TypeError(`enabled must be true or false, not ${kindOf(enabled)}`)
}

function strictest(tiers: readonly Tier[]): Isolation {
  const asked = new Set(tiers.map((tier) => tier.capabilities.isolation))
  return asked.has('clone') ? 'clone' : asked.has('freeze') ? 'freeze' : 'share'
}
