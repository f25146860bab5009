import {
  estimateBytes,
  isPromise,
  NO_VALUE,
  type Awaitable,
  type CacheEntry,
  type EncodedPayload,
  type EpochMs,
  type ReadOptions,
  type ValidKey,
} from '@thermocline/backend'
import { decompressed, isCompressed } from '../codec/compression.js'
import type { Fence, FencedKey } from '../compute/fence.js'
import { keepUntil, promotedUntil, type Plan, type Slot } from '../policies/policy.js'
import { NotApplied } from '../tiers/outcome.js'
import { copyFor } from './copies.js'
import { countOutcome } from './count-outcome.js'
import { count } from './counters.js'
import { tierAttributes, type Engine } from './engine.js'
import { onPool } from './on-pool.js'
import type { TenantState } from './tenant-state.js'
import { askTier, NOBODY } from './tier-access.js'

/** A fresh entry and where it was found. */
export interface Found {
  readonly entry: CacheEntry
  readonly slot: Slot
  /** The slot's place in the plan. */
  readonly position: number
  /** When it was found. */
  readonly at: EpochMs
}

export interface WalkOptions {
  /** `value`: the payload is decoded; `head`: it is not read. */
  readonly want: 'value' | 'head'
  /** Whether the read counts as a use: for recency and in the counts of each tier. */
  readonly use: boolean
}

/**
 * Asks the tiers of a plan, fastest first and from `position` on, for a fresh entry. A tier that fails is reported and
 * passed over.
 */
export function walk(engine: Engine, state: TenantState, key: ValidKey, plan: Plan, options: WalkOptions, position = 0): Awaitable<Found | undefined> {
  return walkThen(engine, state, key, plan, options, position, itself)
}

function itself(found: Found | undefined): Found | undefined {
  return found
}

/**
 * As {@link walk}, and goes on with what was found in the step in which it was found. Not an async function: one promise for each
 * tier that has to be waited for is enough.
 */
export function walkThen<T>(engine: Engine, state: TenantState, key: ValidKey, plan: Plan, options: WalkOptions, position: number, goOn: (found: Found | undefined) => Awaitable<T>): Awaitable<T> {
  for (; position < plan.slots.length; position++) {
    const slot = plan.slots[position] as Slot
    const { tier } = slot
    const startedAt = engine.telemetry.bound ? engine.clock.monotonic() : 0
    let found: Found | undefined
    try {
      const answer = askTier(engine, state, key, tier, readOptions(plan, options))
      if (answer === NOBODY) continue
      if (isPromise(answer)) return walkOn(engine, state, key, plan, options, position, goOn, answer, startedAt)
      const accepted = accept(engine, slot, position, answer, options, startedAt)
      if (isPromise(accepted)) return accepted.then(goOn, (error: unknown) => passOver(engine, state, key, plan, options, position, goOn, error))
      found = accepted
    } catch (error) {
      engine.report(error, { operation: 'get', tier, state, key })
    }
    if (found !== undefined) return goOn(found)
    if (options.use && tier.readable) count(state.counters.tierMisses, slot.cell)
  }
  return goOn(undefined)
}

/** When the tier at `position` has answered. */
function walkOn<T>(
  engine: Engine, state: TenantState, key: ValidKey, plan: Plan, options: WalkOptions, position: number, goOn: (found: Found | undefined) => Awaitable<T>,
  answer: Promise<CacheEntry | undefined>, startedAt: number,
): Promise<T> {
  const goPast = (error: unknown): Awaitable<T> => passOver(engine, state, key, plan, options, position, goOn, error)
  return answer.then((entry) => {
    let found: Awaitable<Found | undefined>
    try {
      found = accept(engine, plan.slots[position] as Slot, position, entry, options, startedAt)
    } catch (error) {
      return goPast(error)
    }
    if (isPromise(found)) return found.then(goOn, goPast)
    return found === undefined ? goPast(undefined) : goOn(found)
  }, goPast)
}

/** A tier that was waited for had nothing, or failed: goes on with the next. */
function passOver<T>(engine: Engine, state: TenantState, key: ValidKey, plan: Plan, options: WalkOptions, position: number, goOn: (found: Found | undefined) => Awaitable<T>, error: unknown): Awaitable<T> {
  const slot = plan.slots[position] as Slot
  if (error !== undefined) engine.report(error, { operation: 'get', tier: slot.tier, state, key })
  if (options.use) count(state.counters.tierMisses, slot.cell)
  return walkThen(engine, state, key, plan, options, position + 1, goOn)
}

