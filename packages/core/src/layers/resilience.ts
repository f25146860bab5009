import {
  isCacheError,
  isPromise,
  isStreamed,
  Paged,
  pagesOf,
  withChunks,
  WrappedBackend,
  type Awaitable,
  type BackendStats,
  type CacheBackend,
  type CacheEntry,
  type ClearOptions,
  type Layer,
  type ListOptions,
  type OperationOptions,
  type PutOptions,
  type ReadOptions,
  type StoredEntryInfo,
  type TenantScope,
  type ValidKey,
} from '@thermocline/backend'
import { Deadlines } from './deadlines.js'
import type { Guard, ResilienceParts } from './resilience-parts.js'
import { isOfCaller, noProgress, Run, type RunHost } from './run.js'
import { StepsInTime } from './steps-in-time.js'
import { TimeLimit } from './time-limit.js'

/*
 * The three built-in layers in one: circuit breaker around timeout around retry, each of them left out at will.
 *
 * As three wrappers every read made three promises, nine closures and three option objects, more than everything else the
 * manager does for it. Here there is one object for each operation, which is also the options that the backend is given, and
 * one promise. `timeout`, `retry` and `CircuitBreaker.layer` are this with one part.
 */

/** The layer of several parts at once. */
export function resilience(parts: ResilienceParts): Layer {
  return (inner) => new ResilientBackend(inner, parts)
}

class ResilientBackend extends WrappedBackend implements RunHost {
  readonly guard: Guard | undefined
  readonly parts: ResilienceParts
  readonly deadlines: Deadlines | undefined
  /** Then there is nothing to wait for, and no object is made for an operation. */
  readonly #answersAtOnce: boolean

  constructor(inner: CacheBackend, parts: ResilienceParts) {
    super(inner)
    this.#answersAtOnce = inner.capabilities.synchronous
    this.parts = parts
    this.guard = parts.guard
    this.deadlines = parts.timeout === undefined ? undefined : Deadlines.of(parts.timeout.clock)
  }

  override get(scope: TenantScope, key: ValidKey, options: ReadOptions): Awaitable<CacheEntry | undefined> {
    if (this.guard?.isOpen('read') === true) throw this.guard.refusal('read')
    if (this.#answersAtOnce) {
      try {
        const answer = this.inner.get(scope, key, options)
        if (isPromise(answer)) return new Run<CacheEntry | undefined>(this, 'get', options).over(answer)
        this.guard?.succeeded('read')
        return answer
      } catch (error) {
        this.guard?.failed('read', error, 0)
        throw error
      }
    }
    const run = new Run<CacheEntry | undefined>(this, 'get', options)
    run.scope = scope
    run.key = key
    return options.want === 'stream' ? this.#guarded(run.begin(), options.signal) : run.begin()
  }

  /** The layers' effect lasts until the payload's stream is consumed. */
  async #guarded(answer: Awaitable<CacheEntry | undefined>, caller: AbortSignal | undefined): Promise<CacheEntry | undefined> {
    const entry = await answer
    if (entry === undefined || !isStreamed(entry)) return entry
    const { payload } = entry
    const leaving = new AbortController() // a reader who cancels is a caller who leaves
    const cancel = (): void => {
      leaving.abort()
      payload.cancel()
    }
    const signal = caller === undefined ? leaving.signal : AbortSignal.any([caller, leaving.signal])
    return withChunks(entry, () => this.#eachInTime(() => payload.chunks(), 'chunk', { signal }, cancel), cancel)
  }

  override getMany(scope: TenantScope, keys: readonly ValidKey[], options: ReadOptions): Awaitable<readonly (CacheEntry | undefined)[]> {
    if (this.guard?.isOpen('read') === true) throw this.guard.refusal('read')
    const run = new Run<readonly (CacheEntry | undefined)[]>(this, 'getMany', options)
    run.scope = scope
    run.keys = keys
    return run.begin()
  }

