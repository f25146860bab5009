import { types } from 'node:util'
import { cloneValue, takeIn } from '../codec/isolate.js'
import type { Fence } from '../compute/fence.js'
import { isPromise } from '../contract/awaitable.js'
import type { Awaitable } from '../contract/backend.js'
import { CacheEntry, NO_VALUE, type EncodedPayload, type EntryDetails, type Metadata } from '../contract/entry.js'
import { CacheError } from '../errors/cache-error.js'
import type { ValidKey } from '../keys/key.js'
import { keepUntil, type Plan, type Slot } from '../policies/policy.js'
import { NotApplied } from '../tiers/outcome.js'
import type { Tier } from '../tiers/tier.js'
import { instantAfter } from '../time/duration.js'
import { tierAttributes, type Engine } from './engine.js'
import type { TenantState } from './tenant-state.js'

/** What is to be stored, and the call's wishes. */
export interface Storable {
  readonly value: unknown
  readonly ttlMs?: number | undefined
  readonly computeMicros?: number | undefined
  readonly tags?: readonly string[] | undefined
  readonly metadata?: Metadata | undefined
}

/** A value taken in: later changes to the caller's object change nothing of it. */
export class Taken {
  readonly encoded: EncodedPayload | undefined
  readonly #live: unknown
  readonly #item: Storable
  readonly #createdAt: number
  readonly #details: EntryDetails | undefined
  #forValues: CacheEntry | undefined
  #forBytes: CacheEntry | undefined

  /** @throws CacheError `not-encodable` when a tier of the plan needs bytes and the codec refuses the value */
  constructor(engine: Engine, plan: Plan, item: Storable) {
    this.#item = item
    this.#createdAt = engine.clock.now()
    this.#details = detailsOf(item)
    const needsBytes = plan.policy.codec !== undefined || plan.slots.some((slot) => slot.tier.capabilities.keeps === 'bytes')
    if (needsBytes) this.encoded = engine.codecs.encode(item.value, plan.policy.codec)
    if (plan.slots.some((slot) => slot.tier.capabilities.keeps === 'value')) this.#live = this.#takeLive(engine)
  }