/** What a tier answered, if it may be served; its value is made if it is wanted. A promise only where that has to be decompressed. */
export function accept(engine: Engine, slot: Slot, position: number, entry: CacheEntry | undefined, options: WalkOptions, startedAt: number, now = engine.clock.now()): Awaitable<Found | undefined> {
  const { clock, telemetry } = engine
  if (telemetry.bound) telemetry.recordLatency({ ...tierAttributes(slot.tier), operation: 'get' }, clock.monotonic() - startedAt)
  if (entry === undefined || now >= entry.keepUntil) return undefined
  if (options.want === 'value' && entry.value === NO_VALUE && entry.encoded !== undefined) {
    if (isCompressed(entry.encoded.codec)) return unpacked(engine, { entry, slot, position, at: now }, entry.encoded)
    entry.value = engine.codecs.decode(entry.encoded)
  }
  return { entry, slot, position, at: now }
}

/** Makes the value of compressed bytes; they stay as they are, for faster tiers. */
async function unpacked(engine: Engine, found: Found, encoded: EncodedPayload): Promise<Found> {
  found.entry.value = engine.codecs.decode(await onPool('decode', encoded.bytes.byteLength, decompressed(encoded)))
  return found
}

/** What a read has come to: promotes and counts a hit, or counts a miss. */
export function conclude(engine: Engine, state: TenantState, key: ValidKey, plan: Plan, found: Found | undefined, fence: Fence | FencedKey): void {
  if (found !== undefined) promote(engine, state, key, plan, found, fence)
  countOutcome(engine, state, key, plan, found?.slot, found?.entry.computeMicros)
}

/** How tiers are asked: for everything and as a use, without being one, or for the head only. */
const USE: ReadOptions = { want: 'payload', touch: true }
const PASS: ReadOptions = { want: 'payload', touch: false }
const LOOK: ReadOptions = { want: 'head', touch: false }
/** The same by policies that take other tools' objects for entries. */
const ADOPTING_USE: ReadOptions = { ...USE, adopt: true }
const ADOPTING_PASS: ReadOptions = { ...PASS, adopt: true }
const ADOPTING_LOOK: ReadOptions = { ...LOOK, adopt: true }

export function readOptions({ policy }: Plan, { want, use }: WalkOptions): ReadOptions {
  if (policy.adopts) return want === 'head' ? ADOPTING_LOOK : use ? ADOPTING_USE : ADOPTING_PASS
  return want === 'head' ? LOOK : use ? USE : PASS
}

/**
 * Copies a found entry into the faster tiers of the plan, with its instants as they are. Synchronous tiers have it when
 * this returns; the others are filled in the background. Nothing is written once the fence is broken, or where an
 * entry has appeared meanwhile.
 */
export function promote(engine: Engine, state: TenantState, key: ValidKey, plan: Plan, found: Found, fence: Fence | FencedKey): void {
  for (let position = found.position - 1; position >= 0; position--) {
    const slot = plan.slots[position] as Slot
    if (!slot.promote || slot.write === 'demote' || engine.closed) continue
    if (slot.tier.breaker.isOpen('write')) {
      if (slot.tier.fallback?.isActive !== true || fence.broken) continue
      const entry = copyFor(engine, plan.policy, found.entry, slot.tier)
      slot.tier.fallback.store(state.scope, key, entry, keepUntil(slot, entry.expiresAt, found.at))
      continue
    }
    try {
      fillFrom(engine, state, key, plan, found, slot, fence)
    } catch (error) {
      engine.report(error, { operation: 'promote', tier: slot.tier, state, key })
    }
  }
}

function fillFrom(engine: Engine, state: TenantState, key: ValidKey, plan: Plan, found: Found, slot: Slot, fence: Fence | FencedKey): void {
  const { tier } = slot
  const entry = copyFor(engine, plan.policy, found.entry, tier)
  if (!tier.takes(sizeOf(entry, found.entry))) return
  if (tier.direct === undefined && !engine.background.hasRoom) return
  const filled = tier.queues.fill(state.scope, key, entry, { onlyIfAbsent: true, keepUntil: promotedUntil(slot, entry.expiresAt, found.at) }, fence)
  if (!isPromise(filled)) return notePromotion(engine, state, key, plan, found.slot, slot, filled)
  const release = state.fences.hold(fence) // the caller's hold may end before the write begins
  engine.background.run(filled.then((outcome) => notePromotion(engine, state, key, plan, found.slot, slot, outcome)).finally(release))
}

/** Bytes of a payload, as far as they are known: how small it is when compressed says nothing about its value. */
function sizeOf({ encoded, value }: CacheEntry, { encoded: read }: CacheEntry): number {
  if (encoded !== undefined) return encoded.bytes.byteLength
  return read !== undefined && isCompressed(read.codec) ? estimateBytes(value) : 0
}

export function notePromotion(engine: Engine, state: TenantState, key: ValidKey, plan: Plan, from: Slot, slot: Slot, outcome: boolean | NotApplied): void {
  const { tier } = slot
  if (outcome === true) {
    count(state.counters.promotions, slot.cell)
    if (engine.events.wants('promote')) engine.events.emit('promote', { tenant: state.tenant, key, from: from.tier.name, to: tier.name, policy: plan.policy.name })
  } else if (outcome instanceof NotApplied && outcome.error !== undefined) {
    engine.report(outcome.error, { operation: 'promote', tier, state, key })
  }
}
