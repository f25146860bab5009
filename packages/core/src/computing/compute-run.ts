import { instantAfter, isCacheError, type CacheError } from '@thermocline/backend'
import { ComputeWishes } from '../flights/compute-context.js'
import type { Flight } from '../flights/flight.js'
import { Computing } from '../flights/waiting.js'
import { count } from '../state/counters.js'
import { LeftOut } from './compute-batch.js'
import type { ComputeOperation, Operation } from '../operation/operation.js'
import type { EntryWishes } from '../operation/terms.js'

/** Has the error of a key's compute thrown again for a while, where the call wishes. */
function rememberError({ engine, state, key, plan }: Operation, error: unknown): void {
  const { errorTtlMs } = plan.freshness
  if (errorTtlMs > 0) state.errors.remember(key, error, instantAfter(engine.clock.now(), errorTtlMs))
}

/** Counts a compute that is to be given up for its time. */
export function timedOut(operation: Operation, { fence }: Flight, error: CacheError): void {
  count(operation.state.counters.hardTimeouts, operation.plan.policy.index)
  if (!fence.broken) rememberError(operation, error)
}

/** One run of a caller's function, from its call until it has made everything: a stream is made when it has ended. */
export class ComputeRun<T> {
  readonly #operation: ComputeOperation<T>
  readonly #flight: Flight
  readonly #asked: ComputeWishes
  readonly #part: Computing
  readonly #startedAt: number

  /** @throws the reason why nobody waits for the flight any more */
  constructor(operation: ComputeOperation<T>, flight: Flight) {
    flight.throwIfAborted()
    this.#operation = operation
    this.#flight = flight
    this.#asked = new ComputeWishes(operation.key, operation.state.tenant, flight)
    this.#startedAt = operation.engine.clock.monotonic()
    this.#part = new Computing(flight)
  }

  /** What the function returns. */
  async begin(): Promise<T> {
    const { engine, span, make } = this.#operation
    try {
      return await this.#part.run(() => engine.telemetry.compute(span, () => make(this.#asked)))
    } catch (error) {
      this.failed(error)
      throw error
    }
  }

  /** The chunks of a stream that it makes. */
  chunks(source: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
    return this.#part.chunks(source)
  }

  /** It has made everything: that is counted. */
  ended(): void {
    const { engine, state, key, plan: { policy } } = this.#operation
    const ms = this.#ms
    this.#part.end()
    if (!this.#flight.fence.broken) state.errors.forgetKey(key)
    count(state.counters.computes, policy.index)
    count(state.counters.computeMicros, policy.index, Math.round(ms * 1000))
    engine.telemetry.recordCompute({ policy: policy.name }, ms)
    if (engine.events.wants('compute')) engine.events.emit('compute', { tenant: state.tenant, key, policy: policy.name, ms })
  }

  /** It has made nothing. The error is remembered where the call wishes, unless that is about who waited rather than about the compute. */
  failed(error: unknown): void {
    this.#part.end()
    const isItsOwn = !this.#flight.isAborted && !this.#flight.fence.broken && !(error instanceof LeftOut) && !(isCacheError(error) && error.code === 'circular')
    if (isItsOwn && !this.#asked.uncached) rememberError(this.#operation, error)
  }

  /** What it makes may be stored: it has not said otherwise, and nothing has been invalidated since it began. */
  get mayStore(): boolean {
    return !this.#asked.uncached && !this.#flight.fence.broken && !this.#operation.engine.stopped
  }

  /** What is to be stored with it, as the call and the compute wish. It has taken as long as it has until now. */
  get wishes(): EntryWishes {
    const { wishes } = this.#operation
    const { ttlMs, tags } = this.#asked
    return {
      ttlMs: ttlMs ?? wishes.ttlMs,
      computeMicros: Math.round(this.#ms * 1000),
      tags: tags === undefined ? wishes.tags : [...(wishes.tags ?? []), ...tags],
      metadata: wishes.metadata,
    }
  }

  /** Tiers are told what the entry is: what the compute wishes for from now on comes too late. */
  described(): void {
    this.#asked.described()
  }

  /** Whether the compute has said that nothing is to be stored. */
  get isUncached(): boolean {
    return this.#asked.uncached
  }

  get #ms(): number {
    return (this.#operation.engine.clock.monotonic() - this.#startedAt) / this.#asked.sharedBy
  }
}