  /** The entry as one slot stores it. Slots with the same time to live share one entry per view. */
  entryFor(slot: Slot): CacheEntry {
    const expiresAt = instantAfter(this.#createdAt, this.ttlFor(slot))
    const fields = { createdAt: this.#createdAt, expiresAt, computeMicros: this.#item.computeMicros, details: this.#details }
    if (slot.tier.capabilities.keeps === 'value') {
      if (this.#forValues?.expiresAt !== expiresAt) this.#forValues = new CacheEntry(this.#live, this.encoded, fields)
      return this.#forValues
    }
    if (this.#forBytes?.expiresAt !== expiresAt) this.#forBytes = new CacheEntry(NO_VALUE, this.encoded, fields)
    return this.#forBytes
  }

  /** Milliseconds: the call's, the policy's, the tier's or the manager's, in this order. */
  ttlFor(slot: Slot): number {
    return this.#item.ttlMs ?? slot.policyTtlMs ?? slot.defaultTtlMs
  }

  /** Whether the slot is to hold it: written through, with a life, and not too large. */
  belongsIn(slot: Slot): boolean {
    return slot.write === 'through' && this.ttlFor(slot) > 0 && slot.tier.takes(this.encoded?.bytes.byteLength ?? 0)
  }

  #takeLive(engine: Engine): unknown {
    const { value } = this.#item
    try {
      // bytes are taken out of the caller's reach, and out of the reach of whoever gets them while a slower tier still writes
      return this.encoded !== undefined && types.isUint8Array(value) ? cloneValue(value) : takeIn(value, engine.isolation)
    } catch (cause) {
      throw new CacheError('not-encodable', `the value cannot be copied for isolation '${engine.isolation}'`, { operation: 'encode', cause })
    }
  }
}

/** Carries out a `set`: each tier that the plan concerns stores the value or loses the key. */
export async function setEverywhere(engine: Engine, state: TenantState, key: ValidKey, plan: Plan, taken: Taken): Promise<void> {
  const end = state.invalidating(key)
  const steps: { tier: Tier; outcome: Awaitable<unknown> }[] = []
  for (const slot of plan.slots) {
    const { lanes } = slot.tier
    const entry = taken.belongsIn(slot) ? taken.entryFor(slot) : undefined
    const outcome =
      entry === undefined
        ? lanes.delete(state.scope, key)
        : lanes.set(state.scope, key, entry, { onlyIfAbsent: false, keepUntil: keepUntil(slot, entry, entry.createdAt) })
    steps.push({ tier: slot.tier, outcome })
  }
  for (const tier of plan.leftOut) steps.push({ tier, outcome: tier.lanes.delete(state.scope, key) })
  const lost: CacheError[] = []
  try {
    for (const { tier, outcome } of steps) {
      const settled = isPromise(outcome) ? await timed(engine, tier, outcome) : outcome
      if (settled instanceof NotApplied) noteFailure(engine, state, key, 'set', tier, settled, lost)
    }
  } finally {
    end()
  }
  if (lost.length > 0) throw notRecorded('set', state, key, lost)
}

/**
 * Deletes the key in every tier the plan concerns, slowest first, so that no other process finds in a slow tier what a
 * fast one has just lost and promotes it. True when a tier had it, `undefined` when none can tell.
 */
export async function deleteEverywhere(engine: Engine, state: TenantState, key: ValidKey, plan: Plan): Promise<boolean | undefined> {
  const end = state.invalidating(key)
  let deleted: boolean | undefined = false
  const lost: CacheError[] = []
  // its place in every tier is taken now, so what is called later comes later everywhere
  let slower: Promise<unknown> | undefined
  const steps = concerned(plan).map((tier) => {
    const outcome = tier.lanes.delete(state.scope, key, slower)
    if (isPromise(outcome)) slower = outcome
    return { tier, outcome }
  })
  try {
    for (const { tier, outcome: answer } of steps) {
      const outcome = isPromise(answer) ? await answer : answer
      if (outcome instanceof NotApplied) noteFailure(engine, state, key, 'delete', tier, outcome, lost)
      if (typeof outcome === 'number') deleted = outcome > 0 ? true : deleted
      else if (deleted === false) deleted = undefined
    }
  } finally {
    end()
  }
  if (lost.length > 0) throw notRecorded('delete', state, key, lost)
  return deleted
}

/** Clears the prefix in every tier, slowest first. The most that any tier removed; `undefined` when none can tell. */
export async function clearEverywhere(engine: Engine, state: TenantState, prefix: string): Promise<number | undefined> {
  const end = state.invalidatingPrefix(prefix)
  let removed: number | undefined
  const lost: CacheError[] = []
  let slower: Promise<unknown> | undefined
  const steps = [...engine.tiers].reverse().map((tier) => {
    const answer = tier.lanes.clear(state.scope, prefix, slower)
    slower = answer
    return { tier, answer }
  })
  try {
    for (const { tier, answer } of steps) {
      const outcome = await answer
      if (outcome instanceof NotApplied) noteFailure(engine, state, undefined, 'clear', tier, outcome, lost)
      else if (outcome !== undefined) removed = Math.max(removed ?? 0, outcome)
    }
  } finally {
    end()
  }
  if (lost.length > 0) throw notRecorded('clear', state, undefined, lost)
  return removed
}

/** Stores a computed value where the plan says, unless an invalidation has come since the fence was opened. */
export function fillEverywhere(engine: Engine, state: TenantState, key: ValidKey, plan: Plan, taken: Taken, fence: Fence): Awaitable<unknown> {
  let waits: Promise<unknown> | undefined
  for (const slot of plan.slots) {
    const filled = fillOne(engine, state, key, slot, taken, fence)
    if (filled !== undefined) waits = waits === undefined ? filled : Promise.all([waits, filled])
  }
  // a tier that the call left out was not asked; what it may hold is older than what was just computed
  for (const tier of plan.leftOut) {
    const left = noted(engine, state, key, tier, tier.lanes.deleteUnlessBroken(state.scope, key, fence))
    if (left !== undefined) waits = waits === undefined ? left : Promise.all([waits, left])
  }
  return waits
}

function fillOne(engine: Engine, state: TenantState, key: ValidKey, slot: Slot, taken: Taken, fence: Fence): Promise<unknown> | undefined {
  const { tier } = slot
  const belongs = taken.belongsIn(slot)
  if (tier.breaker.isOpen('write')) {
    if (belongs && !fence.broken && tier.standIn?.isActive === true) {
      const entry = taken.entryFor(slot)
      tier.standIn.store(state.scope, key, entry, keepUntil(slot, entry, engine.clock.now()))
    }
    return undefined
  }
  if (belongs) {
    const entry = taken.entryFor(slot)
    return noted(engine, state, key, tier, tier.lanes.fill(state.scope, key, entry, { onlyIfAbsent: false, keepUntil: keepUntil(slot, entry, engine.clock.now()) }, fence))
  }
  return taken.ttlFor(slot) === 0 ? noted(engine, state, key, tier, tier.lanes.deleteUnlessBroken(state.scope, key, fence)) : undefined
}

/** Reports what went wrong; a promise only where there is something to wait for. */
function noted(engine: Engine, state: TenantState, key: ValidKey, tier: Tier, outcome: Awaitable<unknown>): Promise<void> | undefined {
  const note = (settled: unknown): void => {
    if (settled instanceof NotApplied && settled.error !== undefined) engine.report(settled.error, { operation: 'put', tier, state, key })
  }
  if (isPromise(outcome)) return timed(engine, tier, outcome).then(note)
  note(outcome)
  return undefined
}

function timed<T>(engine: Engine, tier: Tier, outcome: Promise<T>): Promise<T> {
  if (!engine.telemetry.bound) return outcome
  const startedAt = engine.clock.monotonic()
  return outcome.then((settled) => {
    engine.telemetry.recordLatency({ ...tierAttributes(tier), operation: 'put' }, engine.clock.monotonic() - startedAt)
    return settled
  })
}

/** The tiers a delete concerns, slowest first. */
function concerned(plan: Plan): Tier[] {
  return [...plan.slots.map((slot) => slot.tier), ...plan.leftOut].sort((a, b) => b.index - a.index)
}

function noteFailure(engine: Engine, state: TenantState, key: ValidKey | undefined, operation: string, tier: Tier, outcome: NotApplied, lost: CacheError[]): void {
  if (outcome.error === undefined) return
  engine.report(outcome.error, { operation, tier, state, key })
  if (outcome.how === 'lost') lost.push(outcome.error)
}

function notRecorded(operation: string, state: TenantState, key: ValidKey | undefined, causes: readonly CacheError[]): CacheError {
  return new CacheError('not-recorded', `${operation} could neither be applied in every tier nor recorded for later, because the tier's limit of pending invalidations (maxRecords) is reached: ${causes.map((cause) => cause.message).join('; ')}`, {
    operation,
    tenant: state.tenant,
    key,
    cause: causes[0],
  })
}

function detailsOf({ tags, metadata }: Storable): EntryDetails | undefined {
  if (metadata === undefined && (tags === undefined || tags.length === 0)) return undefined
  return {
    ...(tags === undefined || tags.length === 0 ? {} : { tags: [...tags] }),
    ...(metadata === undefined ? {} : { metadata: { ...metadata } }),
  }
}

