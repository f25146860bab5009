import {
  CacheError,
  isCacheError,
  isPromise,
  isStreamed,
  withChunks,
  type Awaitable,
  type CacheEntry,
  type ClearOptions,
  type Clock,
  type JournalSlot,
  type Lease,
  type LogMessage,
  type OperationOptions,
  type PutOptions,
  type ReadOptions,
  type StreamedEntry,
  type TenantScope,
  type ValidKey,
} from '@thermocline/backend'
import type { Deadline, Deadlines } from './deadlines.js'
import type { Gate, Waiting } from './gate.js'
import type { Circuit, Guard, ResilienceParts } from './resilience-parts.js'

export type Operation = 'get' | 'getMany' | 'put' | 'delete' | 'clear' | 'stats'
export type AnyOptions = OperationOptions & Partial<ReadOptions & PutOptions & ClearOptions>

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

/** How long an operation waits for its turn at most, while the store answers others. */
const LONGEST_WAIT_MS = 30_000

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
export class Run<T> implements OperationOptions, Deadline, Waiting {
  readonly operation: Operation
  readonly want: ReadOptions['want'] | undefined
  readonly touch: boolean | undefined
  readonly adopt: boolean | undefined
  readonly onlyIfAbsent: boolean | undefined
  readonly keepUntil: number | undefined
  readonly journal: JournalSlot | undefined
  readonly lease: Lease | undefined
  readonly announces: LogMessage | undefined
  readonly belief: PutOptions['belief']
  readonly only: ClearOptions['only']
  readonly budgetMs: number | undefined
  scope: TenantScope | undefined = undefined
  key: ValidKey | undefined = undefined
  keys: readonly ValidKey[] | undefined = undefined
  prefix: string | undefined = undefined
  entry: CacheEntry | undefined = undefined
  /** Until when something has to happen, by {@link Deadlines.now}. */
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
  /** Where it has a place. */
  #gate: Gate | undefined
  /** Whether it waits for its turn. */
  #isWaiting = false
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
    this.lease = options.lease
    this.announces = options.announces
    this.belief = options.belief
    this.only = options.only
    this.budgetMs = options.budgetMs
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

  /** Begins, or waits for its turn. A stream takes no turn: it may wait for its source as long as it likes. */
  begin(): Awaitable<T> {
    const gate = this.operation === 'stats' || (this.entry !== undefined && isStreamed(this.entry)) ? undefined : this.#host.parts.gates?.[this.#circuit]
    if (gate === undefined) return this.#start()
    if (gate.enter()) {
      this.#gate = gate
      return this.#start()
    }
    const outcome = new Promise<T>(capture)
    this.#resolve = captured.resolve as (value: T) => void
    this.#reject = captured.reject
    if (!gate.wait(this)) this.#leave(this.#notInTime('too many operations wait for the tier already'))
    else if (this.#host.deadlines !== undefined) {
      this.#isWaiting = true
      this.deadlineAt = this.#host.deadlines.after(LONGEST_WAIT_MS)
      this.#host.deadlines.add(this)
    }
    return outcome
  }

