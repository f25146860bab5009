import {
  CacheEntry,
  CacheError,
  isCacheError,
  PROBE_TENANT,
  TenantScope,
  validateKey,
  type CacheBackend,
  type Clock,
  type Layer,
} from '@thermocline/backend'
import { Backoff } from './backoff.js'
import type { Circuit, Guard } from './resilience-parts.js'
import { resilience } from './resilience.js'

/*
 * The circuit breaker of one tier.
 *
 * Problem: a store that hangs costs every caller its whole budget. After the first one everybody should know.
 *
 * Two circuits, because a full disk still reads: `read` and `write`. A timeout or a refused connection opens at once; a
 * store that is out of space or read-only opens `write` only; other failures open after `failureThreshold` in a row. A
 * read that timed out opens `write` too, so that one outage is paid for once. Deletes pass an open `write` circuit
 * when the reason is a full store: they free space.
 *
 * At most one probe is under way: while both circuits are open, reads are probed first. So a store that holds up whatever asks it, such as
 * a frozen disk, does not get one question more for each circuit.
 *
 * Rejected: the usual half-open state that lets a caller through to try. That caller pays the budget, and again at
 * each try while the outage lasts. Here the breaker probes by itself in the background, with a small read, or a small
 * put and delete, in a tenant of its own; the wait between probes doubles from 250 ms to 2 s and a probe gets at most 2 s,
 * so a recovered store is in use again within 5 s.
 */

const FIRST_PROBE_MS = 250
const LONGEST_PROBE_INTERVAL_MS = 2000
const PROBE_BUDGET_MS = 2000
const LARGEST_PROBE_BYTES = 1 << 20
const PROBE_LIFE_MS = 60_000

export interface CircuitBreakerOptions {
  readonly clock: Clock
  /** Failures in a row that open a circuit, where one alone does not. */
  readonly failureThreshold: number
  /** Told when the first circuit opens and when the last one closes. */
  readonly onChange?: ((state: 'open' | 'closed', circuit: Circuit, error: CacheError | undefined) => void) | undefined
}

/** The state of the breaker around one backend, and the layer that feeds and obeys it. */
export class CircuitBreaker implements Guard {
  readonly layer: Layer = (inner) => {
    const guarded = resilience({ guard: this })(inner)
    this.probes(inner)
    return guarded
  }

  readonly #options: CircuitBreakerOptions
  readonly #circuits: Readonly<Record<Circuit, CircuitState>>
  readonly #probeScope = new TenantScope(PROBE_TENANT)
  readonly #probeKey = validateKey('probe')
  #probed: CacheBackend | undefined
  #failedBytes = 1
  #disposed = false

  constructor(options: CircuitBreakerOptions) {
    this.#options = options
    this.#circuits = { read: new CircuitState(options.clock), write: new CircuitState(options.clock) }
  }

  /** What the background probes ask: the backend inside this breaker. The layer sets it by itself. */
  probes(backend: CacheBackend): void {
    this.#probed = backend
  }

  isOpen(circuit: Circuit): boolean {
    return this.#circuits[circuit].openedBy !== undefined
  }

  /** What has opened a circuit; `undefined`: it is closed. */
  openedBy(circuit: Circuit): CacheError | undefined {
    return this.#circuits[circuit].openedBy
  }

  /** Whether deletes are let through: always, unless the store cannot be reached or changed. */
  get deletesPass(): boolean {
    const reason = this.#circuits.write.openedBy
    return reason === undefined || reason.code === 'storage-full'
  }

  /** Ends the probes. The circuits stay as they are. */
  dispose(): void {
    this.#disposed = true
    this.#circuits.read.probes.cancel()
    this.#circuits.write.probes.cancel()
  }

  succeeded(circuit: Circuit): void {
    this.#circuits[circuit].failures = 0
  }

