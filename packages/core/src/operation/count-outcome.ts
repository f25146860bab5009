import type { Slot } from '../policies/policy.js'
import { count } from '../state/counters.js'
import type { Operation } from './operation.js'

/**
 * Counts for so many callers what a read has come to, and tells who listens: a hit in a slot, which saved each of them a compute that had
 * taken so long; without a slot, a miss.
 */
export function countOutcome({ engine, state, key, plan }: Operation, slot: Slot | undefined, savedMicros = 0, callers = 1): void {
  const { counters, tenant } = state
  const { events } = engine
  const policy = plan.policy.name
  if (slot === undefined) {
    count(counters.misses, plan.policy.index, callers)
    if (events.wants('miss')) for (let n = 0; n < callers; n++) events.emit('miss', { tenant, key, policy })
    return
  }
  count(counters.hits, slot.cell, callers)
  count(counters.savedMicros, slot.cell, savedMicros * callers)
  if (events.wants('hit')) for (let n = 0; n < callers; n++) events.emit('hit', { tenant, key, tier: slot.tier.name, policy })
}
