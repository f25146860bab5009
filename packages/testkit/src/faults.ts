import {
  CacheError,
  isPromise,
  isStreamed,
  systemClock,
  WrappedBackend,
  type Awaitable,
  type BackendCapabilities,
  type BackendHost,
  type CacheBackend,
  type CacheEntry,
  type CacheErrorCode,
  type ClearOptions,
  type Clock,
  type Detach,
  type Layer,
  type ListOptions,
  type OperationOptions,
  type PutOptions,
  type ReadOptions,
  type StoredEntryInfo,
  type StreamedEntry,
  type TenantScope,
  type ValidKey,
} from '@thermocline/backend'
import { withBodyFault, type BodyFault } from './faulty-bodies.js'

/** The operations a fault can be put on. */
export type FaultyOperation = 'get' | 'put' | 'delete' | 'clear' | 'list'

/**
 * What goes wrong:
 *
 * - `hang`: nothing happens until the fault is released; then the operation is carried out, late, or dropped
 * - `hang-after`: the operation is carried out at once, its answer hangs
 * - `fail`: the operation is not carried out and fails with the code
 * - `fail-after`: it is carried out and its answer is lost: the caller sees the failure
 */
export type Fault = 'hang' | 'hang-after' | { readonly fail: CacheErrorCode; readonly retryable?: boolean } | { readonly failAfter: CacheErrorCode }

interface Held {
  readonly finish: () => void
  readonly drop: () => void
}

const BODIES = ['get', 'put'] as const
const OPERATIONS: readonly FaultyOperation[] = ['get', 'put', 'delete', 'clear', 'list']

/**
 * Faults to order, as a layer: `layers: [faults.layer]`. Beneath it any backend works unchanged, so a test of what
 * happens when a store misbehaves needs no mock of the store.
 */
export class Faults {
  readonly layer: Layer = (inner) => new FaultyBackend(inner, this)
  /** Calls that reached the faulty backend, by operation. */
  readonly calls: Record<FaultyOperation, number> = { get: 0, put: 0, delete: 0, clear: 0, list: 0 }
  readonly #faults = new Map<FaultyOperation, Fault>()
  readonly #bodyFaults = new Map<'get' | 'put', BodyFault>()
  #held: Held[] = []

  /** Puts a fault on operations, all by default, until {@link heal}. */
  inject(fault: Fault, ...operations: FaultyOperation[]): this {
    for (const operation of operations.length === 0 ? OPERATIONS : operations) this.#faults.set(operation, fault)
    return this
  }

  /**
   * Puts a fault on the bytes of streams that begin from now on, until {@link heal}: those that are read (`get`), those that are
   * written (`put`), or both, by default.
   */
  injectBody(fault: BodyFault, ...operations: ('get' | 'put')[]): this {
    for (const operation of operations.length === 0 ? BODIES : operations) this.#bodyFaults.set(operation, fault)
    return this
  }

  /** Takes faults away, all by default. What hangs goes on hanging. */
  heal(...operations: FaultyOperation[]): this {
    for (const operation of operations.length === 0 ? OPERATIONS : operations) {
      this.#faults.delete(operation)
      if (operation === 'get' || operation === 'put') this.#bodyFaults.delete(operation)
    }
    return this
  }

  /** How many operations and streams hang. */
  get hanging(): number {
    return this.#held.length
  }

  /** Carries out what hangs, in the order of the calls: late completion. */
  release(): void {
    for (const { finish } of this.#held.splice(0)) finish()
  }

  /** What hangs fails without having been carried out: its connection is gone. */
  drop(): void {
    for (const { drop } of this.#held.splice(0)) drop()
  }

  /** @internal */
  run<T>(operation: FaultyOperation, work: () => Awaitable<T>): Promise<T> {
    this.calls[operation]++
    const fault = this.#faults.get(operation)
    if (fault === undefined) return settle(work)
    if (fault === 'hang') return this.#hold(operation, work)
    if (fault === 'hang-after') {
      const done = settle(work)
      done.catch(() => undefined)
      return this.#hold(operation, () => done)
    }
    if ('fail' in fault) return Promise.reject(injected(fault.fail, operation, fault.retryable))
    return settle(work).then(() => Promise.reject(injected(fault.failAfter, operation)))
  }

  /** @internal the entry with the fault that streams have now */
  body<T extends CacheEntry | undefined>(operation: 'get' | 'put', entry: T, clock: Clock): T | StreamedEntry {
    const fault = this.#bodyFaults.get(operation)
    if (fault === undefined || entry === undefined || !isStreamed(entry)) return entry
    return withBodyFault(entry, fault, {
      clock,
      failure: (code, retryable) => injected(code, operation, retryable),
      hold: () => this.#hold(operation, () => undefined),
    })
  }

  #hold<T>(operation: FaultyOperation, work: () => Awaitable<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#held.push({
        finish: () => void settle(work).then(resolve, reject),
        drop: () => reject(injected('unavailable', operation)),
      })
    })
  }
}

function settle<T>(work: () => Awaitable<T>): Promise<T> {
  try {
    const result = work()
    return isPromise(result) ? result : Promise.resolve(result)
  } catch (error) {
    return Promise.reject(error)
  }
}

function injected(code: CacheErrorCode, operation: string, retryable = false): CacheError {
  return new CacheError(code, `injected fault: ${operation} ${code}`, { operation, backend: 'faulty', retryable })
}

class FaultyBackend extends WrappedBackend {
  readonly #faults: Faults
  #clock: Clock = systemClock

  constructor(inner: CacheBackend, faults: Faults) {
    super(inner)
    this.#faults = faults
  }

  /** Faults take time, so nothing here is synchronous. */
  override get capabilities(): BackendCapabilities {
    return { ...this.inner.capabilities, synchronous: false }
  }

  override attach(host: BackendHost): Detach {
    this.#clock = host.clock
    return super.attach(host)
  }

  override get(scope: TenantScope, key: ValidKey, options: ReadOptions): Promise<CacheEntry | undefined> {
    const reading = this.#faults.run('get', () => this.inner.get(scope, key, options))
    return options.want === 'stream' ? reading.then((entry) => this.#faults.body('get', entry, this.#clock)) : reading
  }

  override getMany(scope: TenantScope, keys: readonly ValidKey[], options: ReadOptions): Promise<readonly (CacheEntry | undefined)[]> {
    return this.#faults.run('get', () => this.inner.getMany(scope, keys, options))
  }

  override put(scope: TenantScope, key: ValidKey, entry: CacheEntry, options: PutOptions): Promise<boolean> {
    // the late completion of a hanging put must store, also when its caller has gone: that is the fault. A stream goes with its caller
    const { onlyIfAbsent, keepUntil, journal } = options
    const late = isStreamed(entry) ? options : { onlyIfAbsent, keepUntil, journal }
    return this.#faults.run('put', () => this.inner.put(scope, key, this.#faults.body('put', entry, this.#clock), late))
  }

  override delete(scope: TenantScope, keys: readonly ValidKey[], options: OperationOptions): Promise<number | undefined> {
    return this.#faults.run('delete', () => this.inner.delete(scope, keys, options))
  }

  override clear(scope: TenantScope, prefix: string, options: ClearOptions): Promise<number | undefined> {
    return this.#faults.run('clear', () => this.inner.clear(scope, prefix, options))
  }

  override async *list(scope: TenantScope, prefix: string, options: ListOptions): AsyncIterable<StoredEntryInfo> {
    await this.#faults.run('list', () => undefined)
    yield* this.inner.list(scope, prefix, options)
  }
}
