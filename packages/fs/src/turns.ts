import { CacheError, systemClock, type OperationOptions } from '@thermocline/backend'

/*
 * Who is given to the disk, and who waits.
 *
 * Problem. Libuv's thread pool takes everything at once: ten thousand sets at once are ten thousand open files, each of them half done
 * when its budget is over.
 *
 * Approach. An operation has a turn while it has files open for itself; only so many have one at once, the others wait here in the order in which they
 * came. A turn is never waited for within a turn: whoever needs a second file has room for it in its turn already. So nobody waits for
 * somebody who waits.
 *
 * Those that wait are told of progress as long as anything ends: their time is not the disk's. When nothing ends any more, their budgets do.
 *
 * Pieces of streams that were begun and operations that are new go by turns: neither holds up the other.
 */

const MOST_WAITING = 100_000
/** Time budgets are renewed no more often than this, in milliseconds. */
const RENEWED_EVERY_MS = 50

const NO_OPTIONS: OperationOptions = {}

class Waiter {
  before: Waiter | undefined
  after: Waiter | undefined
  readonly options: OperationOptions
  readonly resolve: () => void
  readonly reject: (error: CacheError) => void

  constructor(options: OperationOptions, resolve: () => void, reject: (error: CacheError) => void) {
    this.options = options
    this.resolve = resolve
    this.reject = reject
  }
}

export class Turns {
  readonly #most: number
  readonly #queues = { fresh: new Queue(), begun: new Queue() }
  #taken = 0
  #last: 'fresh' | 'begun' = 'begun'
  #renewedAt = 0

  constructor(most: number) {
    this.#most = most
  }

  /** How many wait. */
  get waiting(): number {
    return this.#queues.fresh.length + this.#queues.begun.length
  }

  /** Takes a turn where one is free; `done` follows. */
  tryTake(): boolean {
    if (this.#taken >= this.#most) return false
    this.#taken++
    return true
  }

  /**
   * Waits for a turn; `done` follows.
   *
   * @param begun whether the operation has had turns before
   * @throws CacheError when the operation is left meanwhile, or when too many wait
   */
  wait(options: OperationOptions, begun = false): Promise<void> {
    const queue = begun ? this.#queues.begun : this.#queues.fresh
    return new Promise((resolve, reject) => {
      if (this.tryTake()) return resolve()
      if (queue.length >= MOST_WAITING) return reject(new CacheError('failed', `not carried out: ${MOST_WAITING} operations wait for the disk already`, { operation: 'wait', backend: 'fs', concerns: 'key' }))
      const waiter = new Waiter(options, resolve, reject)
      queue.add(waiter)
      const left = (): void => {
        if (queue.remove(waiter)) reject(new CacheError('timeout', 'the operation was abandoned before the disk was asked', { operation: 'wait', backend: 'fs', concerns: 'key', cause: options.signal?.reason }))
      }
      if (options.onAbort?.(left) !== true) options.signal?.addEventListener('abort', left, { once: true })
    })
  }

  /** The work, within a turn. It must not wait for another turn. */
  async during<T>(options: OperationOptions, work: () => Promise<T>, begun = false): Promise<T> {
    if (!this.tryTake()) await this.wait(options, begun)
    try {
      return await work()
    } finally {
      this.done()
    }
  }

  /** A turn is over. */
  done(): void {
    const next = this.#next()
    if (next === undefined) {
      this.#taken--
      return
    }
    next.options.progress?.()
    next.resolve()
    if (systemClock.monotonic() - this.#renewedAt >= RENEWED_EVERY_MS) this.renew()
  }

  /** Says to all that wait that their time is not over. */
  renew(): void {
    this.#renewedAt = systemClock.monotonic()
    for (const queue of [this.#queues.fresh, this.#queues.begun]) queue.renew()
  }

  #next(): Waiter | undefined {
    this.#last = this.#last === 'fresh' ? 'begun' : 'fresh'
    const next = this.#queues[this.#last].shift()
    return next ?? this.#queues[this.#last === 'fresh' ? 'begun' : 'fresh'].shift()
  }
}

/** First in, first out, but for those that leave. */
class Queue {
  readonly #head = new Waiter(NO_OPTIONS, () => undefined, () => undefined)
  length = 0

  constructor() {
    this.#head.before = this.#head
    this.#head.after = this.#head
  }

  add(waiter: Waiter): void {
    const last = this.#head.before as Waiter
    waiter.before = last
    waiter.after = this.#head
    last.after = waiter
    this.#head.before = waiter
    this.length++
  }

  shift(): Waiter | undefined {
    if (this.length === 0) return undefined
    const first = this.#head.after as Waiter
    this.remove(first)
    return first
  }

  /** False for one that has had its turn or has left. */
  remove(waiter: Waiter): boolean {
    const { before, after } = waiter
    if (before === undefined || after === undefined) return false
    before.after = after
    after.before = before
    waiter.before = undefined
    waiter.after = undefined
    this.length--
    return true
  }

  renew(): void {
    for (let each = this.#head.after as Waiter; each !== this.#head; each = each.after as Waiter) each.options.progress?.()
  }
}
