import type { Span } from '@opentelemetry/api'
import { isPromise, type ValidKey } from '@thermocline/backend'
import { FencedKey, type WideFence } from '../flights/fence.js'
import type { Plan, Slot } from '../policies/policy.js'
import type { Tier } from '../tiers/tier.js'
import { NO_SPAN } from '../telemetry/telemetry.js'
import { count } from '../state/counters.js'
import type { OperationHost } from '../operation/operation.js'
import { ReadOperation, wholeOptions } from '../operation/operation.js'
import { conclude } from './walk.js'
import type { TenantState } from '../state/tenant-state.js'
import { Found } from '../operation/found.js'
import { adoptedOrFailed, answeredByTier, askThen, type Answer } from './tier-access.js'

/** Keys in one question to a tier. */
const KEYS_AT_ONCE = 256

/** A key on its way through the tiers, together with others. */
export interface OnItsWay extends ReadOperation {
  /** What ends its way. */
  readonly found: Found | undefined
  /** What a tier has answered. */
  answered(slot: Slot, answer: Answer): void
}

/** One that is only read. */
class KeyOnItsWay extends ReadOperation implements OnItsWay {
  readonly span: Span
  found: Found | undefined = undefined

  constructor(engine: OperationHost, state: TenantState, key: ValidKey, plan: Plan, span: Span) {
    super(engine, state, key, plan, 'value', true)
    this.span = span
  }

  /** What a tier has answered. */
  answered(slot: Slot, answer: Answer): void {
    if (answer instanceof Found) this.found = answer
    else if (answer.wasAsked) count(this.state.counters.tierMisses, slot.cell)
  }
}

/**
 * `get` for many keys of one plan: each tier is asked once for what the faster ones did not have. Counts and promotes as
 * `get` does, key by key.
 */
export async function readMany(engine: OperationHost, state: TenantState, keys: readonly ValidKey[], plan: Plan): Promise<(Found | undefined)[]> {
  const { telemetry } = engine
  const fence = state.fences.openWide(keys)
  const spanOf = (key: ValidKey): Span => telemetry.startGet(key, state.tenant, plan.policy.name)
  const first = spanOf(keys[0] as ValidKey)
  const wanted = keys.map((key, at) => new KeyOnItsWay(engine, state, key, plan, at === 0 || first === NO_SPAN ? first : spanOf(key)))
  try {
    await walkTogether(wanted)
    concludeAll(wanted, fence)
    return wanted.map(({ found }) => found)
  } finally {
    state.fences.closeWide(fence)
    if (first !== NO_SPAN) for (const { span, found } of wanted) telemetry.endGet(span, found)
  }
}

/** Asks the tiers of the keys' plan, which they share, fastest first: each tier once for what the faster ones did not have. */
export async function walkTogether(wanted: readonly OnItsWay[]): Promise<void> {
  let missing = wanted
  for (let position = 0; missing.length > 0; position++) {
    const { engine, state, plan } = missing[0] as OnItsWay
    const slot = plan.slots[position]
    if (slot === undefined) return
    const { agreement } = engine
    if (agreement !== undefined) await Promise.all(missing.filter((one) => agreement.entersBefore(one, position)).map((one) => agreement.enter(one)))
    for (let at = 0; at < missing.length; at += KEYS_AT_ONCE) await askTogether(engine, state, slot, position, missing.slice(at, at + KEYS_AT_ONCE))
    missing = missing.filter(({ found }) => found === undefined)
  }
}

function concludeAll(wanted: readonly KeyOnItsWay[], fence: WideFence): void {
  for (const one of wanted) conclude(one, one.found, new FencedKey(one.key, fence))
}

/** Asks a tier for all keys at once, as far as it is the tier itself that answers. */
async function askTogether(engine: OperationHost, state: TenantState, slot: Slot, position: number, wanted: readonly OnItsWay[]): Promise<void> {
  const { tier } = slot
  const asked = answeredByTier(engine, state, wanted, tier)
  if (asked.length > 1) {
    try {
      await askBackend(tier, slot, position, asked)
      if (asked.length < wanted.length) await askAlone(slot, position, without(wanted, new Set(asked)))
      return
    } catch (error) {
      engine.report(error, { operation: 'get', tier, state })
      // what failed was the tier, not one of the keys
      if (!tier.readable) return await askAlone(slot, position, without(wanted, new Set(asked)))
    }
  }
  // one alone, those a fallback may have, and those of whom one spoiled the answer for all
  await askAlone(slot, position, wanted)
}

/** @throws what the tier fails with */
async function askBackend(tier: Tier, slot: Slot, position: number, asked: readonly OnItsWay[]): Promise<void> {
  const [{ engine, state, plan }] = asked as readonly [OnItsWay]
  const startedAt = engine.telemetry.bound ? engine.clock.monotonic() : 0
  const answer = tier.backend.getMany(state.scope, asked.map(({ key }) => key), wholeOptions(plan.policy.adopts, true))
  const entries = isPromise(answer) ? await answer : answer
  const now = engine.clock.now()
  for (let at = 0; at < asked.length; at++) {
    const one = asked[at] as OnItsWay
    const adopted = adoptedOrFailed(one, slot, position, entries[at], startedAt, now)
    one.answered(slot, isPromise(adopted) ? await adopted : adopted)
  }
}

function without(keys: readonly OnItsWay[], some: ReadonlySet<OnItsWay>): readonly OnItsWay[] {
  return keys.filter((one) => !some.has(one))
}

/** Asks a tier for each key by itself. */
async function askAlone(slot: Slot, position: number, wanted: readonly OnItsWay[]): Promise<void> {
  await Promise.all(wanted.map(async (one) => askThen(one, position, (answer) => one.answered(slot, answer))))
}
