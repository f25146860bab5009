import { CacheError } from '@thermocline/backend'
import type { Tier } from '../tiers/tier.js'
import type { Operation } from '../operation/operation.js'
import type { Terms } from '../operation/terms.js'

/** What was to be stored. */
export interface Refused {
  readonly terms: Terms
  /** `a value`, `a stream`. */
  readonly what: string
  /** Of the value as the caller knows it; counted when it is asked for. */
  readonly bytes: number
  /** How many bytes the tier would have been given, and the most it takes of such. */
  readonly sizeIn: (tier: Tier) => { readonly bytes: number; readonly most: number }
  /** What else may be done about it. */
  readonly hint: string
}

/**
 * A value that no tier has stored: if it is larger than all take that were to hold it, that is told, or nobody would see why it is a miss
 * each time. What was refused for other reasons, such as no room just now, is not told of. Whether it was told.
 */
export function noteHeldNowhere(operation: Operation, verb: 'set' | 'put', refused: Refused): boolean {
  const { engine, state, key, plan } = operation
  const { name } = plan.policy
  const sizes = plan.slots.filter((slot) => refused.terms.livesIn(slot)).map(({ tier }) => ({ tier: tier.name, ...refused.sizeIn(tier) }))
  if (sizes.length === 0 || sizes.some(({ bytes, most }) => bytes <= most)) return false
  const limits = sizes.map(({ tier, most }) => `${tier} (at most ${most} bytes)`)
  const what = `${refused.what} of ${refused.bytes} bytes of policy ${name} is too large for every tier that was to hold it, ${limits.join(', ')}: it is not stored`
  operation.report(new CacheError('too-large', what, { operation: verb, tenant: state.tenant, key }), verb)
  engine.warnOnce(`too large ${name}`, `${what}. ${refused.hint}`, { code: 'too-large', policy: name, tenant: state.tenant, key, bytes: refused.bytes })
  return true
}
