import { isPromise } from '../contract/awaitable.js'
import type { Awaitable, OperationOptions, PutOptions, ReadOptions } from '../contract/backend.js'
import type { CacheEntry } from '../contract/entry.js'
import type { JournalSlot } from '../contract/journal.js'
import type { TenantScope } from '../contract/scope.js'
import { isStreamed, withChunks, type StreamedEntry } from '../contract/stream.js'
import { CacheError, isCacheError } from '../errors/cache-error.js'
import type { ValidKey } from '../keys/key.js'
import type { Deadline, Deadlines } from './deadlines.js'
import type { Circuit, Guard, ResilienceParts } from './resilience-parts.js'

export type Operation = 'get' | 'getMany' | 'put' | 'delete' | 'clear' | 'stats'
export type AnyOptions = OperationOptions & Partial<ReadOptions & PutOptions>

/** What carries runs out. */
export interface RunHost {
  readonly name: string
  readonly guard: Guard | undefined
  readonly parts: ResilienceParts
  readonly deadlines: Deadlines | undefined
  /** Calls the backend for a run, for the first time or once more. */
  attempt<T>(run: Run<T>): Awaitable<unknown>
}

/** Attempts, with doubling waits, while a store asks for fewer requests: the budget ends them sooner. */
const THROTTLED_ATTEMPTS = 6

/** The functions of the promise that is being made: a function of its own for each to take them would be one object more a read. */
const captured = { resolve: (_value: never): void => undefined, reject: (_error: unknown): void => undefined }
function capture(resolve: (value: never) => void, reject: (error: unknown) => void): void {
  captured.resolve = resolve
  captured.reject = reject
}

/** What fails after the caller has left says nothing of the store, unless that it did not answer. */
export function isOfCaller(error: unknown, signal: AbortSignal | undefined): boolean {
  return signal?.aborted === true && !(isCacheError(error) && error.code === 'timeout')
}

/** One operation: its arguments, the options the backend is given, and how it is doing. The signal is made when asked for. */
export class Run<T> implements OperationOptions, Deadline {
  readonly operation: Operation
  readonly want: ReadOptions['want'] | undefined
  readonly touch: boolean | undefined
  readonly adopt: boolean | undefined
  readonly onlyIfAbsent: boolean | undefined
  readonly keepUntil: number | undefined
  readonly journal: JournalSlot | undefined
  readonly budgetMs: number | undefined
  scope: TenantScope | undefined
  key: ValidKey | undefined
  keys: readonly ValidKey[] | undefined
  prefix: string | undefined
  entry: CacheEntry | undefined
  /** Until when something has to happen, in monotonic milliseconds. */
  deadlineAt = Number.POSITIVE_INFINITY
  before: Deadline | undefined = undefined
  after: Deadline | undefined = undefined
  isPending = false
  readonly #host: RunHost
  readonly #outer: AnyOptions
  #attempts = 1
  #controller: AbortController | undefined
  #combined: AbortSignal | undefined
  #progress: (() => void) | undefined
  #onExpired: (() => void) | undefined
  #movedAt: (() => number) | undefined
  #expired: CacheError | undefined
  /** Whether the next bytes of a streamed entry are waited for. */
  #awaitsSource = false
  /** What the put was given to read from has failed: not the backend's doing. */
  #sourceFailed = false
  #result: Promise<unknown> | undefined
  #resolve: ((value: T) => void) | undefined
  #reject: ((error: unknown) => void) | undefined

  constructor(host: RunHost, operation: Operation, options: AnyOptions) {
    this.#host = host
    this.operation = operation
    this.want = options.want
    this.touch = options.touch
    this.adopt = options.adopt
    this.onlyIfAbsent = options.onlyIfAbsent
    this.keepUntil = options.keepUntil
    this.journal = options.journal
    this.budgetMs = options.budgetMs
    this.scope = undefined
    this.key = undefined
    this.keys = undefined
    this.prefix = undefined
    this.entry = undefined
    this.#outer = options
  }