  override put(scope: TenantScope, key: ValidKey, entry: CacheEntry, options: PutOptions): Awaitable<boolean> {
    if (this.guard?.isOpen('write') === true) throw this.guard.refusal('write')
    if (this.#answersAtOnce) {
      try {
        const answer = this.inner.put(scope, key, entry, options)
        if (isPromise(answer)) return new Run<boolean>(this, 'put', options).over(answer)
        this.guard?.succeeded('write')
        return answer
      } catch (error) {
        this.guard?.failed('write', error, entry.encoded?.bytes.byteLength ?? 0)
        throw error
      }
    }
    const run = new Run<boolean>(this, 'put', options)
    run.scope = scope
    run.key = key
    run.entry = isStreamed(entry) ? run.pacing(entry) : entry
    return run.begin()
  }

  override delete(scope: TenantScope, keys: readonly ValidKey[], options: OperationOptions): Awaitable<number | undefined> {
    if (this.guard?.deletesPass === false) throw this.guard.refusal('write')
    const run = new Run<number | undefined>(this, 'delete', options)
    run.scope = scope
    run.keys = keys
    return run.begin()
  }

  override clear(scope: TenantScope, prefix: string, options: ClearOptions): Awaitable<number | undefined> {
    if (this.guard?.deletesPass === false) throw this.guard.refusal('write')
    const run = new Run<number | undefined>(this, 'clear', options)
    run.scope = scope
    run.prefix = prefix
    return run.begin()
  }

  override list(scope: TenantScope, prefix: string, options: ListOptions): AsyncIterable<StoredEntryInfo> {
    const begin = (): AsyncIterable<readonly StoredEntryInfo[]> => {
      if (this.guard?.isOpen('read') === true) throw this.guard.refusal('read')
      return pagesOf(this.inner.list(scope, prefix, options))
    }
    return new Paged(() => this.#eachInTime(begin, 'list', options))
  }

  /** The layers' effect on what comes step by step. */
  #eachInTime<T>(begin: () => AsyncIterable<T>, operation: 'list' | 'chunk', options: OperationOptions, abandon?: () => void): AsyncIterable<T> {
    const { guard, deadlines, name } = this
    const { timeout } = this.parts
    const budgetMs = Math.min(timeout?.budgetMs ?? 0, options.budgetMs ?? Number.POSITIVE_INFINITY)
    const limit = timeout && deadlines && new TimeLimit({ deadlines, clock: timeout.clock, budgetMs, late: (settled) => noProgress(operation, name, budgetMs, settled) })
    return new StepsInTime({
      begin,
      limit,
      ended: () => guard?.succeeded('read'),
      failed: (error) => {
        const hurried = options.budgetMs !== undefined && isCacheError(error) && error.code === 'timeout'
        if (!hurried && !isOfCaller(error, options.signal)) guard?.failed('read', error, 0)
      },
      abandon,
    })
  }

  override stats(scope?: TenantScope): Awaitable<BackendStats> {
    const run = new Run<BackendStats>(this, 'stats', NO_OPTIONS)
    run.scope = scope
    return run.begin()
  }

  /** Calls the backend for a run, for the first time or once more. */
  attempt<T>(run: Run<T>): Awaitable<unknown> {
    const { inner } = this
    const scope = run.scope as TenantScope
    switch (run.operation) {
      case 'get':
        return inner.get(scope, run.key as ValidKey, run as ReadOptions)
      case 'getMany':
        return inner.getMany(scope, run.keys as readonly ValidKey[], run as ReadOptions)
      case 'put':
        return inner.put(scope, run.key as ValidKey, run.entry as CacheEntry, run as PutOptions)
      case 'delete':
        return inner.delete(scope, run.keys as readonly ValidKey[], run)
      case 'clear':
        return inner.clear(scope, run.prefix as string, run)
      default:
        return inner.stats(run.scope)
    }
  }
}

const NO_OPTIONS: OperationOptions = {}
