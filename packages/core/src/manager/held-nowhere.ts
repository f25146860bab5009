import { CacheError } from '../errors/cache-error.js'
import type { ValidKey } from '../keys/key.js'
import type { Plan } from '../policies/policy.js'
import type { Engine } from './engine.js'
import type { TenantState } from './tenant-state.js'
import type { Terms } from './terms.js'

/** What was to be stored; its bytes are counted when they are asked for. */
export interface Refused {
  readonly terms: Terms
  readonly bytes: number
}

/**
 * A value that no tier has stored: if it is larger than all take that were to hold it, that is told, or nobody would see why it is a miss
 * each time. What was refused for other reasons, such as no room just now, is not told of.
 */
export function noteHeldNowhere(engine: Engine, state: TenantState, key: ValidKey, plan: Plan, operation: 'set' | 'put', refused: Refused): void {
  const { name } = plan.policy
  const tiers = plan.slots.filter((slot) => refused.terms.livesIn(slot)).map(({ tier }) => tier)
  if (tiers.length === 0) return
  const { bytes } = refused
  if (tiers.some((tier) => tier.takes(bytes))) return
  const limits = tiers.map((tier) => `${tier.name} (at most ${tier.maxPayloadBytes} bytes)`)
  const what = `a value of ${bytes} bytes of policy ${name} is too large for every tier that was to hold it, ${limits.join(', ')}: it is not stored`
  engine.report(new CacheError('too-large', what, { operation, tenant: state.tenant, key }), { operation, state, key })
  engine.warnOnce(`too large ${name}`, `${what}. Raise the limit of a tier (maxPayloadBytes, maxBytes), or let the policy use one without`)
}
