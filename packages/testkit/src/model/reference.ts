import { inspect } from 'node:util'

/** One set, or the compute of one flight: where a value comes from. Values are unique, so a read tells its origin. */
interface Origin {
  readonly id: string
  readonly value: number
  /** When it began, in the order of all beginnings and ends. */
  beganAt: number
  /** Epoch milliseconds; `Infinity`: never, or not known yet. */
  expiresAt: number
  /** From when on it may be over: before {@link expiresAt} where its life began at an instant that only the manager knows. */
  mayExpireAt: number
  /** For a compute: when it ended; a caller who joined it may receive its value at any time before. */
  endedAt: number
  /** For a compute: when the call that started its flight began. */
  readonly flightBeganAt: number | undefined
  /** Whether some tiers were not to have it: then it may be gone sooner. */
  isPartial: boolean
  /** Whether a refresh may have made it, which begins later than the call that it is for. */
  readonly isRefresh: boolean
  /** Whether its compute failed, or was given up: nobody may get it. */
  isDropped: boolean
  /** For a compute: the call that started its flight. */
  readonly starter: Reading | undefined
}

interface Invalidation {
  readonly covers: (id: string) => boolean
  /** The origin it stores itself, for a set. */
  readonly own: Origin | undefined
  readonly calledAt: number
  resolvedAt: number
  /** Whether who takes what is stale may get it all the same. */
  readonly leavesStale: boolean
}

/** A read under way. */
export interface Reading {
  readonly id: string
  readonly calledAt: number
  readonly clockAt: number
  /** For how long after its end a value may still be served. */
  staleMs: number
  /** Whether it joins the flights of others, whose options decide then. */
  readonly joins: boolean
  /** Whether it takes nothing whose flight had ended before its call. */
  readonly makesAnew: boolean
  endedAt: number
}

/** How a read is done: whether it joins the flights of others, for how long after its end it takes a value itself, and whether it has it made anew. */
type How = Pick<Reading, 'joins' | 'staleMs' | 'makesAnew'>

/**
 * A plain model of the promises: no tiers, no lanes, only which values a read may return. It keeps every origin and every
 * invalidation with the order in which they began and ended, and objects to a value that an invalidation should have
 * ended, that has expired, that belongs to somebody else, or that nobody ever made.
 */
export class Reference {
  readonly #origins = new Map<number, Origin>()
  readonly #invalidations: Invalidation[] = []
  /** Those of streamed sets. */
  readonly #floating = new Set<Origin>()
  readonly #running = new Map<string, Origin>()
  readonly #joining = new Set<Reading>()
  readonly problems: string[] = []
  /** Keys that an `expire` has concerned: whether they hold nothing or something stale is not predicted. */
  readonly #expired = new Set<string>()
  #order = 0
  #values = 0