  failed(circuit: Circuit, thrown: unknown, bytes: number): void {
    const error = isCacheError(thrown) ? thrown : undefined
    if (error?.concerns === 'key') return // it says nothing of the tier
    if (circuit === 'write') this.#failedBytes = Math.max(1, Math.min(bytes, LARGEST_PROBE_BYTES))
    switch (error?.code) {
      case 'storage-full':
      case 'read-only':
        return this.#open(error, 'write')
      case 'timeout':
        return circuit === 'read' ? this.#open(error, 'read', 'write') : this.#open(error, 'write')
      case 'unavailable':
        return this.#open(error, 'read', 'write')
      case 'busy':
      case 'in-doubt':
      case 'corrupt':
      case 'foreign':
      case 'archived':
      case 'not-encodable':
      case 'closed':
        return
      default:
        if (++this.#circuits[circuit].failures >= this.#options.failureThreshold) {
          this.#open(error ?? new CacheError('failed', `${circuit}s failed ${this.#options.failureThreshold} times in a row`, { operation: circuit, cause: thrown }), circuit)
        }
    }
  }

  /** What a caller gets instead of an operation. One object per outage: no stack trace is made per call. */
  refusal(circuit: Circuit): CacheError {
    const state = this.#circuits[circuit]
    state.refusal ??= new CacheError('circuit-open', `not asked: the ${circuit} circuit is open since ${String(state.openedBy?.message)}`, {
      operation: circuit,
      backend: this.#probed?.name,
      cause: state.openedBy,
    })
    return state.refusal
  }

  #open(error: CacheError, ...circuits: readonly Circuit[]): void {
    if (this.#disposed) return
    const wasClosed = !this.isOpen('read') && !this.isOpen('write')
    for (const circuit of circuits) {
      if (this.isOpen(circuit)) continue
      this.#circuits[circuit].open(error)
      this.#scheduleProbe(circuit)
    }
    if (wasClosed) this.#options.onChange?.('open', circuits[0] as Circuit, error)
  }

  #scheduleProbe(circuit: Circuit): void {
    this.#circuits[circuit].probes.schedule(() => void this.#probe(circuit))
  }

  async #probe(circuit: Circuit): Promise<void> {
    if (circuit === 'write' && this.isOpen('read')) {
      this.#circuits.write.probes.reset() // nothing was asked
      return this.#scheduleProbe(circuit)
    }
    try {
      await (circuit === 'read' ? this.#probeRead() : this.#probeWrite())
    } catch {
      if (!this.#disposed) this.#scheduleProbe(circuit)
      return
    }
    if (this.#disposed) return
    this.#circuits[circuit].close()
    if (!this.isOpen('read') && !this.isOpen('write')) this.#options.onChange?.('closed', circuit, undefined)
  }

  async #probeRead(): Promise<void> {
    await this.#probed?.get(this.#probeScope, this.#probeKey, { want: 'head', touch: false, budgetMs: PROBE_BUDGET_MS })
  }

  async #probeWrite(): Promise<void> {
    const now = this.#options.clock.now()
    const bytes = Buffer.alloc(this.#failedBytes)
    const keepUntil = now + PROBE_LIFE_MS
    const entry = new CacheEntry(bytes, { codec: 'buffer', bytes }, { createdAt: now, expiresAt: keepUntil })
    await this.#probed?.put(this.#probeScope, this.#probeKey, entry, { onlyIfAbsent: false, keepUntil, budgetMs: PROBE_BUDGET_MS })
    await this.#probed?.delete(this.#probeScope, [this.#probeKey], { budgetMs: PROBE_BUDGET_MS })
  }
}

class CircuitState {
  openedBy: CacheError | undefined
  failures = 0
  refusal: CacheError | undefined
  readonly probes: Backoff

  constructor(clock: Clock) {
    this.probes = new Backoff({ clock, firstMs: FIRST_PROBE_MS, longestMs: LONGEST_PROBE_INTERVAL_MS })
  }

  open(error: CacheError): void {
    this.openedBy = error
    this.refusal = undefined
    this.probes.reset()
  }

  close(): void {
    this.openedBy = undefined
    this.failures = 0
  }
}
