import type { EpochMs } from '@thermocline/backend'
import type { Fence } from '../flights/fence.js'
import { LeftOut } from './compute-batch.js'
import { ReadOperation, type Operation } from '../operation/operation.js'
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
  /** Makes it and stores it; false: it was invalidated meanwhile. */
  readonly makeAnew: () => Promise<boolean>
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
  const { policy } = plan
  const { events } = engine
  const fence = state.fences.open(key)
  try {
    // one that was begun for others is as good
    const running = state.making(key)
    if (running !== undefined) return await running.over().then(() => 'needless')
    const found = await walk(new ReadOperation(engine, state, key, plan, 'head', false, true))
    if (found === undefined || fence.broken || engine.closed) return 'needless' // it was removed or set meanwhile, or is too old for anybody
    if (!found.isStale && (seen.isStale || found.entry.createdAt !== seen.createdAt)) {
      await adopt(fence)
      return 'needless'
    }
    const begun = state.making(key)
    if (begun !== undefined) return await begun.over().then(() => 'needless')
    if (!(await makeAnew())) return 'needless'
    count(state.counters.refreshes, policy.index)
    if (events.wants('refresh')) events.emit('refresh', { tenant: state.tenant, key, policy: policy.name })
    return 'refreshed'
  } catch (error) {
    if (error instanceof LeftOut) return 'failed' // which nobody needs to be told of; the key rests
    noteFailedRefresh(operation, error)
    return 'failed'
  } finally {
    state.fences.close(fence)
  }
}

/** A refresh has failed, which no caller is told of. */
export function noteFailedRefresh({ engine, state, key, plan: { policy } }: Operation, error: unknown): void {
  noteGivenUp(state, policy)
  engine.report(error, { operation: 'refresh', state, key })
  if (engine.events.wants('refresh')) engine.events.emit('refresh', { tenant: state.tenant, key, policy: policy.name, error })
}

/** One that has failed, or was not begun. */
export function noteGivenUp({ counters }: TenantState, policy: Policy): void {
  count(counters.refreshesGivenUp, policy.index)
}

