import { types } from 'node:util'
import { takeIn } from '../codec/isolate.js'
import { isPromise } from '../contract/awaitable.js'
import { CacheEntry, NO_VALUE, type EncodedPayload, type EntryDetails } from '../contract/entry.js'
import type { Awaitable, ReadOptions } from '../contract/backend.js'
import type { Fence, FencedKey } from '../compute/fence.js'
import type { EpochMs } from '../clock/clock.js'
import type { ValidKey } from '../keys/key.js'
import { keepUntil, type Plan, type Slot } from '../policies/policy.js'
import type { Tier } from '../tiers/tier.js'
import { count } from './counters.js'
import { tierAttributes, type Engine } from './engine.js'
import type { TenantState } from './tenant-state.js'
import { NotApplied } from '../tiers/outcome.js'

/** A fresh entry and where it was found. */
export interface Found {
  readonly entry: CacheEntry
  readonly slot: Slot
  /** The slot's place in the plan. */
  readonly position: number
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
    const { readable } = tier
    if (readable && !tier.lanes.mayAsk(state.scope, key)) continue
    const startedAt = engine.telemetry.bound ? engine.clock.monotonic() : 0
    const asked = options.want === 'head' ? LOOK : options.use ? USE : PASS
    let found: Found | undefined
    try {
      const answer = readable ? tier.backend.get(state.scope, key, asked) : tier.standIn?.get(state.scope, key, asked)
      if (isPromise(answer)) return walkOn(engine, state, key, plan, options, position, goOn, answer, startedAt)
      if (readable || answer !== undefined) found = accept(engine, slot, position, answer, options, startedAt)
    } catch (error) {
      engine.report(error, { operation: 'get', tier, state, key })
    }
    if (found !== undefined) return goOn(found)
    if (options.use && readable) count(state.counters.tierMisses, slot.cell)
  }
  return goOn(undefined)
}

/** When the tier at `position` has answered. */
function walkOn<T>(
  engine: Engine, state: TenantState, key: ValidKey, plan: Plan, options: WalkOptions, position: number, goOn: (found: Found | undefined) => Awaitable<T>,
  answer: Promise<CacheEntry | undefined>, startedAt: number,
): Promise<T> {
  const slot = plan.slots[position] as Slot
  const passOver = (error: unknown): Awaitable<T> => {
    if (error !== undefined) engine.report(error, { operation: 'get', tier: slot.tier, state, key })
    if (options.use) count(state.counters.tierMisses, slot.cell)
    return walkThen(engine, state, key, plan, options, position + 1, goOn)
  }
  return answer.then((entry) => {
    let found: Found | undefined
    try {
      found = accept(engine, slot, position, entry, options, startedAt)
    } catch (error) {
      return passOver(error)
    }
    return found === undefined ? passOver(undefined) : goOn(found)
  }, passOver)
}

/** What a tier answered, if it may be served; its value is made if it is wanted. */
export function accept(engine: Engine, slot: Slot, position: number, entry: CacheEntry | undefined, options: WalkOptions, startedAt: number, now = engine.clock.now()): Found | undefined {
  const { clock, telemetry } = engine
  if (telemetry.bound) telemetry.recordLatency({ ...tierAttributes(slot.tier), operation: 'get' }, clock.monotonic() - startedAt)
  if (entry === undefined || now >= entry.keepUntil) return undefined
  if (options.want === 'value' && entry.value === NO_VALUE && entry.encoded !== undefined) entry.value = engine.codecs.decode(entry.encoded)
  return { entry, slot, position }
}

/** What a read has come to: promotes and counts a hit, or counts a miss. */
export function conclude(engine: Engine, state: TenantState, key: ValidKey, plan: Plan, found: Found | undefined, fence: Fence | FencedKey, now?: EpochMs): void {
  const { events } = engine
  if (found === undefined) {
    count(state.counters.misses, plan.policy.index)
    if (events.wants('miss')) events.emit('miss', { tenant: state.tenant, key, policy: plan.policy.name })
    return
  }
  promote(engine, state, key, plan, found, fence, now)
  count(state.counters.hits, found.slot.cell)
  count(state.counters.savedMicros, found.slot.cell, found.entry.computeMicros)
  if (events.wants('hit')) events.emit('hit', { tenant: state.tenant, key, tier: found.slot.tier.name, policy: plan.policy.name })
}

