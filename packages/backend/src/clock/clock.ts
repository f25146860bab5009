import { quietly } from '../errors/quietly.js'
import { oncePerTurn } from './once-per-turn.js'

/** An absolute instant: milliseconds since 1970-01-01T00:00:00Z. `Infinity` means never. */
export type EpochMs = number

/** Cancels a scheduled callback; calling it again, or after the callback ran, does nothing. */
export interface CancelTimer {
  (): void
  /**
   * Whether the timer keeps the process alive, from now on: cheaper than to cancel it and schedule it anew for each of many short
   * waits. A clock may leave it out.
   */
  readonly keepAlive?: ((yes: boolean) => void) | undefined
}

/**
 * The only source of time in Thermocline. Everything that waits, expires or measures asks the clock, so a test with a
 * fake clock controls all of it.
 */
export interface Clock {
  /** The current instant in epoch milliseconds. */
  now(): EpochMs
  /**
   * The current instant, possibly as it was read earlier in this turn of the event loop. For the hot path: reading the
   * real clock costs as much as the whole hit.
   */
  recent(): EpochMs
  /** Milliseconds, with fractions, from an arbitrary beginning, never going back: for measuring how long something took. */
  monotonic(): number
  /**
   * Calls `callback` once after `ms` milliseconds. A `background` timer does not keep the process alive.
   * Waits beyond 2^31 - 1 ms are the clock's business; callers may pass any finite number.
   */
  schedule(ms: number, callback: () => void, options?: { readonly background?: boolean }): CancelTimer
  /**
   * Calls `callback` after two turns of the event loop. A busy loop delivers a timer before the socket data that had
   * arrived earlier; granting two turns first keeps a healthy server from being blamed for a busy process (measured:
   * 14 of 20 replies were blamed without, none with).
   */
  afterPendingIo(callback: () => void): void
}

const dateNow = Date.now
const LONGEST_TIMER_MS = 2 ** 31 - 1

/** The real clock: `Date.now`, `performance.now`, `setTimeout`, `setImmediate`. */
export const systemClock: Clock = {
  now: () => Date.now(),
  recent: oncePerTurn(() => Date.now(), () => Date.now === dateNow),
  monotonic: () => performance.now(),
  schedule(ms, callback, options) {
    let timer: NodeJS.Timeout
    let alive = options?.background !== true
    const arm = (left: number): void => {
      const wait = Math.min(left, LONGEST_TIMER_MS)
      timer = setTimeout(() => (left > wait ? arm(left - wait) : callback()), wait)
      if (!alive) timer.unref()
    }
    arm(Math.max(0, ms))
    return Object.assign(() => clearTimeout(timer), {
      keepAlive(yes: boolean) {
        alive = yes
        if (yes) timer.ref()
        else timer.unref()
      },
    })
  },
  afterPendingIo(callback) {
    setImmediate(() => setImmediate(callback))
  },
}

/**
 * A whole clock from one that may only tell the time; what it leaves out follows from `now` or is the system's. Where it throws, or tells no
 * number, the system's is asked: a clock is no reason for a cache to fail.
 */
export function completeClock(given: Pick<Clock, 'now'> & Partial<Clock>): Clock {
  if (typeof given?.now !== 'function') throw new TypeError('clock must have a function now() that returns epoch milliseconds')
  const own = given as Clock
  const now = (): EpochMs => told(() => given.now(), () => systemClock.now())
  return {
    now,
    recent: given.recent === undefined ? now : () => told(() => own.recent(), () => systemClock.now()),
    // timers and what is measured against them must be of one clock: with the system's timers, the system's
    monotonic: given.monotonic === undefined ? (given.schedule === undefined ? () => performance.now() : now) : () => told(() => own.monotonic(), () => systemClock.monotonic()),
    schedule: (ms, callback, options) => {
      const byItself = given.schedule === undefined ? undefined : quietly(() => own.schedule(ms, callback, options), undefined)
      return typeof byItself === 'function' ? byItself : systemClock.schedule(ms, callback, options)
    },
    afterPendingIo: (callback) => {
      const isAsked = given.afterPendingIo !== undefined && quietly(() => (own.afterPendingIo(callback), true), false)
      if (!isAsked) systemClock.afterPendingIo(callback)
    },
  }
}

function told(tell: () => number, instead: () => number): number {
  const time = quietly<unknown>(tell, undefined)
  return typeof time === 'number' && !Number.isNaN(time) ? time : instead()
}
