import {
  asCacheError,
  CacheError,
  Invalidation,
  isPromise,
  isStreamed,
  type Awaitable,
  type CacheBackend,
  type CacheEntry,
  type Clock,
  type JournalSlot,
  type LogMessage,
  type PutOptions,
  type RecordLog,
  type TenantScope,
  type ValidKey,
} from '@thermocline/backend'
import type { Fence, FencedKey } from '../flights/fence.js'
import type { LinePlace } from '../flights/line-place.js'
import { TransientMap } from '../flights/transient-map.js'
import { landing } from '../layers/run.js'
import type { AskedTime } from './asked-time.js'
import { OwedInvalidations } from './owed-invalidations.js'
import {
  inDoubt,
  isUnder,
  queueId,
  outcomesOf,
  underOwedClear,
  unrecordedDoubt,
  waitedTooLong,
  type WriteQueue,
  type RunningClear,
  type Ticket,
  type Work,
} from './write-queue.js'
import type { TierAgreement } from './agreement.js'
import { FENCED, NotApplied } from './outcome.js'
import { OwedSchedule } from './owed-schedule.js'
import { commonPrefix, Prefixes } from './prefixes.js'
import type { Fallback } from './fallback.js'

/*
 * WriteQueues: the order of writes and deletes in one tier.
 *
 * Problem. "Invalidation wins" needs more than fences. A rename issued before an unlink may be carried out after it
 * (seen in 7 of 300 runs), and an operation that was left after its budget may land seconds later, on top of whatever
 * came after.
 *
 * Approach. Each (tenant, key) with something going on has a queue. The queue starts one operation at a time, in the
 * order of the calls, and checks the operation's fence at that moment. An operation that outlives its budget keeps the
 * queue: the key is *in doubt*, nothing else is started on it and the tier is not asked for it, until the operation has
 * really ended in the backend. A set or delete that cannot be carried out is *owed*: the key is to be deleted, and
 * until that is confirmed the tier is not asked for it. OwedInvalidations are paid when the doubt ends, when the breaker closes, and
 * with backoff. A clear waits for what was called before it under its prefix; what is called later
 * waits for the clear; and it is owed as one if it fails.
 *
 * An invalidation of several tiers takes its place in all of them when it is called, and is carried out slowest tier
 * first: `after` holds its place. That wait is not the tier's, so the budget begins when it is over.
 *
 * Rejected: a version number per key kept for ever (memory grows with the keys ever touched), and re-sending the
 * latest value when the doubt ends (the process may not hold it any more; a delete is always right for a cache).
 */

export interface WriteQueuesOptions {
  readonly tier: string
  readonly backend: CacheBackend
  readonly clock: Clock
  /** How budgets are counted. */
  readonly time: AskedTime
  readonly budgetMs: number
  /** Larger payloads are not put. */
  readonly maxPayloadBytes: number
  /** The most that may be owed; beyond, an invalidation that cannot be applied is refused. */
  readonly maxOwed: number
  readonly log: RecordLog | undefined
  /** What stands in while the tier cannot be read: it is told of everything at once, in the order of the calls. */
  readonly fallback: Fallback | undefined
  /** Whether the tier is this process's own, where processes agree over another one. */
  readonly isOwn?: boolean | undefined
  /** For a tier over which processes agree. */
  readonly agreement: TierAgreement | undefined
  /** Told of failures in work nobody waits for. */
  readonly report: (error: CacheError) => void
  /** Told when {@link WriteQueues.anySuspect} changes. */
  readonly suspectsChanged: () => void
  /** Told when the tier owes less, or a key is in doubt no longer. */
  readonly progressed: () => void
}

export interface StoreOptions {
  readonly onlyIfAbsent: boolean
  readonly keepUntil: number
  readonly journal?: JournalSlot | undefined
  /** For a fill of a tier over which processes agree: without it nothing is stored there. */
  readonly lease?: LinePlace | undefined
  readonly belief?: PutOptions['belief']
  /** For a set: what others are told with it, in a tier over which processes agree. */
  readonly announces?: LogMessage | undefined
}

/** What goes before a commit and may take long, such as an upload. */
export interface Preparation {
  /** Resolves when the commit can be carried out. */
  readonly ready: Promise<unknown>
  /** Called when something newer takes its place before that. */
  readonly superseded: () => void
}

