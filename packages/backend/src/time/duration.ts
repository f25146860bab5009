import { kindOf } from '../errors/describe.js'
import type { EpochMs } from '../clock/clock.js'

/** A length of time in public options: a number of **seconds**, or a string with a unit such as `'250ms'`, `'15m'`, `'30d'`. */
export type Duration = number | string

/** How long an entry lives: a {@link Duration}; `null` or `Infinity` for ever; `0` not stored at all. */
export type Ttl = Duration | null

const UNIT_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
}

const WRITTEN = /^\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)\s*$/

const EXPECTED = "a number of seconds, or a string with a unit (ms, s, m, h, d, w) such as '250ms' or '15m'"

/**
 * Milliseconds of a duration, rounded up to a whole one. `Infinity` stays `Infinity`.
 *
 * @param option the option's name, for the message
 * @throws TypeError for a negative number, `NaN`, a string without a unit or any other type
 */
export function durationMs(value: Duration, option: string): number {
  if (typeof value === 'number') {
    if (value >= 0) return wholeMs(value * 1000)
  } else if (typeof value === 'string') {
    const match = WRITTEN.exec(value)
    const unit = match?.[2]
    if (match?.[1] !== undefined && unit !== undefined) return wholeMs(Number(match[1]) * (UNIT_MS[unit] ?? Number.NaN))
  }
  throw new TypeError(`${option} must be ${EXPECTED}, not ${kindOf(value)}`)
}

/** As {@link durationMs}, and zero is refused too: for budgets, intervals and limits. */
export function positiveDurationMs(value: Duration, option: string): number {
  const ms = durationMs(value, option)
  if (ms > 0) return ms
  throw new TypeError(`${option} must be longer than zero: ${EXPECTED}, not ${kindOf(value)}`)
}

/**
 * Milliseconds of a time to live: `Infinity` for `null` and `Infinity`, `0` for "do not store", `undefined` when the
 * option was not given and the next one in the order decides.
 *
 * @throws TypeError as {@link durationMs}
 */
export function ttlMs(value: Ttl | undefined, option: string): number | undefined {
  if (value === undefined) return undefined
  if (value === null) return Number.POSITIVE_INFINITY
  if (typeof value !== 'number' && typeof value !== 'string') {
    throw new TypeError(`${option} must be ${EXPECTED}, or null for ever, not ${kindOf(value)}`)
  }
  return durationMs(value, option)
}

/** Rounded up, but not for the last bits of a binary fraction: 0.07 * 1000 is 70.00000000000001 and means 70. */
function wholeMs(ms: number): number {
  return Number.isInteger(ms) ? ms : Math.ceil(Number(ms.toPrecision(15)))
}

/** The instant `ms` after `from`; `Infinity` when it never comes. */
export function instantAfter(from: EpochMs, ms: number): EpochMs {
  return ms === Number.POSITIVE_INFINITY ? ms : from + ms
}