  get signal(): AbortSignal | undefined {
    if (this.#host.deadlines === undefined) return this.#outer.signal
    if (this.#controller === undefined) {
      this.#controller = new AbortController()
      if (this.#expired !== undefined) this.#controller.abort(this.#expired) // asked for late: it says so at once
      const outer = this.#outer.signal
      this.#combined = outer === undefined ? this.#controller.signal : AbortSignal.any([outer, this.#controller.signal])
    }
    return this.#combined
  }

  onAbort(listener: () => void): boolean {
    const outer = this.#outer
    const hearsOuter = outer.onAbort === undefined ? outer.signal === undefined : outer.onAbort(listener)
    if (!hearsOuter) return false
    if (this.#expired === undefined) this.#onExpired = listener
    else listener()
    return true
  }

  watch(movedAt: () => number): void {
    this.#movedAt = movedAt
    this.#outer.watch?.(movedAt)
  }

  get progress(): (() => void) | undefined {
    if (this.#host.deadlines === undefined) return this.#outer.progress
    this.#progress ??= () => {
      if (!this.#awaitsSource) this.#renew() // what came before may still be written; no time is counted anyway
      this.#outer.progress?.()
    }
    return this.#progress
  }

  /** The entry with a payload that no time is counted for: waiting for the source is not the backend's time. */
  pacing(entry: StreamedEntry): StreamedEntry {
    return withChunks(entry, () => this.#paced(entry.payload.chunks()))
  }

  async *#paced(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
    const iterator = source[Symbol.asyncIterator]()
    let done = false
    try {
      for (;;) {
        this.deadlineAt = Number.POSITIVE_INFINITY
        this.#awaitsSource = true
        const step = await iterator.next()
        this.#resume()
        if (step.done === true) {
          done = true
          return
        }
        yield step.value
      }
    } catch (error) {
      done = true
      this.#sourceFailed = true
      throw error
    } finally {
      this.#resume()
      if (!done) await iterator.return?.()
    }
  }

  begin(): Awaitable<T> {
    let result: Awaitable<T>
    try {
      result = this.#host.attempt(this) as Awaitable<T>
    } catch (error) {
      if (!isOfCaller(error, this.#outer.signal)) this.#tellFailure(error)
      throw error
    }
    if (isPromise(result)) return this.over(result)
    this.#tellSuccess()
    return result
  }

  /** The promise that the caller gets for the backend's. */
  over(result: Promise<T>): Promise<T> {
    const outcome = new Promise<T>(capture)
    this.#resolve = captured.resolve as (value: T) => void
    this.#reject = captured.reject
    this.#renew()
    this.#host.deadlines?.add(this)
    this.#follow(result)
    return outcome
  }

  /** The deadline is over: unless the result turns out to be there already, the caller waits no longer. */
  expire(): void {
    this.#host.parts.timeout?.clock.afterPendingIo(() => {
      if (this.#reject === undefined || this.#isMoving()) return
      const error = this.#timeoutError()
      this.#expired = error
      this.#controller?.abort(error)
      this.#onExpired?.()
      // with less than the whole budget a timeout says nothing about the store
      if (this.budgetMs === undefined) this.#tellFailure(error)
      this.#settle()?.(error)
    })
  }

  /** Whether its answer is on its way, and so has time again. */
  #isMoving(): boolean {
    const { timeout } = this.#host.parts
    if (timeout === undefined || this.#movedAt === undefined) return false
    const until = this.#movedAt() + this.#limitMs(timeout.budgetMs)
    if (until <= timeout.clock.monotonic()) return false
    this.deadlineAt = until
    this.#host.deadlines?.add(this)
    return true
  }

  #follow(result: Promise<T>): void {
    this.#result = result
    result.then(
      (value) => {
        const resolve = this.#resolve
        if (resolve === undefined) return
        this.#settle()
        this.#tellSuccess()
        resolve(value)
      },
      (error: unknown) => {
        if (this.#reject === undefined) return
        if (isOfCaller(error, this.#outer.signal)) this.#settle()?.(error)
        else if (this.#mayRetry(error)) void this.#again(error)
        else this.#fail(error)
      },
    )
  }

  #fail(error: unknown): void {
    const hurried = this.budgetMs !== undefined && isCacheError(error) && error.code === 'timeout'
    if (!hurried) this.#tellFailure(error)
    this.#settle()?.(error)
  }

  #mayRetry(error: unknown): boolean {
    const { retry } = this.#host.parts
    if (retry === undefined || !isCacheError(error) || !error.retryable) return false
    if (this.entry !== undefined && isStreamed(this.entry)) return false // what it was read from does not come again
    return this.#attempts < (error.code === 'throttled' ? Math.max(retry.attempts, THROTTLED_ATTEMPTS) : retry.attempts)
  }

  /**
   * Once more, after a random wait of up to `baseDelayMs * 2^n` ("full jitter", M. Brooker, AWS Architecture Blog, 2015).
   * All attempts together have one budget.
   */
  async #again(error: unknown): Promise<void> {
    const { clock, baseDelayMs, random = Math.random } = this.#host.parts.retry as NonNullable<ResilienceParts['retry']>
    const waitMs = random() * baseDelayMs * 2 ** (this.#attempts++ - 1)
    await new Promise<void>((resolve) => {
      clock.schedule(waitMs, resolve)
    })
    if (this.#reject === undefined) return // left meanwhile
    if (this.#outer.signal?.aborted === true) return this.#fail(error)
    try {
      this.#follow(Promise.resolve(this.#host.attempt(this) as Awaitable<T>))
    } catch (thrown) {
      this.#fail(thrown)
    }
  }

  /** Nobody waits any more; returns how to tell the caller. */
  #settle(): ((error: unknown) => void) | undefined {
    const reject = this.#reject
    this.#resolve = undefined
    this.#reject = undefined
    this.#onExpired = undefined
    this.#host.deadlines?.remove(this)
    return reject
  }

  /** Time counts again. */
  #resume(): void {
    this.#awaitsSource = false
    this.#renew()
    if (this.#reject !== undefined) this.#host.deadlines?.moved(this)
  }

  #renew(): void {
    const { timeout } = this.#host.parts
    if (timeout !== undefined) this.deadlineAt = timeout.clock.monotonic() + this.#limitMs(timeout.budgetMs)
  }

  #limitMs(budgetMs: number): number {
    return this.budgetMs === undefined ? budgetMs : Math.min(budgetMs, this.budgetMs)
  }

  get #circuit(): Circuit {
    return this.operation === 'put' || this.operation === 'delete' || this.operation === 'clear' ? 'write' : 'read'
  }

  #tellSuccess(): void {
    if (this.operation !== 'stats') this.#host.guard?.succeeded(this.#circuit)
  }

  #tellFailure(error: unknown): void {
    if (this.operation !== 'stats' && !this.#sourceFailed) this.#host.guard?.failed(this.#circuit, error, this.entry?.encoded?.bytes.byteLength ?? 0)
  }

  #timeoutError(): CacheError {
    const result = this.#result as Promise<unknown>
    const limitMs = this.#limitMs(this.#host.parts.timeout?.budgetMs ?? 0)
    return noProgress(this.operation, this.#host.name, limitMs, result.then(() => undefined, () => undefined))
  }
}

/** @param settled resolves when what was left has ended after all */
export function noProgress(operation: string, backend: string, limitMs: number, settled: Promise<unknown>): CacheError {
  return new CacheError('timeout', `${operation} on ${backend} made no progress for ${Math.round(limitMs)} ms and was left`, { operation, backend, settled })
}
