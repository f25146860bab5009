import type { EpochMs } from '@thermocline/backend'
import type { Fence } from '../flights/fence.js'
import type { Flight } from '../flights/flight.js'
import { LeftOut } from './compute-batch.js'
import { ReadOperation, type ComputeOperation, type Operation } from '../operation/operation.js'
import type { Policy } from '../policies/policy.js'
import { walk } from '../reading/walk.js'
import { count } from '../state/counters.js'
import type { Refresh, RefreshOutcome, RefreshTask } from '../state/refreshes.js'
import type { TenantState } from '../state/tenant-state.js'

/** What a caller has got, and that is to be made anew. */
export interface Seen {
  readonly createdAt: EpochMs
  readonly isStale: boolean
}

/** How a refresh is carried out, for a value or for a stream. */
export interface RefreshSteps {
  /** Makes it and stores it; false: it was invalidated meanwhile. @param replaces when the fresh one was made that is to be made anew */
  readonly makeAnew: (replaces: EpochMs | undefined) => Promise<boolean>
  /** Copies what a slower tier has into the faster ones: somebody else has made it. */
  readonly adopt: (fence: Fence) => Promise<unknown>
}

/** Has the key refreshed in the background, unless it is already, or has failed just now. */
export function requestRefresh(operation: Operation, seen: Seen, steps: RefreshSteps): Refresh | undefined {
  return operation.engine.refreshes.request(refreshTask(operation, seen, steps))
}

export function refreshTask(operation: Operation, seen: Seen, steps: RefreshSteps): RefreshTask {
  const { engine, state, key, plan: { policy } } = operation
  return { state, key, carryOut: () => engine.computing(refreshed(operation, seen, steps)), givenUp: () => noteGivenUp(state, policy) }
}

/** Enters a flight that makes the key's value without a look: others join it from now on. */
export function enterMaking({ engine, state, key, isForced }: Pick<ComputeOperation, 'engine' | 'state' | 'key' | 'isForced'>, flight: Flight, isBackground: boolean): void {
  flight.isBackground = isBackground
  flight.making(engine.clock)
  if (isForced) state.errors.forgetKey(key)
  state.refreshes.set(key, flight)
}

/**
 * Whether a fresh value is to be made anew before its end: XFetch, `now - delta * beta * log(rand()) >= expiry` of the paper that
 * `earlyRefresh` names, where delta is what computing it took.
 */
export function isDueEarly({ staleAt, computeMicros }: { readonly staleAt: EpochMs; readonly computeMicros: number }, beta: number, now: EpochMs): boolean {
  if (beta === 0 || computeMicros === 0) return false
  return now - (computeMicros / 1000) * beta * Math.log(1 - Math.random()) >= staleAt
}

async function refreshed(operation: Operation, seen: Seen, { makeAnew, adopt }: RefreshSteps): Promise<RefreshOutcome> {
  const { engine, state, key, plan } = operation
  const fence = state.fences.open(key)
  try {
    // one that was begun for others is as good
    if (state.making(key) !== undefined) return 'needless'
    const found = await walk(new ReadOperation(engine, state, key, plan, 'head', false, true))
    if (found === undefined || fence.broken || engine.closed) return 'needless' // it was removed or set meanwhile, or is too old for anybody
    if (!found.isStale && (seen.isStale || found.entry.createdAt !== seen.createdAt)) {
      await adopt(fence)
      return 'needless'
    }
    if (state.making(key) !== undefined) return 'needless'
    if (!(await makeAnew(seen.isStale ? undefined : seen.createdAt))) return 'needless'
    noteRefreshed(operation)
    return 'refreshed'
  } catch (error) {
    noteFailedRefresh(operation, error)
    return 'failed'
  } finally {
    state.fences.close(fence)
  }
}

function noteRefreshed({ engine, state, key, plan: { policy } }: Operation): void {
  count(state.counters.refreshes, policy.index)
  if (engine.events.wants('refresh')) engine.events.emit('refresh', { tenant: state.tenant, key, policy: policy.name })
}

/** Callers have got a stale value: the compute goes on without them, and is a refresh from now on. It has ended when all of it is stored. */
export function goOnInBackground(operation: Operation, { fence }: Flight, ended: Promise<unknown>): void {
  ended.then(
    () => {
      if (!fence.broken) noteRefreshed(operation)
    },
    (error: unknown) => noteFailedRefresh(operation, error),
  )
}

/** A refresh has failed, which no caller is told of. What a function leaves out is no failure. */
function noteFailedRefresh({ engine, state, key, plan: { policy } }: Operation, error: unknown): void {
  if (error instanceof LeftOut) return
  noteGivenUp(state, policy)
  engine.report(error, { operation: 'refresh', state, key })
  if (engine.events.wants('refresh')) engine.events.emit('refresh', { tenant: state.tenant, key, policy: policy.name, error })
}

/** One that has failed, or was not begun. */
export function noteGivenUp({ counters }: TenantState, policy: Policy): void {
  count(counters.refreshesGivenUp, policy.index)
}
