import { durationMs, isCoordinator, isObject, kindOf, KnownNames, type CacheBackend, type Clock, type Coordination } from '@thermocline/backend'
import { Agreement } from '../coordination/agreement.js'
import { Speaker } from '../coordination/messages.js'
import { Trust } from '../coordination/trust.js'
import type { OperationHost } from '../operation/operation.js'
import type { Events } from '../state/events.js'
import type { Log } from '../state/log.js'
import type { TierOptions } from '../tiers/tier.js'
import type { TieredCacheManagerOptions } from './options.js'

const DEFAULT_MAX_STALENESS = '1m'
const LEAST_MAX_STALENESS_MS = 500
const OPTIONS = new KnownNames(['tier', 'maxStaleness'])

/** Over which tier processes agree. */
export interface Agreed {
  readonly name: string
  readonly backend: CacheBackend
  readonly coordination: Coordination
  readonly trust: Trust
  /** Whether a tier of the process's own outlives it. */
  readonly keepsForLater: boolean
}

type Options = Pick<TieredCacheManagerOptions, 'coordination' | 'tiers' | 'policies'>

/**
 * Opens what the options ask for; `undefined`: processes are not coordinated.
 *
 * @param names of the tiers, fastest first
 * @throws TypeError for an option that is none, and for a tier that cannot coordinate
 */
export function openAgreed(options: Options, names: readonly string[], clock: Clock, warn: (message: string) => void): Agreed | undefined {
  const { coordination: given = 'auto', tiers, policies } = options
  if (given === false) return undefined
  if (given !== 'auto' && !isObject(given)) throw new TypeError(`coordination must be 'auto', false or { tier, maxStaleness }, not ${kindOf(given)}`)
  const { tier: asked, maxStaleness = DEFAULT_MAX_STALENESS } = given === 'auto' ? {} : given
  if (given !== 'auto') OPTIONS.check(given, 'coordination')
  const maxStalenessMs = durationMs(maxStaleness, 'coordination.maxStaleness')
  if (maxStalenessMs < LEAST_MAX_STALENESS_MS) throw new TypeError(`coordination.maxStaleness must be at least ${LEAST_MAX_STALENESS_MS} ms, not ${maxStalenessMs} ms: a beat is sent three times as often`)
  if (asked !== undefined && !names.includes(asked)) throw new TypeError(`coordination.tier must be the name of a tier (${names.join(', ')}), not ${kindOf(asked)}`)
  const able = names.filter((name) => isObject(tiers[name]?.backend) && isCoordinator(tiers[name].backend))
  const name = asked ?? able.find((other) => tiers[other]?.backend.capabilities.shared === true) ?? able[0]
  if (name === undefined) return undefined
  const { backend } = tiers[name] as TierOptions
  if (!isCoordinator(backend)) throw new TypeError(`coordination.tier names ${name}, over which processes cannot agree: that takes a tier such as Redis`)
  const writtenBack = given === 'auto' ? policyThatWritesBack(policies, name) : undefined
  if (writtenBack !== undefined) {
    warn(`processes are not coordinated: policy ${writtenBack} writes tier ${name} back, and others are told with each write; use 'through' there, or coordination: false`)
    return undefined
  }
  try {
    const coordination = backend.openCoordination()
    const keepsForLater = backend.capabilities.shared === true && names.some((other) => isOwnAndDurable(tiers[other]?.backend))
    return { name, backend, coordination, trust: new Trust(clock, maxStalenessMs, (one, other) => coordination.isBefore(one, other)), keepsForLater }
  } catch (error) {
    if (given !== 'auto' || !(error instanceof TypeError)) throw error
    warn(`processes are not coordinated: ${error.message}`)
    return undefined
  }
}

/** What the processes agree about from now on, and what is said of it. */
export function makeAgreement({ name, coordination, trust, keepsForLater }: Agreed, engine: OperationHost & { readonly logger: Log; readonly events: Events }): Agreement {
  const { logger, events } = engine
  const about = { tier: name }
  let wasBlind = false
  return new Agreement({
    engine,
    coordination,
    trust,
    speaker: new Speaker(trust.by),
    keepsForLater,
    missed: (what) => logger.warn(what, about),
    gaveUp: ({ message }) => logger.warn(`processes are not coordinated over tier ${name} any more: ${message}`, about),
    changed: (isHearing, reason) => {
      if (isHearing) {
        if (wasBlind) logger.info(`other processes are heard again over tier ${name}`, about)
        events.emit('connected', about)
      } else {
        logger.warn(`other processes are not heard any more over tier ${name}: what this one keeps itself is served for ${trust.maxStalenessMs} ms after it was taken in${reason === undefined ? '' : `; ${reason}`}`, about)
        events.emit('blind', { tier: name, reason })
      }
      wasBlind = !isHearing
    },
  })
}

function policyThatWritesBack(policies: Options['policies'], tier: string): string | undefined {
  return Object.entries(policies ?? {}).find(([, policy]) => {
    const use: unknown = policy?.tiers?.[tier]
    return isObject(use) && (use as { write?: unknown }).write === 'back'
  })?.[0]
}

function isOwnAndDurable(backend: Partial<CacheBackend> | undefined): boolean {
  return backend?.capabilities?.durable === true && backend.capabilities.shared !== true
}
