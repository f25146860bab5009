import {
  isJournalKeeper,
  isRecordKeeper,
  kindOf,
  KnownNames,
  positiveDurationMs,
  ttlMs,
  type BackendCapabilities,
  type BackendHost,
  type CacheBackend,
  type CacheEntry,
  type CacheError,
  type Clock,
  type Duration,
  type JournalKeeper,
  type Layer,
  type RecordLog,
  type TenantScope,
  type Ttl,
  type ValidKey,
} from '@thermocline/backend'
import { CircuitBreaker } from '../layers/circuit-breaker.js'
import { Deadlines } from '../layers/deadlines.js'
import { Gate } from '../layers/gate.js'
import type { Circuit, Gates } from '../layers/resilience-parts.js'
import { resilience } from '../layers/resilience.js'
import type { TierAgreement } from './agreement.js'
import { AskedTime } from './asked-time.js'
import { ownTier, type Beliefs, type OwnTier } from './own-tier.js'
import { WriteQueues } from './write-queues.js'
import { Fallback } from './fallback.js'

/** One tier of a manager: a backend at a place in the order, with its own limits. */
export interface TierOptions {
  readonly backend: CacheBackend
  /** The longest this tier serves an entry after taking it in. Default: as long as the entry lives; `'1m'` for a memory tier in a policy that uses a shared tier below it. */
  readonly maxTtl?: Ttl | undefined
  /** The time to live where neither call nor policy gives one. Default: the manager's. */
  readonly defaultTtl?: Ttl | undefined
  /** How long an operation may go without progress. Default: 250 ms for memory and redis, 1 s for fs, 5 s for object stores and others. */
  readonly budget?: Duration | undefined
  /**
   * The most operations that the store is given at once, reads and writes each; others wait, which costs them no budget. Streams do not count.
   * Default 32 for fs, 1,000 for redis, 50 for object stores and others.
   */
  readonly concurrency?: number | undefined
  /** Larger payloads are not stored in this tier. Default: the backend's own limit. */
  readonly maxPayloadBytes?: number | undefined
  /** Attempts for what the backend calls retryable, the first included, all within the budget. Default 2. */
  readonly attempts?: number | undefined
  /** The most invalidations recorded for later while the tier cannot take them. Default 100,000. */
  readonly maxRecords?: number | undefined
  /**
   * A memory that stands in while the tier cannot be reached or takes no writes, such as `new MemoryBackend({ maxEntries: 1000 })`: used
   * only while the breaker is open, then dropped. What is set and deleted meanwhile, the tier still owes: it has none of it afterwards. While
   * the tier is still read, an entry stays here for a minute at most. Default: none.
   */
  readonly fallback?: CacheBackend | undefined
  /** Layers of your own, innermost first; the built-in ones go around them. */
  readonly layers?: readonly Layer[] | undefined
}

export interface TierHost {
  readonly clock: Clock
  readonly backendHost: (tier: Tier) => BackendHost
  readonly recordLog: RecordLog | undefined
  /** Where processes agree over a tier: which one that is, and what may be believed of those that are the process's own. */
  readonly agreed?: { readonly over: CacheBackend; readonly agreement: TierAgreement; readonly beliefs: Beliefs } | undefined
  report(tier: Tier, error: CacheError): void
  /** The tier owes less than before, or a key is in doubt no longer. */
  progressed(): void
  /** The tier's first key has become suspect, or its last one has ceased to be. */
  suspectsChanged(tier: Tier): void
  stateChanged(tier: Tier, state: 'open' | 'closed', circuit: Circuit, error: CacheError | undefined): void
}

const DEFAULT_BUDGET_MS: ReadonlyMap<string, number> = new Map([['memory', 250], ['redis', 250], ['fs', 1000]])
const OTHER_BUDGET_MS = 5000
/** Operations at once where the tier does not say it: what the adapter's client passes on at once. */
const DEFAULT_CONCURRENCY: ReadonlyMap<string, number> = new Map([['fs', 32], ['redis', 1000]])
const OTHER_CONCURRENCY = 50
const FAILURE_THRESHOLD = 5
const RETRY_BASE_MS = 20
const DEFAULT_ATTEMPTS = 2
const DEFAULT_MAX_RECORDS = 100_000

/**
 * A tier at work: its backend inside the built-in layers, the queues that order its writes, and its limits.
 *
 * Order of layers, outermost first: circuit breaker, timeout, retry, the user's own. The breaker must see timeouts, so
 * it is outside of them; the timeout bounds all attempts together, so retry is inside.
 */
