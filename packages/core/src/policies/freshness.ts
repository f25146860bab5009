import { durationMs, kindOf, positiveDurationMs, type Duration } from '@thermocline/backend'

/** When a value is too old, what is served then, and how long a compute may take. Of a policy, or of one call instead of its policy's. */
export interface FreshnessOptions {
  /** For so long after its ttl a value is served at once, while one refresh runs in the background. Default: off. */
  readonly staleWhileRevalidate?: Duration | undefined
  /** For so long after its ttl a value is served when the compute fails or outlives `hardTimeout`. Default: off. */
  readonly staleIfError?: Duration | undefined
  /** With a usable stale value at hand callers wait so long for the compute, and then get that value; the compute goes on and is stored. Default: off. */
  readonly softTimeout?: Duration | undefined
  /** After so long a compute's signal is aborted, what it returns is dropped, and callers get `compute-timeout`, or a usable stale value. Default: off. */
  readonly hardTimeout?: Duration | undefined
  /**
   * Refreshes in the background before the ttl is over, by chance: the sooner the dearer the compute was, and the sooner the greater `beta` is (default 1). Default: off.
   * XFetch, from A. Vattani, F. Chierichetti, K. Lowenstein, "Optimal Probabilistic Cache Stampede Prevention", VLDB 2015.
   */
  readonly earlyRefresh?: boolean | { readonly beta?: number | undefined } | undefined
  /** The part by which a ttl is shortened at random, 0 to 0.5, so that what was stored together does not end together. Default 0. */
  readonly jitter?: number | undefined
  /** For so long a failed compute of a key is remembered in this process and its error thrown again, without computing. Default: off. */
  readonly errorTtl?: Duration | undefined
  /**
   * Whether processes that agree share one compute of a key: who finds that another process makes it waits for that one, for at most `wait` (default: the hard timeout, else 30 s).
   * `false`: each process computes for itself; what was invalidated meanwhile is not stored all the same. Default true.
   */
  readonly lock?: boolean | { readonly wait?: Duration | undefined } | undefined
}

/** The names of these options. */
export const FRESHNESS_NAMES = {
  staleWhileRevalidate: true,
  staleIfError: true,
  softTimeout: true,
  hardTimeout: true,
  earlyRefresh: true,
  jitter: true,
  errorTtl: true,
  lock: true,
} satisfies Readonly<Record<keyof FreshnessOptions, true>>

/** The longest stale window: what never ends could not be told from what is fresh. A hundred years. */
const LONGEST_WINDOW_MS = 100 * 365 * 86_400_000
const MOST_JITTER = 0.5
const DEFAULT_LOCK_WAIT_MS = 30_000

/** The same, checked, in milliseconds. */
export class Freshness {
  /** Nothing is stale, and nothing is refreshed early. */
  static readonly plain = new Freshness({}, '')
  readonly revalidateMs: number
  readonly ifErrorMs: number
  readonly softTimeoutMs: number | undefined
  readonly hardTimeoutMs: number | undefined
  /** Of an early refresh; 0: none. */
  readonly beta: number
  readonly jitter: number
  /** 0: errors are not remembered. */
  readonly errorTtlMs: number
  /** 0: another process that computes the same is not waited for. */
  readonly lockWaitMs: number

  readonly #ownLockWaitMs: number | undefined

  private constructor(options: FreshnessOptions, where: string, base?: Freshness) {
    const { staleWhileRevalidate, staleIfError, softTimeout, hardTimeout, earlyRefresh, jitter, errorTtl, lock } = options
    this.revalidateMs = window(staleWhileRevalidate, `${where}staleWhileRevalidate`) ?? base?.revalidateMs ?? 0
    this.ifErrorMs = window(staleIfError, `${where}staleIfError`) ?? base?.ifErrorMs ?? 0
    this.softTimeoutMs = softTimeout === undefined ? base?.softTimeoutMs : positiveDurationMs(softTimeout, `${where}softTimeout`)
    this.hardTimeoutMs = hardTimeout === undefined ? base?.hardTimeoutMs : positiveDurationMs(hardTimeout, `${where}hardTimeout`)
    this.beta = betaOf(earlyRefresh, `${where}earlyRefresh`) ?? base?.beta ?? 0
    this.jitter = checkedJitter(jitter, `${where}jitter`) ?? base?.jitter ?? 0
    this.errorTtlMs = (errorTtl === undefined ? base?.errorTtlMs : durationMs(errorTtl, `${where}errorTtl`)) ?? 0
    this.#ownLockWaitMs = lockWait(lock, `${where}lock`) ?? (base === undefined ? undefined : base.#ownLockWaitMs)
    this.lockWaitMs = this.#ownLockWaitMs ?? this.hardTimeoutMs ?? DEFAULT_LOCK_WAIT_MS
    if (softTimeout !== undefined) this.#checkSoft(where)
  }

  /**
   * @param where before the options' names, in messages
   * @param base what holds where an option is not given
   * @throws TypeError for a value that is none, and for options that contradict each other
   */
  static of(options: FreshnessOptions, where: string, base = Freshness.plain): Freshness {
    for (const name in FRESHNESS_NAMES) if (options[name as keyof FreshnessOptions] !== undefined) return new Freshness(options, where, base)
    return base
  }

  /** How long an entry is kept when it is not fresh any more, in milliseconds. */
  get windowMs(): number {
    return Math.max(this.revalidateMs, this.ifErrorMs)
  }

  #checkSoft(where: string): void {
    const { softTimeoutMs = 0, hardTimeoutMs, windowMs } = this
    if (windowMs === 0) throw new TypeError(`${where}softTimeout needs a stale value to serve: give staleIfError or staleWhileRevalidate too, or use hardTimeout`)
    if (hardTimeoutMs !== undefined && softTimeoutMs > hardTimeoutMs) throw new TypeError(`${where}softTimeout (${softTimeoutMs} ms) must not be longer than hardTimeout (${hardTimeoutMs} ms)`)
  }
}

function window(value: Duration | undefined, option: string): number | undefined {
  return value === undefined ? undefined : Math.min(durationMs(value, option), LONGEST_WINDOW_MS)
}

function betaOf(value: FreshnessOptions['earlyRefresh'], option: string): number | undefined {
  if (value === undefined) return undefined
  if (typeof value === 'boolean') return value ? 1 : 0
  if (typeof value !== 'object' || value === null || Object.keys(value).some((name) => name !== 'beta')) throw new TypeError(`${option} must be true, false or { beta }, not ${kindOf(value)}`)
  const { beta = 1 } = value
  if (typeof beta === 'number' && beta > 0 && beta < Number.POSITIVE_INFINITY) return beta
  throw new TypeError(`${option}.beta must be a number greater than 0, such as 1, not ${kindOf(beta)}`)
}

function lockWait(value: FreshnessOptions['lock'], option: string): number | undefined {
  if (value === undefined || value === true) return undefined
  if (value === false) return 0
  if (typeof value !== 'object' || value === null || Object.keys(value).some((name) => name !== 'wait')) throw new TypeError(`${option} must be true, false or { wait }, not ${kindOf(value)}`)
  return value.wait === undefined ? undefined : positiveDurationMs(value.wait, `${option}.wait`)
}

function checkedJitter(value: number | undefined, option: string): number | undefined {
  if (value === undefined || (typeof value === 'number' && value >= 0 && value <= MOST_JITTER)) return value
  throw new TypeError(`${option} must be a number from 0 to ${MOST_JITTER}, the part of a ttl, not ${kindOf(value)}`)
}
