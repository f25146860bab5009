import type { Awaitable } from '@thermocline/backend'
import type { Fence, FencedKey } from '../flights/fence.js'
import { countOutcome } from '../operation/count-outcome.js'
import { count } from '../state/counters.js'
import type { ReadOperation } from '../operation/operation.js'
import { promote } from '../promotion/promote.js'
import { Found } from '../operation/found.js'
import { askThen } from './tier-access.js'

/**
 * Asks the tiers of a plan, fastest first and from `position` on, for a fresh entry, and goes on with what was found in the step in which it
 * was found. A tier that fails is passed over.
 */
export function walkThen<T>(operation: ReadOperation, position: number, goOn: (found: Found | undefined) => Awaitable<T>): Awaitable<T> {
  const { plan, isUse, state } = operation
  const slot = plan.slots[position]
  if (slot === undefined) return goOn(undefined)
  return askThen(operation, position, (answer) => {
    if (answer instanceof Found) return goOn(answer)
    if (isUse && answer.wasAsked) count(state.counters.tierMisses, slot.cell)
    return walkThen(operation, position + 1, goOn)
  })
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
  countOutcome(operation, found?.slot, found?.entry.computeMicros)
}
