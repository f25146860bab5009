import { CacheError, isPromise, type Awaitable, type Invalidation, type ValidKey } from '@thermocline/backend'
import type { Plan } from '../policies/policy.js'
import { NotApplied } from '../tiers/outcome.js'
import type { Tier } from '../tiers/tier.js'
import type { OperationHost } from '../operation/operation.js'
import type { TenantState } from '../state/tenant-state.js'
import type { Broken } from '../write-back/write-back.js'

/**
 * An invalidation from its call until it is carried out. What began before it on what it covers stores nothing any more, and what is queued for slow tiers
 * is broken, from the moment in which this is made; so it stays until {@link end}.
 */
export class InvalidationUnderWay {
  readonly #end: () => void
  readonly #queued: Broken | undefined

  /**
   * @param isAtOnce whether synchronous tiers will have applied it before anything else happens: a set of a value that is at hand
   * @param keepsQueued whether what is queued is newer
   */
  constructor(engine: OperationHost, state: TenantState, invalidation: Invalidation, { isAtOnce = false, keepsQueued = false } = {}) {
    this.#end = state.invalidating(invalidation, isAtOnce)
    this.#queued = keepsQueued ? undefined : engine.writeBack.invalidate(state, invalidation)
  }

  /** To be called when the tiers have carried it out; not before: until then a crash needs the older copies. With what went wrong where a restart may bring one back. */
  gone(): Awaitable<readonly CacheError[]> {
    return this.#queued?.gone() ?? []
  }

  end(): void {
    this.#queued?.end()
    this.#end()
  }
}

/**
 * Invalidates in each of the tiers, slowest first, so that no other process finds in a slow tier what a fast one has just lost and promotes it.
 *
 * @param told called with what each tier has removed, as far as it can tell
 * @throws CacheError `not-recorded`
 */
export async function invalidateIn(tiers: readonly Tier[], engine: OperationHost, state: TenantState, operation: string, invalidation: Invalidation, told: (removed: number | undefined) => void, keepsQueued = false): Promise<void> {
  const underWay = new InvalidationUnderWay(engine, state, invalidation, { keepsQueued })
  const lost: CacheError[] = []
  let left: readonly CacheError[] = []
  // its place in every tier is taken now, so what is called later comes later everywhere
  const agreement = invalidation.origin === 'here' ? engine.agreement : undefined
  let slower: Promise<unknown> | undefined = agreement?.before(state, invalidation, tiers)
  const steps = tiers.toSorted((a, b) => b.index - a.index).map((tier) => {
    const outcome = tier.queues.invalidate(state.scope, invalidation, slower)
    if (isPromise(outcome)) slower = outcome
    return { tier, outcome }
  })
  try {
    for (const { tier, outcome: answer } of steps) {
      const outcome = isPromise(answer) ? await answer : answer
      if (outcome instanceof NotApplied) noteFailure(engine, state, invalidation.key, operation, tier, outcome, lost)
      told(typeof outcome === 'number' ? outcome : undefined)
    }
    const going = underWay.gone()
    left = isPromise(going) ? await going : going
    const telling = agreement?.after(state, invalidation, tiers)
    if (telling !== undefined) await telling
  } finally {
    underWay.end()
  }
  if (lost.length + left.length > 0) throw notRecorded(operation, state, invalidation.key, lost, left)
}

/** Deletes the key in every tier the plan concerns. True when a tier had it, `undefined` when none can tell. */
export async function deleteEverywhere(engine: OperationHost, state: TenantState, invalidation: Invalidation, plan: Plan): Promise<boolean | undefined> {
  let deleted: boolean | undefined = false
  await invalidateIn([...plan.slots.map((slot) => slot.tier), ...plan.leftOut], engine, state, 'delete', invalidation, (removed) => {
    if (removed !== undefined) deleted = removed > 0 ? true : deleted
    else if (deleted === false) deleted = undefined
  })
  return deleted
}

/** Clears in every tier. The most that any tier removed; `undefined` when none can tell. */
export async function clearEverywhere(engine: OperationHost, state: TenantState, invalidation: Invalidation): Promise<number | undefined> {
  let most: number | undefined
  await invalidateIn(engine.tiers, engine, state, 'clear', invalidation, (removed) => {
    if (removed !== undefined) most = Math.max(most ?? 0, removed)
  })
  return most
}

/** How this process has heard of an invalidation. */
export interface Heard {
  /** The id of the message that told of it: what that put on a disk which both have stays there. */
  readonly told: string
  /** It was said before this process began. What an earlier process has left to be written back is not given up for it: it may be what the message was about. */
  readonly isRepeated: boolean
}

/**
 * Applies what another process has invalidated: in the tiers that are this process's own, as the shared ones have it from there. Nothing is told to anybody again.
 *
 * @throws CacheError `not-recorded`
 */
export async function applyFromElsewhere(engine: OperationHost, state: TenantState, invalidation: Invalidation, { told, isRepeated = false }: Partial<Heard> = {}): Promise<void> {
  const { writeBack } = engine
  const own = engine.tiers.filter((tier) => !tier.isShared)
  const { key } = invalidation
  for (const { fallback } of engine.tiers) {
    if (key === undefined) fallback?.clear(state.scope, invalidation.prefix ?? '')
    else fallback?.delete(state.scope, key)
  }
  // an upload that is given up leaves what is older than both
  const outdated = writeBack.isIdle || key === undefined || isRepeated ? [] : engine.tiers.filter((tier) => tier.isShared && writeBack.hasPending(tier, state, key))
  const apply = (tiers: readonly Tier[]): Promise<void> => invalidateIn(tiers, engine, state, 'invalidate', invalidation, () => undefined, isRepeated)
  if (key === undefined || told === undefined || own.every((tier) => tier.direct !== undefined)) return apply([...own, ...outdated])
  const first = apply(own.filter((tier) => tier.direct !== undefined)) // now: the rest takes a moment
  first.catch(() => undefined) // told below
  const left = await Promise.all(own.map(async (tier) => ((await tier.holdsToldOf(state.scope, key, told)) ? [] : [tier])))
  await Promise.all([first, apply([...left.flat(), ...outdated])])
}

/** Reports what a tier could not apply; what it could not record either is lost. */
export function noteFailure(engine: OperationHost, state: TenantState, key: ValidKey | undefined, operation: string, tier: Tier, outcome: NotApplied, lost: CacheError[]): void {
  if (outcome.error === undefined) return
  engine.report(outcome.error, { operation, tier, state, key })
  if (outcome.how === 'lost') lost.push(outcome.error)
}

/**
 * @param lost what tiers could neither apply nor record
 * @param left what kept the copies of older values in the journal of write-back
 */
export function notRecorded(operation: string, state: TenantState, key: ValidKey | undefined, lost: readonly CacheError[], left: readonly CacheError[]): CacheError {
  const reasons = [
    ...(lost.length === 0 ? [] : [`the tier's limit of pending invalidations (maxRecords) is reached: ${messagesOf(lost)}`]),
    ...(left.length === 0 ? [] : [`the journal of write-back still has a copy of an older value, or may turn out to have one; a restart could bring it back: ${messagesOf(left)}`]),
  ]
  return new CacheError('not-recorded', `${operation} could neither be applied in every tier nor recorded for later, because ${reasons.join('; and ')}`, {
    operation,
    tenant: state.tenant,
    key,
    cause: lost[0] ?? left[0],
  })
}

function messagesOf(causes: readonly CacheError[]): string {
  return causes.map((cause) => cause.message).join('; ')
}
