import type { Span } from '@opentelemetry/api'
import type { Fence } from '../compute/fence.js'
import { isPromise } from '../contract/awaitable.js'
import type { Awaitable } from '../contract/backend.js'
import type { CacheEntry } from '../contract/entry.js'
import type { ValidKey } from '../keys/key.js'
import type { Plan, Slot } from '../policies/policy.js'
import { count } from './counters.js'
import type { Engine } from './engine.js'
import { accept, conclude, readOptions, walk, type Found } from './read.js'
import type { TenantState } from './tenant-state.js'

/** Keys in one question to a tier. */
const KEYS_AT_ONCE = 256
const VALUE_IN_USE = Object.freeze({ want: 'value', use: true } as const)

/** A key on its way through the tiers. */
interface Wanted {
  readonly key: ValidKey
  readonly span: Span
  readonly fence: Fence
  found: Found | undefined
}

/**
 * `get` for many keys of one plan: each tier is asked once for what the faster ones did not have. Counts and promotes as
 * `get` does, key by key.
 */
export async function readMany(engine: Engine, state: TenantState, keys: readonly ValidKey[], plan: Plan): Promise<(Found | undefined)[]> {
  const wanted = keys.map((key): Wanted => ({ key, span: engine.telemetry.startGet(key, state.tenant, plan.policy.name), fence: state.fences.open(key), found: undefined }))
  try {
    for (let position = 0; position < plan.slots.length; position++) {
      const missing = wanted.filter(({ found }) => found === undefined)
      for (let at = 0; at < missing.length; at += KEYS_AT_ONCE) await askTier(engine, state, plan, position, missing.slice(at, at + KEYS_AT_ONCE))
    }
    for (const { key, found, fence } of wanted) conclude(engine, state, key, plan, found, fence)
    return wanted.map(({ found }) => found)
  } finally {
    for (const { fence, span, found } of wanted) {
      state.fences.close(fence)
      engine.telemetry.endGet(span, found?.slot.tier.name)
    }
  }
}

async function askTier(engine: Engine, state: TenantState, plan: Plan, position: number, wanted: readonly Wanted[]): Promise<void> {
  const slot = plan.slots[position] as Slot
  const { tier } = slot
  const { writeBack } = engine
  const isPending = ({ key }: Wanted): boolean => !writeBack.isIdle && writeBack.pending(tier, state, key) !== undefined
  const asked = tier.readable ? wanted.filter((one) => tier.lanes.mayAsk(state.scope, one.key) && !isPending(one)) : []
  const pending = writeBack.isIdle ? [] : wanted.filter(isPending) // as it is now: their uploads may end while the others are asked for
  if (asked.length > 1) {
    try {
      const startedAt = engine.telemetry.bound ? engine.clock.monotonic() : 0
      const answer = tier.backend.getMany(state.scope, asked.map(({ key }) => key), readOptions(plan, VALUE_IN_USE))
      const entries = isPromise(answer) ? await answer : answer
      for (const [at, one] of asked.entries()) {
        const found = acceptOne(engine, state, slot, position, one.key, entries[at], startedAt)
        one.found = isPromise(found) ? await found : found
      }
      return await askAlone(engine, state, plan, position, pending)
    } catch (error) {
      engine.report(error, { operation: 'get', tier, state })
      if (!tier.readable) return await askAlone(engine, state, plan, position, pending) // what failed was the tier, not one of the keys
    }
  }
  // one alone, those a stand-in may have, and those of whom one spoiled the answer for all
  await askAlone(engine, state, plan, position, wanted)
}

/** Asks a tier for each key by itself. */
async function askAlone(engine: Engine, state: TenantState, plan: Plan, position: number, wanted: readonly Wanted[]): Promise<void> {
  const alone: Plan = { policy: plan.policy, slots: plan.slots.slice(0, position + 1), leftOut: plan.leftOut }
  await Promise.all(
    wanted.map(async (one) => {
      one.found = await walk(engine, state, one.key, alone, VALUE_IN_USE, position)
    }),
  )
}

/** What one tier has under one key; a payload that cannot be decoded is a miss. */
function acceptOne(engine: Engine, state: TenantState, slot: Slot, position: number, key: ValidKey, entry: CacheEntry | undefined, startedAt: number): Awaitable<Found | undefined> {
  const missed = (error: unknown): undefined => {
    if (error !== undefined) engine.report(error, { operation: 'get', tier: slot.tier, state, key })
    count(state.counters.tierMisses, slot.cell)
    return undefined
  }
  try {
    const found = accept(engine, slot, position, entry, VALUE_IN_USE, startedAt)
    return isPromise(found) ? found.catch(missed) : (found ?? missed(undefined))
  } catch (error) {
    return missed(error)
  }
}