const NO_TIMER = (): void => undefined
const DELETIONS_AT_ONCE = 64
/** With less of its budget left, an operation that had to wait is not started: it would blame a healthy store. */
const LEAST_PART_OF_BUDGET = 0.25
/** With more of it left it is the whole: a timeout then says something about the store. */
const WHOLE_PART_OF_BUDGET = 0.95

export class WriteQueues {
  readonly #options: WriteQueuesOptions
  readonly #backend: CacheBackend
  readonly #isSynchronous: boolean
  readonly #queues = new TransientMap<string, WriteQueue>()
  readonly #owed: OwedInvalidations
  readonly #clears: RunningClear[] = []
  readonly #schedule: OwedSchedule
  #doubts = 0
  #closed = false

  constructor(options: WriteQueuesOptions) {
    this.#options = options
    this.#backend = options.backend
    this.#isSynchronous = options.backend.capabilities.synchronous
    this.#owed = new OwedInvalidations({ tier: options.tier, max: options.maxOwed, log: options.log, clock: options.clock, landsWithinMs: options.backend.capabilities.landsWithinMs ?? 0, onChange: options.suspectsChanged, onPaid: options.progressed, report: options.report })
    this.#schedule = new OwedSchedule({ clock: options.clock, isOwed: () => this.#owed.size > 0, pay: () => this.#payAll() })
    this.#schedule.schedule()
  }

  /** Whether any key of the tier may not be asked for. */
  get anySuspect(): boolean {
    return this.#doubts > 0 || this.#owed.size > 0
  }

  /** Whether processes agree over the tier: what is stored for a compute or a promotion needs a lease. */
  get isAgreed(): boolean {
    return this.#agreement !== undefined
  }