  beginSet(id: string, expiresAt: number, isPartial: boolean): { value: number; resolved: () => void } {
    const origin = this.#origin({ id, expiresAt, isPartial })
    const invalidation = this.#invalidate((other) => other === id, origin)
    return { value: origin.value, resolved: () => this.#resolve(invalidation) }
  }

  /**
   * A set that takes its place in the order, and whose value's life begins, somewhere between its call and its end: on a busy machine much
   * fake time may pass in between.
   */
  beginStreamedSet(id: string, lifeMs: number, now: number, isPartial: boolean): { value: number; resolved: (now: number) => void } {
    const { value, resolved } = this.beginSet(id, Number.POSITIVE_INFINITY, isPartial)
    const origin = this.#origins.get(value) as Origin
    origin.beganAt = Number.POSITIVE_INFINITY
    origin.mayExpireAt = now + lifeMs
    this.#floating.add(origin)
    return {
      value,
      resolved: (endedAt) => {
        resolved()
        origin.beganAt = this.#order
        origin.expiresAt = endedAt + lifeMs
      },
    }
  }

  beginInvalidation(covers: (id: string) => boolean): () => void {
    const invalidation = this.#invalidate(covers, undefined)
    return () => this.#resolve(invalidation)
  }

  /**
   * A compute function was called by the flight that `starter` began; at most one may run for a key since its last
   * invalidation. A flight that an invalidation has detached may begin to compute later than its successor.
   */
  beginCompute(starter: Reading, isPartial: boolean): { value: number; ended: (expiresAt: number) => void; dropped: () => void } {
    const { id } = starter
    const other = this.#running.get(id)
    if (other !== undefined && !this.#invalidations.some(({ covers, resolvedAt }) => covers(id) && resolvedAt > Math.min(other.flightBeganAt ?? 0, starter.calledAt))) {
      this.problems.push(`two computes of ${id} ran at once, and nothing had invalidated the first`)
    }
    const origin = this.#origin({ id, expiresAt: Number.POSITIVE_INFINITY, isPartial, flightBeganAt: starter.calledAt, starter, isRefresh: starter.staleMs > 0 || starter.makesAnew })
    origin.endedAt = Number.POSITIVE_INFINITY
    this.#running.set(id, origin)
    const ended = (expiresAt: number): void => {
      origin.expiresAt = origin.mayExpireAt = expiresAt
      origin.endedAt = ++this.#order
      if (this.#running.get(id) === origin) this.#running.delete(id)
    }
    const dropped = (): void => {
      origin.isDropped = true
      ended(0)
    }
    return { value: origin.value, ended, dropped }
  }

  /** What only memory had is gone. */
  restarted(): void {
    for (const origin of this.#origins.values()) origin.isPartial = true
  }

  beginRead(id: string, clockAt: number, how: How = { joins: false, staleMs: 0, makesAnew: false }): Reading {
    const others = how.joins ? [...this.#joining].filter((other) => other.id === id) : []
    const reading = { id, calledAt: ++this.#order, clockAt, joins: how.joins, makesAnew: how.makesAnew, endedAt: Number.POSITIVE_INFINITY, staleMs: Math.max(how.staleMs, ...others.map(({ staleMs }) => staleMs)) }
    for (const other of others) other.staleMs = Math.max(other.staleMs, how.staleMs)
    if (how.joins) this.#joining.add(reading)
    return reading
  }

  /** From its end on nothing is fresh that began before it: only who takes what is stale may get it. */
  beginExpire(id: string): () => void {
    this.#expired.add(id)
    const invalidation = this.#invalidate((other) => other === id, undefined, true)
    return () => this.#resolve(invalidation)
  }

  /** Judges what a read returned; `undefined` is a miss, which is always allowed here. */
  endRead(reading: Reading, value: unknown, verb: string): void {
    this.#joining.delete(reading)
    reading.endedAt = ++this.#order
    if (value === undefined) return
    const origin = typeof value === 'number' ? this.#origins.get(value) : undefined
    const where = `${verb} of ${reading.id} returned ${inspect(value)}`
    if (origin === undefined) return void this.problems.push(`${where}, which nobody made`)
    if (origin.id !== reading.id) return void this.problems.push(`${where}, which belongs to ${origin.id}`)
    if (origin.isDropped) this.problems.push(`${where}, whose compute failed or was given up`)
    const flewMeanwhile = origin.endedAt > reading.calledAt && origin.endedAt > 0
    // a refresh in the background ends later than the call that it is for: when, is not known
    const { starter } = origin
    const flew = flewMeanwhile || (starter !== undefined && (starter.endedAt > reading.calledAt || starter.staleMs > 0))
    if (reading.makesAnew && !flew) this.problems.push(`${where}, which was made before the call that has it made anew`)
    if (origin.expiresAt + reading.staleMs <= reading.clockAt && !flewMeanwhile) this.problems.push(`${where}, which had expired`)
    const ended = this.#invalidations.find(
      ({ covers, own, calledAt, resolvedAt, leavesStale }) => own !== origin && covers(origin.id) && origin.beganAt < calledAt && resolvedAt < reading.calledAt && !(leavesStale && reading.staleMs > 0),
    )
    if (ended !== undefined) this.problems.push(`${where}, although an invalidation called after it began had resolved before the read was called`)
  }

  /**
   * What a read must return when nothing is running and nothing ever failed; `undefined` when that depends on what the
   * manager did first of two things that were called at once.
   */
  expected(id: string, now: number): { readonly value: number | undefined } | undefined {
    if (this.#expired.has(id) || [...this.#origins.values()].some((origin) => origin.id === id && origin.isRefresh)) return undefined
    const invalidations = this.#invalidations.filter(({ covers }) => covers(id))
    const last = invalidations.at(-1) // in the order of the calls
    // of a streamed set and something else at once, either may have come last
    for (const { own, calledAt, resolvedAt } of invalidations) {
      if (own !== undefined && this.#floating.has(own) && invalidations.some((other) => other.own !== own && other.calledAt < resolvedAt && other.resolvedAt > calledAt)) return undefined
    }
    // a memory that must make room for others evicts for good what is still being streamed into it
    if (last?.own !== undefined && this.#floating.has(last.own) && this.#wereOthersDuring(last)) return undefined
    const stored = last?.own === undefined ? [] : [last.own]
    for (const origin of this.#origins.values()) {
      const { flightBeganAt } = origin
      if (origin.id !== id || flightBeganAt === undefined || (last !== undefined && last.calledAt > flightBeganAt)) continue
      // an invalidation that was under way when the flight began may have ended inside before it told its caller
      if (invalidations.some(({ resolvedAt }) => resolvedAt > flightBeganAt)) return undefined
      stored.push(origin)
    }
    const [only, other] = stored.filter(({ expiresAt }) => now < expiresAt)
    // computed again because the first value was on its way from one tier to another: either is right
    if (other !== undefined || only?.isPartial === true || (only !== undefined && only.mayExpireAt <= now)) return undefined
    return { value: only?.value }
  }

  /** Whether anything else was stored while a set was under way, under whatever key. */
  #wereOthersDuring({ own, calledAt, resolvedAt }: Invalidation): boolean {
    const overlaps = (from: number, to: number): boolean => from < resolvedAt && to > calledAt
    if (this.#invalidations.some((other) => other.own !== own && overlaps(other.calledAt, other.resolvedAt))) return true
    return [...this.#origins.values()].some(({ flightBeganAt, endedAt }) => flightBeganAt !== undefined && overlaps(flightBeganAt, endedAt))
  }

  #origin({ id, expiresAt, isPartial, flightBeganAt, starter, isRefresh = false }: Pick<Origin, 'id' | 'expiresAt' | 'isPartial'> & Partial<Pick<Origin, 'flightBeganAt' | 'starter' | 'isRefresh'>>): Origin {
    const origin = { isRefresh, isDropped: false, starter, id, value: ++this.#values, beganAt: ++this.#order, expiresAt, mayExpireAt: expiresAt, endedAt: 0, flightBeganAt, isPartial }
    this.#origins.set(origin.value, origin)
    return origin
  }

  #invalidate(covers: (id: string) => boolean, own: Origin | undefined, leavesStale = false): Invalidation {
    const invalidation = { covers, own, leavesStale, calledAt: ++this.#order, resolvedAt: Number.POSITIVE_INFINITY }
    this.#invalidations.push(invalidation)
    return invalidation
  }

  #resolve(invalidation: Invalidation): void {
    invalidation.resolvedAt = ++this.#order
  }
}