/** How tiers are asked: for everything and as a use, without being one, or for the head only. */
export const USE: ReadOptions = { want: 'payload', touch: true }
const PASS: ReadOptions = { want: 'payload', touch: false }
const LOOK: ReadOptions = { want: 'head', touch: false }

/**
 * Copies a found entry into the faster tiers of the plan, with its instants as they are. Synchronous tiers have it when
 * this returns; the others are filled in the background. Nothing is written once the fence is broken, or where an
 * entry has appeared meanwhile.
 */
export function promote(engine: Engine, state: TenantState, key: ValidKey, plan: Plan, found: Found, fence: Fence | FencedKey, now = engine.clock.now()): void {
  for (let position = found.position - 1; position >= 0; position--) {
    const slot = plan.slots[position] as Slot
    if (!slot.promote || engine.closed) continue
    if (slot.tier.breaker.isOpen('write')) {
      if (slot.tier.standIn?.isActive !== true || fence.broken) continue
      const entry = copyFor(engine, plan, found.entry, slot.tier)
      slot.tier.standIn.store(state.scope, key, entry, keepUntil(slot, entry, now))
      continue
    }
    try {
      fillFrom(engine, state, key, plan, found, slot, fence, now)
    } catch (error) {
      engine.report(error, { operation: 'promote', tier: slot.tier, state, key })
    }
  }
}

function fillFrom(engine: Engine, state: TenantState, key: ValidKey, plan: Plan, found: Found, slot: Slot, fence: Fence | FencedKey, now: EpochMs): void {
  const { tier } = slot
  const entry = copyFor(engine, plan, found.entry, tier)
  if (!tier.takes(entry.encoded?.bytes.byteLength ?? 0)) return
  const slotTtlMs = slot.policyTtlMs ?? Number.POSITIVE_INFINITY
  const until = Math.min(keepUntil(slot, entry, now), now + slotTtlMs)
  if (tier.direct === undefined && !engine.background.hasRoom) return
  const filled = tier.lanes.fill(state.scope, key, entry, { onlyIfAbsent: true, keepUntil: until }, fence)
  if (!isPromise(filled)) return notePromotion(engine, state, key, plan, found, slot, filled)
  const release = state.fences.hold(fence) // the caller's hold may end before the write begins
  engine.background.run(filled.then((outcome) => notePromotion(engine, state, key, plan, found, slot, outcome)).finally(release))
}

function notePromotion(engine: Engine, state: TenantState, key: ValidKey, plan: Plan, found: Found, slot: Slot, outcome: boolean | NotApplied): void {
  const { tier } = slot
  if (outcome === true) {
    count(state.counters.promotions, slot.cell)
    if (engine.events.wants('promote')) engine.events.emit('promote', { tenant: state.tenant, key, from: found.slot.tier.name, to: tier.name, policy: plan.policy.name })
  } else if (outcome instanceof NotApplied && outcome.error !== undefined) {
    engine.report(outcome.error, { operation: 'promote', tier, state, key })
  }
}

/** The entry with the view the tier keeps, and without what belongs to the copy it was read from. */
function copyFor(engine: Engine, plan: Plan, entry: CacheEntry, tier: Tier): CacheEntry {
  // as it was read, where nothing in it belongs to the copy it was read from
  if (tier.capabilities.keeps === 'value' && entry.value !== NO_VALUE && entry.details === undefined && engine.isolation === 'share') return entry
  const fields = { createdAt: entry.createdAt, expiresAt: entry.expiresAt, computeMicros: entry.computeMicros, details: travelling(entry.details) }
  if (tier.capabilities.keeps === 'value') {
    if (entry.value === NO_VALUE && entry.encoded !== undefined) entry.value = engine.codecs.decode(entry.encoded)
    return new CacheEntry(takeIn(entry.value, engine.isolation), entry.encoded, fields)
  }
  entry.encoded ??= engine.codecs.encode(entry.value, plan.policy.codec)
  return new CacheEntry(NO_VALUE, apart(entry), fields)
}

/** The payload in memory that the receiver of the value cannot reach: raw bytes are handed out as they were read. */
function apart({ encoded, value }: CacheEntry): EncodedPayload | undefined {
  return encoded === undefined || value === NO_VALUE || !types.isUint8Array(value) ? encoded : { codec: encoded.codec, bytes: Buffer.from(encoded.bytes) }
}

function travelling(details: EntryDetails | undefined): EntryDetails | undefined {
  if (details?.keepUntil === undefined) return details
  const { keepUntil: _stays, ...travels } = details
  return Object.keys(travels).length === 0 ? undefined : travels
}
