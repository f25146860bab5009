import type { Clock, EpochMs } from '@thermocline/backend'
import { TransientMap } from '../flights/transient-map.js'
import { outsideComputes } from '../flights/waiting.js'

/*
 * Refreshes in the background: a value that is old, or soon will be, is made anew while callers get the old one. Each key is refreshed by one at
 * a time, and only so many keys are at once: what is old together waits in a bounded line. After a failure a key rests, twice as long each
 * time, and what was there goes on being served.
 */

export const DEFAULT_REFRESH_CONCURRENCY = 32
/** Beyond, a refresh is left to a later call. */
const MOST_WAITING = 10_000
/** Keys that rest after a failure; beyond, the oldest is forgotten. */
const MOST_RESTING = 10_000
/** How long a key rests after its first failure, and at most. */
const FIRST_REST_MS = 1000
const LONGEST_REST_MS = 60_000

/** The refresh of one key: it waits for its turn, runs, or rests after a failure. */
export class Refresh {
  /** Until when no other one is begun for the key; `Infinity` while it waits or runs. */
  restsUntil: EpochMs = Number.POSITIVE_INFINITY
  failures = 0
}

/**
 * How one has ended: `refreshed`, with a new value; `failed`; or `needless`: somebody else has made one, or the key is gone.
 */
export type RefreshOutcome = 'refreshed' | 'failed' | 'needless'

/** Who keeps what is known about the refreshes of a tenant's keys. */
export interface RefreshKeeper {
  readonly refreshing: TransientMap<string, Refresh>
}

/** Whose and what it is, and how it is carried out. */
export interface RefreshTask {
  readonly state: RefreshKeeper
  readonly key: string
  /** Never rejects. */
  carryOut(): Promise<RefreshOutcome>
  /** Called when it is not carried out: too many wait, or the cache is closed. */
  givenUp(): void
}

/** Whose it is. Nothing of its call, nor its tenant, is kept for as long as it rests. */
interface Resting {
  readonly keeper: WeakRef<RefreshKeeper>
  readonly key: string
}

export class Refreshes {
  readonly #clock: Clock
  readonly #concurrency: number
  /** What waits for one of those that run to end, in order. */
  readonly #line = new TransientMap<Refresh, () => void>()
  readonly #resting = new TransientMap<Refresh, Resting>()
  #running = 0
  #waiting = 0
  /** Resolves in the next turn of the event loop, when whoever has called has been answered. */
  #turn: Promise<void> | undefined
  #closed = false

  /** @throws TypeError unless `concurrency` is a positive whole number */
  constructor(clock: Clock, concurrency = DEFAULT_REFRESH_CONCURRENCY) {
    if (!(Number.isInteger(concurrency) && concurrency > 0)) throw new TypeError(`refreshConcurrency must be a positive whole number, not ${String(concurrency)}`)
    this.#clock = clock
    this.#concurrency = concurrency
  }

  /** Those that run or wait for their turn. */
  get size(): number {
    return this.#running + this.#waiting
  }

  /**
   * Refreshes the key in its turn, unless it is being refreshed or rests; not before whoever calls has been answered. The task runs in
   * the caller's async context, but as no part of a compute.
   *
   * @returns what is known about the key's refresh; `undefined`: there is none
   */
  request(task: RefreshTask): Refresh | undefined {
    const { state, key } = task
    const known = state.refreshing.get(key)
    if (known !== undefined && this.#clock.recent() < known.restsUntil) return known
    if (this.#closed || this.#waiting >= MOST_WAITING) {
      task.givenUp()
      return undefined
    }
    const refresh = known ?? new Refresh()
    refresh.restsUntil = Number.POSITIVE_INFINITY
    if (known !== undefined) this.#resting.delete(known)
    state.refreshing.set(key, refresh)
    this.#waiting++
    void this.#nextTurn().then(() => this.#inTurn(task, refresh)) // a promise keeps the caller's context: an AsyncResource for each costs ten times as much
    return refresh
  }

  /** Begins nothing more: what waits is given up. */
  close(): void {
    this.#closed = true
    for (const begin of this.#line.values()) begin()
  }

  #nextTurn(): Promise<void> {
    return (this.#turn ??= new Promise((resolve) => {
      setImmediate(() => {
        this.#turn = undefined
        resolve()
      })
    }))
  }

  async #inTurn(task: RefreshTask, refresh: Refresh): Promise<void> {
    if (this.#running >= this.#concurrency) await new Promise<void>((resolve) => this.#line.set(refresh, resolve))
    else this.#running++
    this.#waiting--
    const outcome = this.#closed ? this.#leftOut(task) : await outsideComputes(async () => task.carryOut()).catch(() => 'failed' as const)
    if (outcome === 'failed' && task.state.refreshing.get(task.key) === refresh) this.#rest(task, refresh)
    else this.#forget(refresh, task.state, task.key)
    this.#next()
  }

  #leftOut(task: RefreshTask): RefreshOutcome {
    task.givenUp()
    return 'needless'
  }

  /** The place of one that has ended goes to the next in line. */
  #next(): void {
    for (const [refresh, begin] of this.#line.entries()) {
      this.#line.delete(refresh)
      return begin()
    }
    this.#running--
  }

  #rest({ state, key }: RefreshTask, refresh: Refresh): void {
    const now = this.#clock.now()
    refresh.restsUntil = now + Math.min(FIRST_REST_MS * 2 ** refresh.failures++, LONGEST_REST_MS)
    this.#resting.set(refresh, { keeper: new WeakRef(state), key })
    // those nobody has asked for since, and more than are kept
    for (const [oldest, { keeper, key: its }] of this.#resting.entries()) {
      if (oldest.restsUntil + LONGEST_REST_MS > now && this.#resting.size <= MOST_RESTING) return
      this.#forget(oldest, keeper.deref(), its)
    }
  }

  #forget(refresh: Refresh, state: RefreshKeeper | undefined, key: string): void {
    refresh.restsUntil = Number.NEGATIVE_INFINITY
    this.#resting.delete(refresh)
    if (state?.refreshing.get(key) === refresh) state.refreshing.delete(key)
  }
}