  get #agreement(): TierAgreement | undefined {
    const { agreement } = this.#options
    return agreement?.isOn === true ? agreement : undefined
  }

  /** How many invalidations wait to be carried out. */
  get owed(): number {
    return this.#owed.size
  }

  /** Keys with an operation that outlived its budget. */
  get doubts(): number {
    return this.#doubts
  }

  /** Why the tier may not be asked for the key: its removal is owed, or an operation on it may still land. `undefined`: it may. */
  suspicionOf(scope: TenantScope, key: ValidKey): 'owed' | 'in-doubt' | undefined {
    if (!this.anySuspect) return undefined
    if (this.#owed.covers(scope, key)) return 'owed'
    return this.#isInDoubt(scope, key) ? 'in-doubt' : undefined
  }

  /**
   * Stores for a `set`, when `after` has resolved: the entry's bytes may be made until then. Where that fails or is refused, the
   * key is deleted instead.
   */
  set(scope: TenantScope, key: ValidKey, entry: CacheEntry, options: StoreOptions, after?: Promise<unknown>): Awaitable<boolean | NotApplied> {
    this.#options.fallback?.store(scope, key, entry, options.keepUntil)
    return this.#submit(scope, key, setting((budgetMs) => this.#orDelete(scope, key, (left) => this.#put(scope, key, entry, options, left), budgetMs)), after)
  }

  /** Stores for a promotion or a compute, when `after` has resolved: where that fails, nothing happens. */
  fill(scope: TenantScope, key: ValidKey, entry: CacheEntry, options: StoreOptions, fence: Fence | FencedKey, after?: Promise<unknown>): Awaitable<boolean | NotApplied> {
    if (this.isAgreed) return options.lease === undefined ? FENCED : this.#fillLeased(scope, key, entry, options, options.lease, fence, after)
    if (after !== undefined) return this.#submit(scope, key, this.#filling(scope, key, fence, (budgetMs) => this.#put(scope, key, entry, options, budgetMs)), after)
    // each promotion into memory comes here: at best the work is done before it is described
    const begun = this.#isAtOnce ? (this.#isFenced(fence) ? FENCED : this.#putNow(scope, key, entry, options)) : undefined
    if (begun !== undefined && !isPromise(begun)) return begun
    return this.#submit(scope, key, this.#filling(scope, key, fence, (budgetMs) => begun ?? this.#put(scope, key, entry, options, budgetMs)))
  }

  /** In a tier over which processes agree: the place in the line is held until it is known what has become of it. */
  async #fillLeased(scope: TenantScope, key: ValidKey, entry: CacheEntry, options: StoreOptions, lease: LinePlace, fence: Fence | FencedKey, after?: Promise<unknown>): Promise<boolean | NotApplied> {
    lease.hold(fence)
    try {
      return await this.#submit(scope, key, this.#filling(scope, key, fence, (budgetMs) => this.#put(scope, key, entry, options, budgetMs)), after)
    } finally {
      lease.release()
    }
  }

  /**
   * Lets a streamed put that has been given all but its end be carried out in its turn, for a `set`: `commit` releases the end and is how the
   * put went. Where that fails or is refused, the key is deleted instead.
   */
  commit(scope: TenantScope, key: ValidKey, commit: () => Promise<boolean>, preparation?: Preparation): Awaitable<boolean | NotApplied> {
    this.#options.fallback?.delete(scope, key)
    return this.#submit(scope, key, { ...setting(() => this.#deleteUnlessStored(scope, key, commit(), undefined)), superseded: preparation?.superseded }, preparation?.ready)
  }

  /** The same for a promotion or a compute: where that fails, nothing happens. */
  commitFill(scope: TenantScope, key: ValidKey, commit: () => Promise<boolean>, fence: Fence, preparation?: Preparation): Awaitable<boolean | NotApplied> {
    return this.#submit(scope, key, { ...this.#filling(scope, key, fence, commit), superseded: preparation?.superseded }, preparation?.ready)
  }

  /** Removes what the invalidation covers, when `after` has resolved. */
  invalidate(scope: TenantScope, { key, prefix = '' }: Invalidation, after?: Promise<unknown>): Awaitable<number | undefined | NotApplied> {
    return key === undefined ? this.clear(scope, prefix, after) : this.delete(scope, key, after)
  }

  /** Deletes the key, when `after` has resolved. */
  delete(scope: TenantScope, key: ValidKey, after?: Promise<unknown>): Awaitable<number | undefined | NotApplied> {
    this.#options.fallback?.delete(scope, key)
    return this.#submit(scope, key, { operation: 'delete', invalidates: true, pays: 'until-called', run: this.#deletion(scope, key) }, after)
  }

  /** Deletes the key unless an invalidation has come since the fence was opened; a failure means nothing. */
  deleteUnlessBroken(scope: TenantScope, key: ValidKey, fence: Fence): Awaitable<number | undefined | NotApplied> {
    if (!fence.broken) this.#options.fallback?.delete(scope, key)
    return this.#submit(scope, key, { operation: 'delete', invalidates: false, pays: 'nothing', isDropped: () => fence.broken, run: (budgetMs) => this.#backend.delete(scope, [key], { budgetMs }) })
  }

  /** Removes everything under the prefix, after what was called before and `after`, and before what is called later. */
  async clear(scope: TenantScope, prefix: string, after?: Promise<unknown>): Promise<number | undefined | NotApplied> {
    this.#options.fallback?.clear(scope, prefix)
    const outcome = await this.#clearNow(scope, Prefixes.of([prefix]), true, after)
    if (!(outcome instanceof CacheError)) return outcome
    const recorded = await this.#owed.oweClear(scope, prefix)
    this.#schedule.schedule()
    return new NotApplied(recorded ? 'safe' : 'lost', outcome)
  }

  /**
   * Removes what begins with any of the prefixes, with one pass of the store; or says why not.
   *
   * @param isCalled whether it is called now; else it was before and is owed
   */
  async #clearNow(scope: TenantScope, prefixes: Prefixes, isCalled: boolean, after?: Promise<unknown>): Promise<number | undefined | CacheError> {
    const calledAt = this.#owed.now
    let end = (): void => undefined
    const clear: RunningClear = { scope, prefixes, ended: new Promise((resolve) => (end = resolve)) }
    const under = [...this.#queues.values()].filter((queue) => isUnder(queue, clear))
    for (const queue of under) {
      this.#supersede(queue, clear.ended, isCalled ? undefined : underOwedClear(this.#backend.name, 'set', queue))
      this.#startNext(queue)
    }
    const before = under.flatMap(outcomesOf)
    this.#clears.push(clear)
    try {
      await after
      const budgetMs = await this.#waitFor(before)
      // what may still land after the clear is deleted when it has
      for (const queue of under) if (queue.inDoubt && !(await this.#owe(queue, true))) throw unrecordedDoubt(this.#backend.name, queue)
      const only = prefixes.size === 1 ? undefined : (key: string) => prefixes.covers(key)
      const removed = await this.#toldOf(scope, prefixes, async () => this.#backend.clear(scope, commonPrefix([...prefixes.keys()]), { budgetMs, only }))
      this.#owed.payClears(scope, prefixes, calledAt, (key) => !this.#isInDoubt(scope, key))
      return removed
    } catch (thrown) {
      return asCacheError(thrown, { operation: 'clear', backend: this.#backend.name, tenant: scope.tenant })
    } finally {
      this.#clears.splice(this.#clears.indexOf(clear), 1)
      end()
    }
  }

  /** Tells others that a removal begins, and when it has ended, however that was. */
  async #toldOf<T>(scope: TenantScope, prefixes: Prefixes, remove: () => Promise<T>): Promise<T> {
    const end = await this.#agreement?.removing(scope, [...prefixes.keys()])
    try {
      const removed = await remove()
      await end?.()
      return removed
    } catch (error) {
      await end?.().catch(() => undefined)
      throw error
    }
  }

  /** Whether anything that the invalidation covers is owed or in doubt. */
  owes(scope: TenantScope, invalidation: Invalidation): boolean {
    if (!this.anySuspect) return false
    if (this.#owed.concerns(scope, invalidation)) return true
    if (invalidation.key !== undefined) return this.#isInDoubt(scope, invalidation.key)
    return [...this.#queues.values()].some((queue) => queue.inDoubt && queue.scope.tenant === scope.tenant && invalidation.covers(queue.key))
  }

  /** Pays what is owed as soon as possible: the tier has recovered, or somebody waits for it. */
  payNow(): void {
    this.#schedule.now()
  }

  /** Tries once to pay everything that is owed. */
  async payOnce(): Promise<void> {
    if (this.#owed.size > 0) await this.#payAll()
  }

  /** Resolves when everything called so far has its outcome. */
  async drained(): Promise<void> {
    await Promise.all([...this.#queues.values()].flatMap(outcomesOf))
  }

  /** Tells the next process of what has been begun and has not ended. */
  async leaveOpen(): Promise<void> {
    const open = [...this.#queues.values()].filter(({ inDoubt, running }) => inDoubt || running !== undefined)
    await Promise.all(open.map(({ scope, key }) => this.#owed.leaveOpen(scope, key)))
  }

  /** Ends payments; what is still owed stays in the record log, if there is one. */
  close(): void {
    this.#closed = true
    this.#schedule.close()
  }

  /** A synchronous tier with nothing pending: no queue, no promise. */
  get #isAtOnce(): boolean {
    return this.#isSynchronous && this.#queues.size === 0 && this.#clears.length === 0 && this.#owed.size === 0
  }

  #putNow(scope: TenantScope, key: ValidKey, entry: CacheEntry, options: StoreOptions): Awaitable<boolean> {
    try {
      return this.#backend.put(scope, key, entry, options)
    } catch (thrown) {
      return Promise.reject(thrown)
    }
  }

  #put(scope: TenantScope, key: ValidKey, entry: CacheEntry, options: StoreOptions, budgetMs: number | undefined): Awaitable<boolean> {
    const bytes = isStreamed(entry) ? entry.payload.byteLength : entry.encoded?.bytes.byteLength
    if ((bytes ?? 0) > this.#options.maxPayloadBytes) return false // known only now where it is packed first
    if (bytes === undefined && !isStreamed(entry) && this.#backend.capabilities.keeps === 'bytes') return false // it could not be packed
    const { onlyIfAbsent, keepUntil, journal, lease, announces, belief } = options
    // what belongs to the coordination of this store is nothing for another one; a disk of the process's own notes what was told with an entry
    const told = this.isAgreed || this.#backend.capabilities.shared !== true ? announces : undefined
    const put = (): Awaitable<boolean> => this.#backend.put(scope, key, entry, { onlyIfAbsent, keepUntil, journal, lease: this.isAgreed ? lease : undefined, announces: told, belief, budgetMs })
    return this.telling(scope, key, announces, put)
  }

  #isFenced(fence: Fence | FencedKey): boolean {
    return fence.broken || (fence.isUnheard && this.#options.isOwn === true)
  }

  #filling(scope: TenantScope, key: ValidKey, fence: Fence | FencedKey, run: Work<boolean>['run']): Work<boolean> {
    return { operation: 'fill', invalidates: false, pays: 'nothing', isDropped: () => this.#isFenced(fence) || this.#owed.owesKey(scope, key), run }
  }

  #submit<T>(scope: TenantScope, key: ValidKey, work: Work<T>, after?: Promise<unknown>): Awaitable<T | NotApplied> {
    if (after !== undefined || !this.#isAtOnce) return this.#enqueue(scope, key, work, after)
    if (work.isDropped?.() === true) return FENCED
    let result: Awaitable<T>
    try {
      result = work.run(undefined)
    } catch (thrown) {
      result = Promise.reject(thrown)
    }
    if (!isPromise(result)) return result
    const begun = result
    return this.#enqueue(scope, key, { ...work, run: () => begun })
  }

  #enqueue<T>(scope: TenantScope, key: ValidKey, work: Work<T>, after?: Promise<unknown>): Promise<T | NotApplied> {
    let settle!: (outcome: T | NotApplied) => void // set by the constructor below
    const outcome = new Promise<T | NotApplied>((resolve) => (settle = resolve))
    const ticket: Ticket = { work, calledAt: this.#owed.now, settle: settle as (outcome: unknown) => void, outcome, countsFrom: undefined, cancelTimer: NO_TIMER }
    const queue = this.#queueOf(scope, key)
    if (work.invalidates) this.#supersede(queue, outcome)
    queue.waiting.push(ticket)
    if (this.#clears.length === 0 && after === undefined) {
      this.#admit(queue, ticket)
      return outcome
    }
    const first: Promise<unknown>[] = this.#clears.filter((clear) => isUnder(queue, clear)).map(({ ended }) => ended)
    if (after !== undefined) first.push(after)
    if (first.length === 0) this.#admit(queue, ticket)
    else void Promise.all(first).then(() => this.#admit(queue, ticket))
    return outcome
  }

  /** Nothing in other tiers or clears goes first any more: the ticket's budget begins. */
  #admit(queue: WriteQueue, ticket: Ticket): void {
    const { budgetMs, time } = this.#options
    if (!queue.waiting.includes(ticket)) return // superseded
    ticket.countsFrom = time.now()
    if (queue.inDoubt) return this.#withdraw(queue, ticket, inDoubt(this.#backend.name, ticket.work.operation, queue))
    this.#startNext(queue)
    if (!queue.waiting.includes(ticket)) return
    ticket.cancelTimer = time.schedule(budgetMs, () => {
      if (queue.waiting.includes(ticket)) this.#withdraw(queue, ticket, waitedTooLong(this.#backend.name, ticket.work.operation, queue))
    })
  }

  /** Starts the first ticket unless something runs, is in doubt, or the ticket still has to wait. */
  #startNext(queue: WriteQueue): void {
    if (queue.running !== undefined || queue.inDoubt) return
    const ticket = queue.waiting[0]
    if (ticket === undefined) {
      if (this.#queues.get(queue.id) === queue) this.#queues.delete(queue.id)
      return
    }
    if (ticket.countsFrom === undefined) return
    queue.waiting.shift()
    ticket.cancelTimer()
    this.#run(queue, ticket, this.#options.budgetMs - this.#options.time.since(ticket.countsFrom))
  }

  #run(queue: WriteQueue, ticket: Ticket, leftMs: number): void {
    queue.running = ticket
    const { work } = ticket
    try {
      if (work.isDropped?.() === true) return this.#settle(queue, ticket, FENCED)
      if (this.#owed.coversByClear(queue.scope, queue.key)) {
        return this.#settle(queue, ticket, new NotApplied('safe', work.invalidates ? underOwedClear(this.#backend.name, work.operation, queue) : undefined))
      }
      const { budgetMs } = this.#options
      if (leftMs < budgetMs * LEAST_PART_OF_BUDGET) throw waitedTooLong(this.#backend.name, work.operation, queue)
      const paysUntil = work.pays === 'until-run' ? this.#owed.now : ticket.calledAt
      const applied = work.run(leftMs < budgetMs * WHOLE_PART_OF_BUDGET ? leftMs : undefined)
      if (!isPromise(applied)) return this.#applied(queue, ticket, paysUntil, applied)
      applied.then(
        (value) => this.#applied(queue, ticket, paysUntil, value),
        (thrown: unknown) => void this.#failed(queue, ticket, thrown),
      )
    } catch (thrown) {
      void this.#failed(queue, ticket, thrown)
    }
  }

  #applied(queue: WriteQueue, ticket: Ticket, paysUntil: number, value: unknown): void {
    if (ticket.work.pays !== 'nothing') this.#owed.payKey(queue.scope, queue.key, paysUntil)
    this.#settle(queue, ticket, value)
  }

  async #failed(queue: WriteQueue, ticket: Ticket, thrown: unknown): Promise<void> {
    const error = asCacheError(thrown, { operation: ticket.work.operation, backend: this.#backend.name, tenant: queue.scope.tenant, key: queue.key })
    const refused = this.#refuse(queue, ticket, error)
    const settled = error.settled ?? landing(error, this.#options.clock)
    if (settled !== undefined) return this.#doubt(queue, settled)
    await refused // what is owed is on record before anything else happens on the key
    queue.running = undefined
    this.#startNext(queue)
  }

  #settle(queue: WriteQueue, ticket: Ticket, outcome: unknown): void {
    ticket.settle(outcome)
    queue.running = undefined
    if (queue.waiting.length === 0) this.#startNext(queue)
    else queueMicrotask(() => this.#startNext(queue)) // a long queue of what ends at once must not grow the stack
  }

  /** Takes a ticket out of the queue without having started it. */
  #withdraw(queue: WriteQueue, ticket: Ticket, error: CacheError): void {
    queue.waiting.splice(queue.waiting.indexOf(ticket), 1)
    ticket.cancelTimer()
    void this.#refuse(queue, ticket, error)
    this.#startNext(queue)
  }

  /**
   * Something newer is called: uploads that are not there yet would only be replaced by it. They are answered when it is: until then the tier holds what is older than both.
   *
   * @param failure why they are not stored, where nothing newer was called
   */
  #supersede(queue: WriteQueue, newer: Promise<unknown>, failure?: CacheError): void {
    for (const ticket of queue.waiting.filter(({ countsFrom, work }) => countsFrom === undefined && work.superseded !== undefined)) {
      queue.waiting.splice(queue.waiting.indexOf(ticket), 1)
      ticket.work.superseded?.()
      void newer.then((outcome) => ticket.settle(outcome instanceof NotApplied && outcome.how === 'lost' ? outcome : new NotApplied('safe', failure)))
    }
  }

  /** Tells the caller that its operation was not applied, after recording what that means for the key. */
  async #refuse(queue: WriteQueue, ticket: Ticket, error: CacheError): Promise<void> {
    const mayLand = queue.inDoubt || error.settled !== undefined || error.landsWithinMs !== undefined
    const safe = !ticket.work.invalidates || (await this.#owe(queue, mayLand))
    ticket.settle(new NotApplied(safe ? 'safe' : 'lost', error))
  }

  #doubt(queue: WriteQueue, settled: Promise<unknown>): void {
    queue.inDoubt = true
    this.#doubts++
    this.#options.suspectsChanged()
    for (const ticket of queue.waiting.filter(({ countsFrom }) => countsFrom !== undefined)) {
      this.#withdraw(queue, ticket, inDoubt(this.#backend.name, ticket.work.operation, queue))
    }
    void settled.then(() => {
      queue.inDoubt = false
      queue.running = undefined
      this.#doubts--
      this.#options.suspectsChanged()
      this.#startNext(queue)
      void this.#pay(queue.scope, queue.key)
      this.#options.progressed()
    })
  }

  #deletion(scope: TenantScope, key: ValidKey): Work<number | undefined>['run'] {
    return (budgetMs) => this.#delete(scope, key, budgetMs)
  }

  #delete(scope: TenantScope, key: ValidKey, budgetMs: number | undefined): Awaitable<number | undefined> {
    const announces = this.message(scope, key)
    return this.telling(scope, key, announces, () => this.#backend.delete(scope, [key], { budgetMs, announces }))
  }

  /** What other processes are told with a change of the key, by {@link telling}; `undefined`: they need not be told with it. */
  message(scope: TenantScope, key: ValidKey): LogMessage | undefined {
    return this.#agreement?.announcement(scope, Invalidation.ofKey(key))
  }

  /** Carries out a change with which others are told that message, if any. */
  telling<T>(scope: TenantScope, key: ValidKey, message: LogMessage | undefined, change: () => Awaitable<T>): Awaitable<T> {
    const sent = message && this.#agreement?.telling(scope, Invalidation.ofKey(key), message)
    const changed = change()
    if (sent === undefined) return changed
    if (isPromise(changed)) changed.then(sent, sent)
    else sent()
    return changed
  }

  #orDelete(scope: TenantScope, key: ValidKey, put: (budgetMs: number | undefined) => Awaitable<boolean>, budgetMs: number | undefined): Awaitable<boolean | NotApplied> {
    const { time } = this.#options
    const startedAt = time.now()
    const stored = put(budgetMs)
    return stored === true ? true : this.#deleteUnlessStored(scope, key, stored, () => (budgetMs ?? this.#options.budgetMs) - time.since(startedAt))
  }

  /** @param leftMs what is left of the budget; `undefined`: all of it */
  async #deleteUnlessStored(scope: TenantScope, key: ValidKey, stored: Awaitable<boolean>, leftMs: (() => number) | undefined): Promise<boolean | NotApplied> {
    let failure: CacheError | undefined
    try {
      if (await stored) return true
    } catch (thrown) {
      failure = asCacheError(thrown, { operation: 'set', backend: this.#backend.name, tenant: scope.tenant, key })
      if (failure.settled !== undefined || failure.landsWithinMs !== undefined) throw failure
    }
    const budgetMs = Math.min(this.#options.budgetMs, leftMs?.() ?? Number.POSITIVE_INFINITY)
    if (failure !== undefined && budgetMs < this.#options.budgetMs * LEAST_PART_OF_BUDGET) throw failure
    try {
      await this.#delete(scope, key, Math.max(1, budgetMs))
    } catch (thrown) {
      // the write's own failure tells more than the delete's, unless the delete may still land
      const error = asCacheError(thrown, { operation: 'delete', backend: this.#backend.name, tenant: scope.tenant, key })
      throw error.settled === undefined ? (failure ?? error) : error
    }
    return new NotApplied('safe', failure)
  }

  /** Waits for outcomes within the budget; returns what is left of it, if it is less than the whole. */
  async #waitFor(outcomes: readonly Promise<unknown>[]): Promise<number | undefined> {
    if (outcomes.length === 0) return undefined
    const { time, budgetMs } = this.#options
    const startedAt = time.now()
    let cancel = (): void => undefined
    const late = new Promise<'late'>((resolve) => (cancel = time.schedule(budgetMs * (1 - LEAST_PART_OF_BUDGET), () => resolve('late'))))
    const first = await Promise.race([Promise.all(outcomes), late])
    cancel()
    if (first === 'late') {
      throw new CacheError('timeout', `clear on ${this.#backend.name} waited too long for operations called before it`, { operation: 'clear', backend: this.#backend.name })
    }
    return budgetMs - time.since(startedAt)
  }

  async #owe(queue: WriteQueue, mayLand: boolean): Promise<boolean> {
    const recorded = await this.#owed.oweKey(queue.scope, queue.key, mayLand)
    this.#schedule.schedule()
    return recorded
  }

  async #payAll(): Promise<void> {
    for (const { scope, prefixes } of this.#owed.owedClears()) await this.#payClears(scope, prefixes)
    const keys = this.#owed.owedKeys()
    while (keys.length > 0) await Promise.all(keys.splice(0, DELETIONS_AT_ONCE).map(({ scope, key }) => this.#pay(scope, key)))
  }

  /** Deletes an owed key, unless a set has paid meanwhile. Success pays, failure leaves it owed. */
  async #pay(scope: TenantScope, key: ValidKey): Promise<void> {
    const isDropped = (): boolean => this.#closed || !this.#owed.owesKey(scope, key)
    if (isDropped() || this.#isInDoubt(scope, key)) return
    await this.#enqueue(scope, key, { operation: 'delete', invalidates: false, pays: 'until-run', isDropped, run: this.#deletion(scope, key) })
  }

  async #payClears(scope: TenantScope, prefixes: readonly string[]): Promise<void> {
    if (this.#closed) return
    const outcome = await this.#clearNow(scope, Prefixes.of(prefixes), false)
    if (outcome instanceof CacheError) this.#options.report(outcome)
  }

  #isInDoubt(scope: TenantScope, key: ValidKey): boolean {
    return this.#queues.get(queueId(scope, key))?.inDoubt === true
  }

  #queueOf(scope: TenantScope, key: ValidKey): WriteQueue {
    const id = queueId(scope, key)
    let queue = this.#queues.get(id)
    if (queue === undefined) {
      queue = { id, scope, key, waiting: [], running: undefined, inDoubt: false }
      this.#queues.set(id, queue)
    }
    return queue
  }
}

function setting(run: Work<boolean | NotApplied>['run']): Work<boolean | NotApplied> {
  return { operation: 'set', invalidates: true, pays: 'until-called', run }
}
