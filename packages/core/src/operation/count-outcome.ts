import type { Slot } from '../policies/policy.js'
import { count } from '../state/counters.js'
import type { StaleReason } from '../state/events.js'
import type { Operation } from './operation.js'

/** Where a read's answer came from. */
export interface Served {
  readonly slot: Slot | undefined
  /** How long the compute had taken that it saved. */
  readonly savedMicros: number
  /** Why it may be an old value; `undefined`: it was fresh. */
  readonly stale?: StaleReason | undefined
}

/** Counts for so many callers what a read has come to, and tells who listens: a hit, a stale hit or, where no slot had it, a miss. */
export function countOutcome({ engine, state, key, plan }: Operation, served: Served | undefined, callers = 1): void {
  const { counters, tenant } = state
  const { events } = engine
  const policy = plan.policy.name
  const slot = served?.slot
  if (slot === undefined) {
    count(counters.misses, plan.policy.index, callers)
    if (events.wants('miss')) for (let n = 0; n < callers; n++) events.emit('miss', { tenant, key, policy })
    return
  }
  const { stale: reason, savedMicros } = served as Served
  const tier = slot.tier.name
  count(reason === undefined ? counters.hits : counters.staleHits, slot.cell, callers)
  count(counters.savedMicros, slot.cell, savedMicros * callers)
  if (reason === undefined) {
    if (events.wants('hit')) for (let n = 0; n < callers; n++) events.emit('hit', { tenant, key, tier, policy })
  } else if (events.wants('stale')) for (let n = 0; n < callers; n++) events.emit('stale', { tenant, key, tier, policy, reason })
}
