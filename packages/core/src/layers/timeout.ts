import type { CancelTimer, Clock } from '../clock/clock.js'
import { isPromise } from '../contract/awaitable.js'
import type { Awaitable, BackendStats, CacheBackend, Layer, ListOptions, OperationOptions, PutOptions, ReadOptions, StoredEntryInfo } from '../contract/backend.js'
import type { CacheEntry } from '../contract/entry.js'
import type { TenantScope } from '../contract/scope.js'
import { CacheError } from '../errors/cache-error.js'
import type { ValidKey } from '../keys/key.js'
import { WrappedBackend } from './wrapped-backend.js'

export interface TimeoutOptions {
  readonly clock: Clock
  /** How long, in milliseconds, an operation may go without progress. */
  readonly budgetMs: number
}

/**
 * Leaves an operation that makes no progress for its budget: the caller gets a `timeout` error, the backend's signal is
 * aborted, and `error.settled` tells when the operation has really ended. Answers without a promise pass untouched.
 */
export function timeout(options: TimeoutOptions): Layer {
  return (inner) => new TimedBackend(inner, options)
}

class TimedBackend extends WrappedBackend {
  readonly #options: TimeoutOptions

  constructor(inner: CacheBackend, options: TimeoutOptions) {
    super(inner)
    this.#options = options
  }

  override get(scope: TenantScope, key: ValidKey, options: ReadOptions): Awaitable<CacheEntry | undefined> {
    const watch = new Watch(this.inner.name, 'get', this.#options, options)
    return watch.over(this.inner.get(scope, key, watch.extend(options)))
  }

  override put(scope: TenantScope, key: ValidKey, entry: CacheEntry, options: PutOptions): Awaitable<boolean> {
    const watch = new Watch(this.inner.name, 'put', this.#options, options)
    return watch.over(this.inner.put(scope, key, entry, watch.extend(options)))
  }

  override delete(scope: TenantScope, keys: readonly ValidKey[], options: OperationOptions): Awaitable<number | undefined> {
    const watch = new Watch(this.inner.name, 'delete', this.#options, options)
    return watch.over(this.inner.delete(scope, keys, watch.extend(options)))
  }

  override clear(scope: TenantScope, prefix: string, options: OperationOptions): Awaitable<number | undefined> {
    const watch = new Watch(this.inner.name, 'clear', this.#options, options)
    return watch.over(this.inner.clear(scope, prefix, watch.extend(options)))
  }

  /** Each step of a listing has the budget to itself: what the consumer does in between is not the backend's time. */
  override async *list(scope: TenantScope, prefix: string, options: ListOptions): AsyncIterable<StoredEntryInfo> {
    const iterator = this.inner.list(scope, prefix, options)[Symbol.asyncIterator]()
    let done = false
    try {
      for (;;) {
        const step = await new Watch(this.inner.name, 'list', this.#options, options).over(iterator.next())
        if (step.done === true) {
          done = true
          return
        }
        yield step.value
      }
    } finally {
      // a hanging iterator's return() would wait behind its hanging next(), so nobody waits for it
      if (!done) void iterator.return?.()?.then(undefined, () => undefined)
    }
  }

  override stats(scope?: TenantScope): Awaitable<BackendStats> {
    return new Watch(this.inner.name, 'stats', this.#options, {}).over(this.inner.stats(scope))
  }
}

/** One operation under a budget. Its signal is made only when somebody asks for it. */
class Watch {
  readonly #backend: string
  readonly #operation: string
  readonly #clock: Clock
  readonly #budgetMs: number
  readonly #outer: AbortSignal | undefined
  #controller: AbortController | undefined
  #combined: AbortSignal | undefined
  #expired: CacheError | undefined
  #progressAt = 0

  constructor(backend: string, operation: string, layer: TimeoutOptions, options: OperationOptions) {
    this.#backend = backend
    this.#operation = operation
    this.#clock = layer.clock
    this.#budgetMs = Math.min(layer.budgetMs, options.budgetMs ?? layer.budgetMs)
    this.#outer = options.signal
  }

  extend<O extends OperationOptions>(options: O): O & OperationOptions {
    // eslint-disable-next-line @typescript-eslint/no-this-alias -- the getter below needs both
    const watch = this
    return {
      ...options,
      get signal() {
        return watch.#signal()
      },
      progress: () => {
        watch.#progressAt = watch.#clock.monotonic()
        options.progress?.()
      },
    }
  }

  over<T>(result: Awaitable<T>): Awaitable<T> {
    return isPromise(result) ? this.#race(result) : result
  }

  #race<T>(result: Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#progressAt = this.#clock.monotonic()
      let cancel: CancelTimer = () => undefined
      let ended = false
      const end = <A>(settle: (argument: A) => void) => (argument: A): void => {
        ended = true
        cancel()
        settle(argument)
      }
      const expire = (): void => {
        const left = this.#progressAt + this.#budgetMs - this.#clock.monotonic()
        if (left > 0) {
          cancel = this.#clock.schedule(left, expire)
          return
        }
        this.#clock.afterPendingIo(() => {
          if (ended) return
          this.#expired = this.#error(result)
          this.#controller?.abort(this.#expired)
          reject(this.#expired)
        })
      }
      cancel = this.#clock.schedule(this.#budgetMs, expire)
      result.then(end(resolve), end(reject))
    })
  }

  #signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController()
      if (this.#expired !== undefined) this.#controller.abort(this.#expired) // asked for late: it says so at once
      this.#combined = this.#outer === undefined ? this.#controller.signal : AbortSignal.any([this.#outer, this.#controller.signal])
    }
    return this.#combined as AbortSignal
  }

  #error(result: Promise<unknown>): CacheError {
    return new CacheError('timeout', `${this.#operation} on ${this.#backend} made no progress for ${Math.round(this.#budgetMs)} ms and was left`, {
      operation: this.#operation,
      backend: this.#backend,
      settled: result.then(() => undefined, () => undefined),
    })
  }
}