export class Tier {
  readonly name: string
  /** What telemetry says of it. */
  readonly attributes: Readonly<{ tier: string; backend: string }>
  readonly index: number
  /** Guarded by all layers. */
  readonly backend: CacheBackend
  readonly capabilities: BackendCapabilities
  /** Whether other processes read from it, and hear of each other's changes. */
  readonly isShared: boolean
  readonly budgetMs: number
  /** How its budgets are counted. */
  readonly time: AskedTime
  /** What the options say; a slot decides where they say nothing. */
  readonly maxTtlMs: number | undefined
  readonly defaultTtlMs: number | undefined
  readonly maxPayloadBytes: number
  readonly queues: WriteQueues
  readonly breaker: CircuitBreaker
  readonly fallback: Fallback | undefined
  /** For a synchronous tier: the backend inside the user's layers only, for the hot path. */
  readonly direct: CacheBackend | undefined
  /** The backend itself, if it keeps a journal for what is written back. */
  readonly journalKeeper: JournalKeeper | undefined
  readonly #detach: () => void
  readonly #raw: CacheBackend
  readonly #own: OwnTier | undefined
  /** The same with what is not believed, for a tier that is not synchronous. */
  readonly #unbelieved: CacheBackend | undefined

  constructor(name: string, index: number, options: TierOptions, host: TierHost) {
    checkOptions(name, options)
    this.name = name
    this.index = index
    this.#raw = options.backend
    const layered = (options.layers ?? []).reduce<CacheBackend>((inner, layer) => layer(inner), options.backend)
    const { shared } = layered.capabilities
    this.isShared = shared === true || (shared === 'machine' && host.agreed?.over.capabilities.shared === 'machine')
    this.#own = host.agreed !== undefined && !this.isShared ? ownTier(layered, host.agreed.beliefs) : undefined
    const bare = this.#own ?? layered
    this.capabilities = bare.capabilities
    this.attributes = { tier: name, backend: bare.name }
    this.budgetMs = options.budget === undefined ? (DEFAULT_BUDGET_MS.get(bare.name) ?? OTHER_BUDGET_MS) : positiveDurationMs(options.budget, `tiers.${name}.budget`)
    this.maxTtlMs = ttlMs(options.maxTtl, `tiers.${name}.maxTtl`)
    this.defaultTtlMs = ttlMs(options.defaultTtl, `tiers.${name}.defaultTtl`)
    this.maxPayloadBytes = Math.min(options.maxPayloadBytes ?? Number.POSITIVE_INFINITY, bare.capabilities.maxPayloadBytes ?? Number.POSITIVE_INFINITY)
    this.direct = bare.capabilities.synchronous ? bare : undefined
    this.journalKeeper = isJournalKeeper(options.backend) ? options.backend : undefined
    const { clock } = host
    this.breaker = new CircuitBreaker({
      clock,
      failureThreshold: FAILURE_THRESHOLD,
      onChange: (state, circuit, error) => {
        host.stateChanged(this, state, circuit, error)
        if (state === 'closed') {
          this.fallback?.drop()
          this.queues.payNow()
        }
      },
    })
    const timeout = { clock, budgetMs: this.budgetMs }
    const retry = { clock, attempts: options.attempts ?? DEFAULT_ATTEMPTS, baseDelayMs: RETRY_BASE_MS }
    const gates = bare.capabilities.synchronous ? undefined : gatesOf(clock, options.concurrency ?? DEFAULT_CONCURRENCY.get(bare.name) ?? OTHER_CONCURRENCY)
    this.backend = resilience({ guard: this.breaker, gates, timeout, retry })(bare)
    this.#unbelieved = this.#own === undefined || bare.capabilities.synchronous ? undefined : resilience({ guard: this.breaker, gates, timeout, retry })(layered)
    this.breaker.probes(resilience({ timeout, retry })(bare))
    this.fallback =
      options.fallback === undefined
        ? undefined
        : new Fallback({ tier: name, backend: options.fallback, clock, instead: () => this.#openCircuit, longestMs: host.agreed?.beliefs.maxStalenessMs, report: (error) => host.report(this, error) })
    this.#detach = bare.attach(host.backendHost(this))
    this.time = new AskedTime(Deadlines.of(clock), gates?.write)
    this.queues = new WriteQueues({
      tier: name,
      backend: this.backend,
      clock,
      time: this.time,
      budgetMs: this.budgetMs,
      maxPayloadBytes: this.maxPayloadBytes,
      maxOwed: options.maxRecords ?? DEFAULT_MAX_RECORDS,
      log: host.recordLog,
      fallback: this.fallback,
      isOwn: this.hearsOthers,
      agreement: host.agreed?.over === options.backend ? host.agreed.agreement : undefined,
      report: (error) => host.report(this, error),
      suspectsChanged: () => host.suspectsChanged(this),
      progressed: () => host.progressed(),
    })
  }

  /** Whether what other processes invalidate is removed here, too. */
  get hearsOthers(): boolean {
    return this.#own !== undefined
  }

  /** Whether an entry that the tier itself has is one that may be served, or given to another tier. */
  believes(entry: CacheEntry): boolean {
    return this.#own === undefined || this.#own.believes(entry)
  }

  /** For how long an entry that was read here may be kept in another tier of the process's own, in milliseconds. */
  limitMs(entry: CacheEntry): number {
    return this.#own?.limitMs(entry) ?? Number.POSITIVE_INFINITY
  }

  /** Whether the tier holds what the message with that id told of, as others of the same machine may have put it there. */
  async holdsToldOf(scope: TenantScope, key: ValidKey, id: string): Promise<boolean> {
    if (this.#own === undefined || this.#unbelieved === undefined || !this.readable) return false
    try {
      const entry = await this.#unbelieved.get(scope, key, { want: 'head', touch: false })
      return entry !== undefined && this.#own.isToldOf(entry, id)
    } catch {
      return false // it is removed, or owed
    }
  }

  /** Whether the tier takes a payload of that size. */
  takes(bytes: number): boolean {
    return bytes <= this.maxPayloadBytes
  }

  /** Whether the tier can be read at all; `queues.suspicionOf` says it of one key. */
  get readable(): boolean {
    return !this.breaker.isOpen('read')
  }

  get #openCircuit(): Circuit | undefined {
    if (this.breaker.isOpen('read')) return 'read'
    return this.breaker.isOpen('write') ? 'write' : undefined
  }

  /** Does nothing more, and lets go of the backend. */
  leave(): void {
    this.breaker.dispose()
    this.queues.close()
    this.#detach()
  }

  async close(): Promise<void> {
    this.leave()
    await Promise.all([this.#raw[Symbol.asyncDispose](), this.fallback?.close()])
  }
}

function gatesOf(clock: Clock, width: number): Gates {
  const deadlines = Deadlines.of(clock)
  return { read: new Gate({ deadlines, width }), write: new Gate({ deadlines, width }) }
}

/** The record log of the first tier that keeps one: records of all tiers live beside its data. */
export function openRecordLog(tiers: Iterable<TierOptions>): RecordLog | undefined {
  for (const { backend } of tiers) if (isRecordKeeper(backend)) return backend.openRecordLog()
  return undefined
}

const OPTIONS = new KnownNames(
  Object.keys({ backend: true, maxTtl: true, defaultTtl: true, budget: true, concurrency: true, maxPayloadBytes: true, attempts: true, maxRecords: true, fallback: true, layers: true } satisfies Readonly<Record<keyof TierOptions, true>>),
)

function checkOptions(name: string, options: TierOptions): void {
  const backend = options.backend as Partial<CacheBackend> | undefined
  if (typeof backend?.get !== 'function' || typeof backend.put !== 'function' || backend.capabilities === undefined) {
    throw new TypeError(`tiers.${name}.backend must be a cache backend such as new MemoryBackend(), not ${kindOf(backend)}`)
  }
  OPTIONS.check(options, `tiers.${name}`)
  positiveInteger(options.maxPayloadBytes, `tiers.${name}.maxPayloadBytes`)
  positiveInteger(options.concurrency, `tiers.${name}.concurrency`)
  positiveInteger(options.attempts, `tiers.${name}.attempts`)
  positiveInteger(options.maxRecords, `tiers.${name}.maxRecords`)
  if (options.layers !== undefined && !(Array.isArray(options.layers) && options.layers.every((layer) => typeof layer === 'function'))) {
    throw new TypeError(`tiers.${name}.layers must be an array of layers, not ${kindOf(options.layers)}`)
  }
}

function positiveInteger(value: number | undefined, option: string): void {
  if (value !== undefined && !(Number.isInteger(value) && value > 0)) {
    throw new TypeError(`${option} must be a positive whole number, not ${kindOf(value)}`)
  }
}
