import type { Clock } from '../clock/clock.js'
import type { Fence } from '../compute/fence.js'
import { isPromise } from '../contract/awaitable.js'
import type { Awaitable, CacheBackend } from '../contract/backend.js'
import type { CacheEntry } from '../contract/entry.js'
import type { RecordLog } from '../contract/records.js'
import type { TenantScope } from '../contract/scope.js'
import { asCacheError, CacheError } from '../errors/cache-error.js'
import type { ValidKey } from '../keys/key.js'
import { Debts } from './debts.js'
import { FENCED, NotApplied } from './outcome.js'

/*
 * Lanes: the order of writes and deletes in one tier.
 *
 * Problem. "Invalidation wins" needs more than fences. A rename issued before an unlink may be carried out after it
 * (seen in 7 of 300 runs), and an operation that was left after its budget may land seconds later, on top of whatever
 * came after.
 *
 * Approach. Each (tenant, key) with something going on has a lane. The lane starts one operation at a time, in the
 * order of the calls, and checks the operation's fence at that moment. An operation that outlives its budget keeps the
 * lane: the key is *in doubt*, nothing else is started on it and the tier is not asked for it, until the operation has
 * really ended in the backend. A set or delete that cannot be carried out becomes a *debt*: the key is to be deleted, and
 * until that is confirmed the tier is not asked for it. Debts are paid when the doubt ends, when the breaker closes, and
 * with backoff. A clear waits for what was called before it under its prefix; what is called
 * later waits for the clear; and it is one debt if it fails.
 *
 * Rejected: a version number per key kept for ever (memory grows with the keys ever touched), and re-sending the
 * latest value when the doubt ends (the process may not hold it any more; a delete is always right for a cache).
 */

export interface LanesOptions {
  readonly tier: string
  readonly backend: CacheBackend
  readonly clock: Clock
  readonly budgetMs: number
  /** The most debts; beyond, an invalidation that cannot be applied is refused. */
  readonly maxDebts: number
  readonly log: RecordLog | undefined
  /** Told of failures in work nobody waits for. */
  readonly report: (error: CacheError) => void
  /** Told when {@link Lanes.anySuspect} changes. */
  readonly suspectsChanged: () => void
}

export interface StoreOptions {
  readonly onlyIfAbsent: boolean
  readonly keepUntil: number
}

/** One step for a lane: what to run, and what its failure means. */
interface Work<T> {
  readonly operation: 'set' | 'fill' | 'delete'
  readonly run: (budgetMs: number | undefined) => Awaitable<T>
  /** Checked at the moment of applying. */
  readonly fence?: Fence | undefined
}

interface Ticket {
  readonly work: Work<unknown>
  /** In the order of debts; see {@link Debts.now}. */
  readonly calledAt: number
  readonly deadlineAt: number
  /** Clears called before it that cover its key: they go first. */
  readonly after: readonly Promise<unknown>[]
  /** Tells the caller; `outcome` has then resolved. */
  readonly settle: (outcome: unknown) => void
  readonly outcome: Promise<unknown>
  cancelTimer: () => void
}

interface Lane {
  readonly id: string
  readonly scope: TenantScope
  readonly key: ValidKey
  readonly queue: Ticket[]
  running: Ticket | undefined
  /** An operation has outlived its budget and may still land. */
  inDoubt: boolean
}

interface RunningClear {
  readonly scope: TenantScope
  readonly prefix: string
  readonly ended: Promise<void>
}

const FIRST_PAYMENT_MS = 1000
const LONGEST_PAYMENT_INTERVAL_MS = 60_000
const PAYMENTS_AT_ONCE = 64

export class Lanes {
  readonly #options: LanesOptions
  readonly #backend: CacheBackend
  readonly #lanes = new Map<string, Lane>()
  readonly #debts: Debts
  readonly #clears: RunningClear[] = []
  #doubts = 0
  #paymentScheduled: (() => void) | undefined
  #paymentInterval = FIRST_PAYMENT_MS
  #closed = false

