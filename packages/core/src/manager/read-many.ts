import type { Span } from '@opentelemetry/api'
import { isPromise, type Awaitable, type CacheEntry, type EpochMs, type ValidKey } from '@thermocline/backend'
import { FencedKey, type WideFence } from '../compute/fence.js'
import type { Plan, Slot } from '../policies/policy.js'
import { NO_SPAN } from '../telemetry/telemetry.js'
import { count } from './counters.js'
import type { Engine } from './engine.js'
import { accept, conclude, readOptions, walk, type Found } from './read.js'
import type { TenantState } from './tenant-state.js'
import { answeredByTier } from './tier-access.js'

/** Keys in one question to a tier. */
const KEYS_AT_ONCE = 256
const VALUE_IN_USE = Object.freeze({ want: 'value', use: true } as const)

/** A key on its way through the tiers. */
class KeyOnItsWay extends FencedKey {
  declare readonly key: ValidKey
  readonly span: Span
  found: Found | undefined = undefined

  constructor(key: ValidKey, fence: WideFence, span: Span) {
    super(key, fence)
    this.span = span
  }
}

/**
 * `get` for many keys of one plan: each tier is asked once for what the faster ones did not have. Counts and promotes as
 * `get` does, key by key.
 */
export async function readMany(engine: Engine, state: TenantState, keys: readonly ValidKey[], plan: Plan): Promise<(Found | undefined)[]> {
  const { telemetry } = engine
  const fence = state.fences.openWide(keys)
  const spanOf = (key: ValidKey): Span => telemetry.startGet(key, state.tenant, plan.policy.name)
  const first = spanOf(keys[0] as ValidKey)
  const wanted = keys.map((key, at) => new KeyOnItsWay(key, fence, at === 0 || first === NO_SPAN ? first : spanOf(key)))
  try {
    let missing: readonly KeyOnItsWay[] = wanted
    for (let position = 0; position < plan.slots.length && missing.length > 0; position++) {
      for (let at = 0; at < missing.length; at += KEYS_AT_ONCE) await askTier(engine, state, plan, position, missing.slice(at, at + KEYS_AT_ONCE))
      missing = missing.filter(({ found }) => found === undefined)
    }
    for (const one of wanted) conclude(engine, state, one.key, plan, one.found, one)
    return wanted.map(({ found }) => found)
  } finally {
    state.fences.closeWide(fence)
    if (first !== NO_SPAN) for (const { span, found } of wanted) telemetry.endGet(span, found?.slot.tier.name)
  }
}

async function askTier(engine: Engine, state: TenantState, plan: Plan, position: number, wanted: readonly KeyOnItsWay[]): Promise<void> {
  const slot = plan.slots[position] as Slot
  const { tier } = slot
  const asked = answeredByTier(engine, state, wanted, tier)
  const others = asked === wanted ? [] : without(wanted, new Set(asked))
  if (asked.length > 1) {
    try {
      const startedAt = engine.telemetry.bound ? engine.clock.monotonic() : 0
      const answer = tier.backend.getMany(state.scope, asked.map(({ key }) => key), readOptions(plan, VALUE_IN_USE))
      const entries = isPromise(answer) ? await answer : answer
      const now = engine.clock.now()
      for (let at = 0; at < asked.length; at++) {
        const one = asked[at] as KeyOnItsWay
        const found = acceptOne(engine, state, slot, position, one.key, entries[at], startedAt, now)
        one.found = isPromise(found) ? await found : found
      }
      return await askAlone(engine, state, plan, position, others)
    } catch (error) {
      engine.report(error, { operation: 'get', tier, state })
      if (!tier.readable) return await askAlone(engine, state, plan, position, others) // what failed was the tier, not one of the keys
    }
  }
  // one alone, those a fallback may have, and those of whom one spoiled the answer for all
  await askAlone(engine, state, plan, position, wanted)
}

function without(keys: readonly KeyOnItsWay[], some: ReadonlySet<KeyOnItsWay>): readonly KeyOnItsWay[] {
  return keys.filter((one) => !some.has(one))
}

/** Asks a tier for each key by itself. */
async function askAlone(engine: Engine, state: TenantState, plan: Plan, position: number, wanted: readonly KeyOnItsWay[]): Promise<void> {
  if (wanted.length === 0) return
  const alone: Plan = { policy: plan.policy, slots: plan.slots.slice(0, position + 1), leftOut: plan.leftOut }
  await Promise.all(
    wanted.map(async (one) => {
      one.found = await walk(engine, state, one.key, alone, VALUE_IN_USE, position)
    }),
  )
}

/** What one tier has under one key; a payload that cannot be decoded is a miss. */
function acceptOne(engine: Engine, state: TenantState, slot: Slot, position: number, key: ValidKey, entry: CacheEntry | undefined, startedAt: number, now: EpochMs): Awaitable<Found | undefined> {
  try {
    const found = accept(engine, slot, position, entry, VALUE_IN_USE, startedAt, now)
    if (isPromise(found)) return found.catch((error: unknown) => missed(engine, state, slot, key, error))
    if (found !== undefined) return found
  } catch (error) {
    return missed(engine, state, slot, key, error)
  }
  return missed(engine, state, slot, key, undefined)
}

function missed(engine: Engine, state: TenantState, slot: Slot, key: ValidKey, error: unknown): undefined {
  if (error !== undefined) engine.report(error, { operation: 'get', tier: slot.tier, state, key })
  count(state.counters.tierMisses, slot.cell)
  return undefined
}
