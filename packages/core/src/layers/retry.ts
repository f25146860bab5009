import type { Clock } from '../clock/clock.js'
import { isPromise } from '../contract/awaitable.js'
import type { Awaitable, CacheBackend, Layer, OperationOptions, PutOptions, ReadOptions } from '../contract/backend.js'
import type { CacheEntry } from '../contract/entry.js'
import type { TenantScope } from '../contract/scope.js'
import { isCacheError } from '../errors/cache-error.js'
import type { ValidKey } from '../keys/key.js'
import { WrappedBackend } from './wrapped-backend.js'

export interface RetryOptions {
  readonly clock: Clock
  /** Attempts in all, the first included. */
  readonly attempts: number
  /** The longest wait before the second attempt, in milliseconds; it doubles with each further one. */
  readonly baseDelayMs: number
  /** For tests; `Math.random` otherwise. */
  readonly random?: (() => number) | undefined
}

/**
 * Tries again what the adapter called `retryable`, after a random wait of up to `baseDelayMs * 2^n` ("full jitter", M.
 * Brooker, AWS Architecture Blog, 2015). It belongs inside `timeout`, which bounds all attempts together: outside of
 * it, a hanging store would be given its budget several times.
 */
export function retry(options: RetryOptions): Layer {
  return (inner) => new RetryingBackend(inner, options)
}

class RetryingBackend extends WrappedBackend {
  readonly #options: RetryOptions

  constructor(inner: CacheBackend, options: RetryOptions) {
    super(inner)
    this.#options = options
  }

  override get(scope: TenantScope, key: ValidKey, options: ReadOptions): Awaitable<CacheEntry | undefined> {
    return this.#attempt(() => this.inner.get(scope, key, options), options)
  }

  override put(scope: TenantScope, key: ValidKey, entry: CacheEntry, options: PutOptions): Awaitable<boolean> {
    return this.#attempt(() => this.inner.put(scope, key, entry, options), options)
  }

  override delete(scope: TenantScope, keys: readonly ValidKey[], options: OperationOptions): Awaitable<number | undefined> {
    return this.#attempt(() => this.inner.delete(scope, keys, options), options)
  }

  override clear(scope: TenantScope, prefix: string, options: OperationOptions): Awaitable<number | undefined> {
    return this.#attempt(() => this.inner.clear(scope, prefix, options), options)
  }

  #attempt<T>(operation: () => Awaitable<T>, options: OperationOptions): Awaitable<T> {
    const result = operation()
    return isPromise(result) ? this.#persist(result, operation, options) : result
  }

  async #persist<T>(first: Promise<T>, operation: () => Awaitable<T>, options: OperationOptions): Promise<T> {
    const { attempts, baseDelayMs, random = Math.random } = this.#options
    for (let attempt = 1; ; attempt++) {
      try {
        return await (attempt === 1 ? first : operation())
      } catch (error) {
        if (!isCacheError(error) || !error.retryable || attempt >= attempts) throw error
        if (!isAborted(options)) await this.#pause(random() * baseDelayMs * 2 ** (attempt - 1))
        if (isAborted(options)) throw error
      }
    }
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#options.clock.schedule(ms, resolve)
    })
  }
}

function isAborted(options: OperationOptions): boolean {
  return options.signal?.aborted === true
}