  constructor(options: LanesOptions) {
    this.#options = options
    this.#backend = options.backend
    this.#debts = new Debts(options.tier, options.maxDebts, options.log, options.suspectsChanged)
    if (this.#debts.size > 0) this.#schedulePayment()
  }

  /** Whether any key of the tier may not be asked for. */
  get anySuspect(): boolean {
    return this.#doubts > 0 || this.#debts.size > 0
  }

  /** How many invalidations wait to be carried out. */
  get debts(): number {
    return this.#debts.size
  }

  /** Keys with an operation that outlived its budget. */
  get doubts(): number {
    return this.#doubts
  }

  /** Whether the tier may be asked for the key: nothing on it is in doubt or owed. */
  mayAsk(scope: TenantScope, key: ValidKey): boolean {
    if (!this.anySuspect) return true
    return !this.#debts.covers(scope, key) && this.#lanes.get(laneId(scope, key))?.inDoubt !== true
  }

  /** Stores for a `set`: where that fails or is refused, the key is deleted instead. */
  set(scope: TenantScope, key: ValidKey, entry: CacheEntry, options: StoreOptions): Awaitable<boolean | NotApplied> {
    return this.#submit(scope, key, { operation: 'set', run: (budgetMs) => this.#putOrDelete(scope, key, entry, options, budgetMs) })
  }

  /** Stores for a promotion or a compute: where that fails, nothing happens. */
  fill(scope: TenantScope, key: ValidKey, entry: CacheEntry, options: StoreOptions, fence: Fence): Awaitable<boolean | NotApplied> {
    return this.#submit(scope, key, {
      operation: 'fill',
      fence,
      run: (budgetMs) => this.#backend.put(scope, key, entry, { onlyIfAbsent: options.onlyIfAbsent, keepUntil: options.keepUntil, budgetMs }),
    })
  }

  /** Deletes the key; with a fence, only if nothing came after the caller began. */
  delete(scope: TenantScope, key: ValidKey, fence?: Fence): Awaitable<number | undefined | NotApplied> {
    return this.#submit(scope, key, { operation: 'delete', fence, run: (budgetMs) => this.#backend.delete(scope, [key], { budgetMs }) })
  }

  /** Removes everything under the prefix, after what was called before and before what is called later. */
  async clear(scope: TenantScope, prefix: string): Promise<number | undefined | NotApplied> {
    const startedAt = this.#options.clock.now()
    const calledAt = this.#debts.now
    let end = (): void => undefined
    const clear: RunningClear = { scope, prefix, ended: new Promise((resolve) => (end = resolve)) }
    const under = [...this.#lanes.values()].filter((lane) => isUnder(lane, clear))
    this.#clears.push(clear)
    try {
      await Promise.all(under.flatMap(outcomesOf))
      // what may still land after the clear is deleted when it has
      for (const lane of under) if (lane.inDoubt) await this.#owe(lane)
      const budgetMs = Math.max(1, this.#options.budgetMs - (this.#options.clock.now() - startedAt))
      const removed = await this.#backend.clear(scope, prefix, { budgetMs })
      this.#debts.payPrefix(scope, prefix, calledAt, (key) => this.#lanes.get(laneId(scope, key))?.inDoubt !== true)
      return removed
    } catch (thrown) {
      const error = asCacheError(thrown, { operation: 'clear', backend: this.#backend.name, tenant: scope.tenant })
      const recorded = await this.#debts.oweClear(scope, prefix)
      this.#schedulePayment()
      return new NotApplied(recorded ? 'safe' : 'lost', error)
    } finally {
      this.#clears.splice(this.#clears.indexOf(clear), 1)
      end()
    }
  }

  /** Pays what is owed as soon as possible: the tier has recovered. */
  payNow(): void {
    this.#paymentInterval = FIRST_PAYMENT_MS
    this.#paymentScheduled?.()
    this.#paymentScheduled = undefined
    void this.#payAll()
  }

  /** Resolves when everything called so far has its outcome. */
  async drained(): Promise<void> {
    await Promise.all([...this.#lanes.values()].flatMap(outcomesOf))
  }

  /** Ends payments; what is still owed stays in the record log, if there is one. */
  close(): void {
    this.#closed = true
    this.#paymentScheduled?.()
  }

  #submit<T>(scope: TenantScope, key: ValidKey, work: Work<T>): Awaitable<T | NotApplied> {
    const clear = this.#lanes.size === 0 && this.#clears.length === 0 && this.#debts.size === 0
    if (!clear || !this.#backend.capabilities.synchronous) return this.#enqueue(scope, key, work)
    // a synchronous tier with nothing pending: no lane, no promise
    if (work.fence?.broken === true) return FENCED
    let result: Awaitable<T>
    try {
      result = work.run(undefined)
    } catch (thrown) {
      result = Promise.reject(thrown as Error)
    }
    if (!isPromise(result)) return result
    const begun = result
    return this.#enqueue(scope, key, { ...work, run: () => begun })
  }

  #enqueue<T>(scope: TenantScope, key: ValidKey, work: Work<T>): Promise<T | NotApplied> {
    let settle!: (outcome: T | NotApplied) => void // set by the constructor below
    const outcome = new Promise<T | NotApplied>((resolve) => (settle = resolve))
    const ticket: Ticket = {
      work,
      calledAt: this.#debts.now,
      deadlineAt: this.#options.clock.now() + this.#options.budgetMs,
      after: this.#clears.filter((clear) => clear.scope.tenant === scope.tenant && key.startsWith(clear.prefix)).map(({ ended }) => ended),
      settle: settle as (outcome: unknown) => void,
      outcome,
      cancelTimer: () => undefined,
    }
    this.#admit(this.#laneOf(scope, key), ticket)
    return outcome
  }

  #admit(lane: Lane, ticket: Ticket): void {
    if (lane.inDoubt) {
      void this.#refuse(lane, ticket, inDoubt(this.#backend.name, ticket.work.operation, lane))
    } else if (lane.running === undefined) {
      void this.#run(lane, ticket)
    } else {
      lane.queue.push(ticket)
      const left = ticket.deadlineAt - this.#options.clock.now()
      ticket.cancelTimer = this.#options.clock.schedule(left, () => {
        const place = lane.queue.indexOf(ticket)
        if (place < 0) return
        lane.queue.splice(place, 1)
        void this.#refuse(lane, ticket, waitedTooLong(this.#backend.name, ticket.work.operation, lane))
      })
    }
  }

  async #run(lane: Lane, ticket: Ticket): Promise<void> {
    lane.running = ticket
    const { work } = ticket
    try {
      if (ticket.after.length > 0) await Promise.all(ticket.after)
      if (work.fence?.broken === true) ticket.settle(FENCED)
      else if (this.#debts.coversByClear(lane.scope, lane.key)) ticket.settle(work.operation === 'fill' ? FENCED : new NotApplied('safe'))
      else if (work.operation === 'fill' && this.#debts.owesKey(lane.scope, lane.key)) ticket.settle(FENCED)
      else {
        const left = Math.max(1, ticket.deadlineAt - this.#options.clock.now())
        const value = await work.run(left < this.#options.budgetMs ? left : undefined)
        // what was owed on the key before, a confirmed set or delete has done
        if (work.operation !== 'fill') this.#debts.payKey(lane.scope, lane.key, ticket.calledAt)
        ticket.settle(value)
      }
    } catch (thrown) {
      const error = asCacheError(thrown, { operation: work.operation, backend: this.#backend.name, tenant: lane.scope.tenant, key: lane.key })
      if (error.settled !== undefined) this.#doubt(lane, error.settled)
      await this.#refuse(lane, ticket, error)
      if (lane.inDoubt) return
    }
    this.#next(lane)
  }

  /** Tells the caller that its operation was not applied, after recording what it means for the key. */
  async #refuse(lane: Lane, ticket: Ticket, error: CacheError): Promise<void> {
    ticket.cancelTimer()
    if (ticket.work.operation === 'fill' || ticket.work.fence !== undefined) return ticket.settle(new NotApplied('safe', error))
    ticket.settle(new NotApplied((await this.#owe(lane)) ? 'safe' : 'lost', error))
  }

  #doubt(lane: Lane, settled: Promise<unknown>): void {
    lane.inDoubt = true
    this.#doubts++
    this.#options.suspectsChanged()
    for (const ticket of lane.queue.splice(0)) void this.#refuse(lane, ticket, inDoubt(this.#backend.name, ticket.work.operation, lane))
    void settled.then(() => {
      lane.inDoubt = false
      this.#doubts--
      this.#options.suspectsChanged()
      this.#next(lane)
      if (this.#debts.owesKey(lane.scope, lane.key)) this.#pay(lane.scope, lane.key)
    })
  }

  #next(lane: Lane): void {
    const ticket = lane.queue.shift()
    if (ticket !== undefined) {
      ticket.cancelTimer()
      void this.#run(lane, ticket)
      return
    }
    lane.running = undefined
    this.#lanes.delete(lane.id)
  }

  #putOrDelete(scope: TenantScope, key: ValidKey, entry: CacheEntry, options: StoreOptions, budgetMs: number | undefined): Awaitable<boolean | NotApplied> {
    const stored = this.#backend.put(scope, key, entry, { onlyIfAbsent: options.onlyIfAbsent, keepUntil: options.keepUntil, budgetMs })
    return stored === true ? true : this.#deleteUnlessStored(scope, key, stored, budgetMs)
  }

  async #deleteUnlessStored(scope: TenantScope, key: ValidKey, stored: Awaitable<boolean>, budgetMs: number | undefined): Promise<boolean | NotApplied> {
    let failure: CacheError | undefined
    try {
      if (await stored) return true
    } catch (thrown) {
      failure = asCacheError(thrown, { operation: 'set', backend: this.#backend.name, tenant: scope.tenant, key })
      if (failure.settled !== undefined) throw failure
    }
    try {
      await this.#backend.delete(scope, [key], { budgetMs })
    } catch (thrown) {
      // the write's own failure tells more than the delete's, unless the delete may still land
      const error = asCacheError(thrown, { operation: 'delete', backend: this.#backend.name, tenant: scope.tenant, key })
      throw error.settled === undefined ? (failure ?? error) : error
    }
    return new NotApplied('safe', failure)
  }

  async #owe(lane: Lane): Promise<boolean> {
    const recorded = await this.#debts.oweKey(lane.scope, lane.key)
    this.#schedulePayment()
    return recorded
  }

  #schedulePayment(): void {
    if (this.#closed || this.#paymentScheduled !== undefined || this.#debts.size === 0) return
    this.#paymentScheduled = this.#options.clock.schedule(
      this.#paymentInterval,
      () => {
        this.#paymentScheduled = undefined
        this.#paymentInterval = Math.min(this.#paymentInterval * 2, LONGEST_PAYMENT_INTERVAL_MS)
        void this.#payAll()
      },
      { background: true },
    )
  }

  async #payAll(): Promise<void> {
    for (const { scope, prefix } of this.#debts.owedClears()) await this.#payClear(scope, prefix)
    const keys = this.#debts.owedKeys()
    while (keys.length > 0) await Promise.all(keys.splice(0, PAYMENTS_AT_ONCE).map(({ scope, key }) => this.#pay(scope, key)))
    if (this.#debts.size === 0) this.#paymentInterval = FIRST_PAYMENT_MS
    this.#schedulePayment()
  }

  async #pay(scope: TenantScope, key: ValidKey): Promise<void> {
    if (this.#closed || this.#lanes.get(laneId(scope, key))?.inDoubt === true) return
    await this.delete(scope, key) // success pays the debt, failure leaves it
  }

  async #payClear(scope: TenantScope, prefix: string): Promise<void> {
    if (this.#closed) return
    const outcome = await this.clear(scope, prefix)
    if (outcome instanceof NotApplied && outcome.error !== undefined && outcome.error.code !== 'circuit-open') this.#options.report(outcome.error)
  }

  #laneOf(scope: TenantScope, key: ValidKey): Lane {
    const id = laneId(scope, key)
    let lane = this.#lanes.get(id)
    if (lane === undefined) {
      lane = { id, scope, key, queue: [], running: undefined, inDoubt: false }
      this.#lanes.set(id, lane)
    }
    return lane
  }
}

/** NUL stands in no tenant and no key, so no two pairs share an id. */
function laneId(scope: TenantScope, key: string): string {
  return `${scope.tenant}\0${key}`
}

/** The outcomes of everything that was called on the lane so far. */
function outcomesOf(lane: Lane): Promise<unknown>[] {
  return [...(lane.running === undefined ? [] : [lane.running]), ...lane.queue].map(({ outcome }) => outcome)
}

function isUnder(lane: Lane, clear: RunningClear): boolean {
  return lane.scope.tenant === clear.scope.tenant && lane.key.startsWith(clear.prefix)
}

function inDoubt(backend: string, operation: string, lane: Lane): CacheError {
  return new CacheError('in-doubt', `${operation} on ${backend} was not started: an earlier operation on the key has outlived its budget and may still land`, {
    operation,
    backend,
    tenant: lane.scope.tenant,
    key: lane.key,
  })
}

function waitedTooLong(backend: string, operation: string, lane: Lane): CacheError {
  return new CacheError('timeout', `${operation} on ${backend} waited for its whole budget behind earlier operations on the key`, {
    operation,
    backend,
    tenant: lane.scope.tenant,
    key: lane.key,
  })
}
