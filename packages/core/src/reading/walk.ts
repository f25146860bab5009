import { isStreamed, type Awaitable } from '@thermocline/backend'
import type { Slot } from '../policies/policy.js'
import type { Fence, FencedKey } from '../flights/fence.js'
import { countOutcome } from '../operation/count-outcome.js'
import { count } from '../state/counters.js'
import type { ReadOperation } from '../operation/operation.js'
import { promote } from '../promotion/promote.js'
import { Found } from '../operation/found.js'
import { askThen } from './tier-access.js'

/**
 * Asks the tiers of a plan, fastest first and from `position` on, for a fresh entry, and goes on with what was found in the step in which it
 * was found. A tier that fails is passed over. A stale entry is what was found where no tier has a fresh one, or where the call is content with it.
 *
 * @param stale what faster tiers have
 */
export function walkThen<T>(operation: ReadOperation, position: number, goOn: (found: Found | undefined) => Awaitable<T>, stale?: Found): Awaitable<T> {
  const slot = operation.plan.slots[position]
  if (slot === undefined) return goOn(stale)
  const { agreement } = operation.engine
  if (agreement?.entersBefore(operation, position) === true) return agreement.enter(operation).then(() => askNextThen(operation, position, slot, goOn, stale))
  return askNextThen(operation, position, slot, goOn, stale)
}

function askNextThen<T>(operation: ReadOperation, position: number, slot: Slot, goOn: (found: Found | undefined) => Awaitable<T>, stale: Found | undefined): Awaitable<T> {
  const { isUse, state } = operation
  return askThen(operation, position, (answer) => {
    if (!(answer instanceof Found)) {
      if (isUse && answer.wasAsked) count(state.counters.tierMisses, slot.cell)
      return walkThen(operation, position + 1, goOn, stale)
    }
    if (operation.isContentWith(answer)) {
      letGo(stale)
      return goOn(answer)
    }
    return walkThen(operation, position + 1, goOn, better(stale, answer))
  })
}

/** The newer of two stale entries; the other one is not served. */
export function better(stale: Found | undefined, other: Found): Found {
  const isNewer = stale === undefined || other.entry.staleAt > stale.entry.staleAt
  letGo(isNewer ? stale : other)
  return isNewer ? other : stale
}

/** What is not to be served after all: a stream is not left open. */
export function letGo(found: Found | undefined): void {
  if (found !== undefined && isStreamed(found.entry)) found.entry.payload.cancel()
}

/** The same where nothing follows. */
export function walk(operation: ReadOperation): Awaitable<Found | undefined> {
  return walkThen(operation, 0, itself)
}

function itself(found: Found | undefined): Found | undefined {
  return found
}

/** What a read has come to: promotes and counts a hit, or counts a miss. */
export function conclude(operation: ReadOperation, found: Found | undefined, fence: Fence | FencedKey): void {
  if (found !== undefined) promote(operation, found, fence)
  operation.engine.agreement?.leave(operation)
  countOutcome(operation, found)
}
