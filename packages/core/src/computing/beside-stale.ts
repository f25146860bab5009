import { isCacheError } from '@thermocline/backend'
import { onAbort } from '../flights/abort.js'
import type { Flight } from '../flights/flight.js'
import { inTime } from '../flights/time-limit.js'
import type { Found } from '../operation/found.js'
import type { Operation } from '../operation/operation.js'
import { letGo } from '../reading/walk.js'
import { count } from '../state/counters.js'
import { LeftOut } from './compute-batch.js'
import { goOnInBackground } from './refresh.js'

/** Who makes what a flight waits for. Where that one leaves it out, another takes its place. */
export interface Part {
  making: Flight
}

/** What a verb does its own way, with values or with streams. */
export interface BesideStale<T, S extends { readonly found: Found }> {
  /** Starts a flight that makes it. */
  readonly begin: () => Flight
  /** What is made, as this verb's callers are to have it, until the signal fires. */
  readonly outcome: (part: Part, signal: AbortSignal) => Promise<T>
  /** What may be served instead, as it is now. */
  readonly instead: () => Promise<S | undefined>
  /** Has what is made go on without callers; resolves when all of it is stored. */
  readonly inBackground: (making: Flight) => Promise<unknown>
}

/** Either what was made, or what is served instead, and why. */
export type MadeOrServed<T, S> = { readonly made: T } | { readonly served: S; readonly reason: 'error' | 'timeout' }

/** A stale value is at hand: it is served when the compute fails, has failed just now, or takes longer than the soft timeout; then that goes on. */
export async function madeOrServed<T, S extends { readonly found: Found }>(operation: Operation, flight: Flight, { begin, outcome, instead, inBackground }: BesideStale<T, S>): Promise<MadeOrServed<T, S>> {
  const { engine: { clock }, state, key, plan } = operation
  const { softTimeoutMs, ifErrorMs } = plan.freshness
  try {
    flight.throwIfAborted()
    const remembered = state.errors.of(key, clock.now())
    if (remembered !== undefined) throw remembered.error
    const part: Part = { making: state.refreshes.get(key) ?? begin() }
    const leaving = new AbortController()
    const stop = onAbort(flight.signal, () => leaving.abort(flight.signal.reason))
    const making = outcome(part, leaving.signal).finally(stop)
    if (softTimeoutMs === undefined) return { made: await making }
    const first = await inTime(clock, making, softTimeoutMs - (clock.monotonic() - part.making.beganAt))
    if (first !== 'late') return { made: first.value }
    const served = await instead()
    if (served === undefined || !part.making.isStarted) {
      letGo(served?.found) // nothing to serve, or it has ended meanwhile
      return { made: await making }
    }
    if (!part.making.isBackground) goOnInBackground(operation, part.making, inBackground(part.making))
    leaving.abort(flight) // nobody is told of it
    count(state.counters.softTimeouts, plan.policy.index)
    return { served, reason: 'timeout' }
  } catch (error) {
    if (flight.isAborted || error instanceof LeftOut || (isCacheError(error) && error.code === 'circular')) throw error
    const served = await instead()
    if (served === undefined) throw error
    const { entry, isStale } = served.found
    if (isStale && clock.now() - entry.staleAt >= ifErrorMs) {
      letGo(served.found)
      throw error
    }
    return { served, reason: 'error' }
  }
}