  /** It is its turn. */
  admitted(): void {
    this.#gate = this.#host.parts.gates?.[this.#circuit]
    this.#isWaiting = false
    if (this.#reject === undefined) return this.#leaveGate()
    const { guard } = this.#host
    if (guard !== undefined && this.#isRefused(guard)) return this.#leave(guard.refusal(this.#circuit))
    try {
      this.#outer.signal?.throwIfAborted()
      this.#renew()
      this.#host.deadlines?.add(this)
      this.#follow(Promise.resolve(this.#host.attempt(this) as Awaitable<T>))
    } catch (error) {
      if (!isOfCaller(error, this.#outer.signal)) this.#tellFailure(error)
      this.#leave(error)
    }
  }

  #isRefused(guard: Guard): boolean {
    return this.operation === 'delete' || this.operation === 'clear' ? !guard.deletesPass : guard.isOpen(this.#circuit)
  }

  #start(): Awaitable<T> {
    let result: Awaitable<T>
    try {
      result = this.#host.attempt(this) as Awaitable<T>
    } catch (error) {
      this.#leaveGate()
      if (!isOfCaller(error, this.#outer.signal)) this.#tellFailure(error)
      throw error
    }
    if (isPromise(result)) return this.over(result)
    this.#leaveGate()
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
    this.#timeout.clock.afterPendingIo(() => {
      if (this.#isWaiting) return this.#leave(this.#notInTime(`it waited ${LONGEST_WAIT_MS / 1000} s for its turn`))
      if (this.#reject === undefined || this.#isMoving()) return
      const error = this.#timeoutError()
      this.#expired = error
      this.#controller?.abort(error)
      this.#onExpired?.()
      // with less than the whole budget a timeout says nothing about the store
      if (this.budgetMs === undefined) this.#tellFailure(error)
      this.#leave(error)
    })
  }

  /** Whether its answer is on its way, and so has time again. */
  #isMoving(): boolean {
    const deadlines = this.#host.deadlines as Deadlines
    // renewed at the last moment
    let leftMs = this.deadlineAt - deadlines.now()
    if (this.#movedAt !== undefined) leftMs = Math.max(leftMs, this.#movedAt() + this.#limitMs - this.#timeout.clock.monotonic())
    if (leftMs <= 0) return false
    this.deadlineAt = deadlines.after(leftMs)
    deadlines.add(this)
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
        if (isOfCaller(error, this.#outer.signal)) this.#leave(error)
        else if (this.#mayRetry(error)) void this.#again(error)
        else this.#fail(error)
      },
    )
  }

  #fail(error: unknown): void {
    const hurried = this.budgetMs !== undefined && isCacheError(error) && error.code === 'timeout'
    if (!hurried) this.#tellFailure(error)
    this.#leave(error)
  }

  #mayRetry(error: unknown): boolean {
    const { retry } = this.#host.parts
    if (retry === undefined || !isCacheError(error) || !error.retryable) return false
    if (error.landsWithinMs !== undefined) return false // it might be carried out after the next attempt, and after what follows that
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

  /** Tells the caller, who waits, that it has failed. */
  #leave(error: unknown): void {
    const reject = this.#reject as (error: unknown) => void
    this.#settle()
    reject(error)
  }

  /** Nobody waits any more. */
  #settle(): void {
    this.#resolve = undefined
    this.#reject = undefined
    this.#onExpired = undefined
    this.#host.deadlines?.remove(this)
    this.#leaveGate()
  }

  #leaveGate(): void {
    const gate = this.#gate
    if (gate === undefined) return
    this.#gate = undefined
    gate.leave()
  }

  /** Time counts again. */
  #resume(): void {
    this.#awaitsSource = false
    this.#renew()
    this.#host.deadlines?.moved(this)
  }

  #renew(): void {
    const { deadlines } = this.#host
    if (deadlines !== undefined) this.deadlineAt = deadlines.after(this.#limitMs)
  }

  /** To be asked where there are deadlines. */
  get #timeout(): NonNullable<ResilienceParts['timeout']> {
    return this.#host.parts.timeout as NonNullable<ResilienceParts['timeout']>
  }

  get #limitMs(): number {
    const { budgetMs } = this.#timeout
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

  /** Nothing is wrong with the store: there was more to do than it can take. */
  #notInTime(why: string): CacheError {
    return new CacheError('busy', `${this.operation} on ${this.#host.name} was not started: ${why}`, { operation: this.operation, backend: this.#host.name })
  }

  #timeoutError(): CacheError {
    const result = this.#result as Promise<unknown>
    const { clock } = this.#timeout
    return noProgress(this.operation, this.#host.name, this.#limitMs, result.then(() => undefined, (error: unknown) => landing(error, clock)))
  }
}

/** Resolves when what has failed so cannot be carried out any more; `undefined`: it cannot now. */
export function landing(error: unknown, clock: Clock): Promise<void> | undefined {
  const ms = isCacheError(error) ? error.landsWithinMs : undefined
  return ms === undefined ? undefined : new Promise((resolve) => void clock.schedule(ms, resolve, { background: true }))
}

/** @param settled resolves when what was left has ended after all */
export function noProgress(operation: string, backend: string, limitMs: number, settled: Promise<unknown>): CacheError {
  return new CacheError('timeout', `${operation} on ${backend} made no progress for ${Math.round(limitMs)} ms and was left`, { operation, backend, settled })
}
