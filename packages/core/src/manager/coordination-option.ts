import { durationMs, isCoordinator, isObject, kindOf, KnownNames, type CacheBackend, type Clock, type Coordination } from '@thermocline/backend'
import { Trust } from '../coordination/trust.js'
import type { TierOptions } from '../tiers/tier.js'
import type { CoordinationOption } from './options.js'

const DEFAULT_MAX_STALENESS = '1m'
const LEAST_MAX_STALENESS_MS = 500
const OPTIONS = new KnownNames(['tier', 'maxStaleness'])

/** Over which tier processes agree. */
export interface Agreed {
  readonly name: string
  readonly backend: CacheBackend
  readonly coordination: Coordination
  readonly trust: Trust
}

/**
 * Opens what the option asks for; `undefined`: processes are not coordinated.
 *
 * @param names of the tiers, fastest first
 * @throws TypeError for an option that is none, and for a tier that cannot coordinate
 */
export function openAgreed(option: CoordinationOption | undefined, names: readonly string[], tiers: Readonly<Record<string, TierOptions>>, clock: Clock, warn: (message: string) => void): Agreed | undefined {
  const given: unknown = option
  if (given === undefined || given === false) return undefined
  if (given !== 'auto' && !isObject(given)) throw new TypeError(`coordination must be 'auto', false or { tier, maxStaleness }, not ${kindOf(given)}`)
  const { tier: asked, maxStaleness = DEFAULT_MAX_STALENESS } = given === 'auto' ? {} : (option as Exclude<CoordinationOption, string | false>)
  if (given !== 'auto') OPTIONS.check(given, 'coordination')
  const maxStalenessMs = durationMs(maxStaleness, 'coordination.maxStaleness')
  if (maxStalenessMs < LEAST_MAX_STALENESS_MS) throw new TypeError(`coordination.maxStaleness must be at least ${LEAST_MAX_STALENESS_MS} ms, not ${maxStalenessMs} ms: a beat is sent three times as often`)
  if (asked !== undefined && !names.includes(asked)) throw new TypeError(`coordination.tier must be the name of a tier (${names.join(', ')}), not ${kindOf(asked)}`)
  const canCoordinate = (name: string): boolean => isObject(tiers[name]?.backend) && isCoordinator(tiers[name].backend)
  const name = asked ?? names.find(canCoordinate)
  if (name === undefined) return undefined
  const { backend } = tiers[name] as TierOptions
  if (!isCoordinator(backend)) throw new TypeError(`coordination.tier names ${name}, over which processes cannot agree: that takes a tier such as Redis`)
  try {
    const coordination = backend.openCoordination()
    return { name, backend, coordination, trust: new Trust(clock, maxStalenessMs, (one, other) => coordination.isBefore(one, other)) }
  } catch (error) {
    if (given !== 'auto' || !(error instanceof TypeError)) throw error
    warn(`processes are not coordinated: ${error.message}`)
    return undefined
  }
}
