import { estimateBytes, isPromise, type CacheEntry } from '@thermocline/backend'
import { isPacked } from '../codec/payloads.js'
import type { Fence, FencedKey } from '../flights/fence.js'
import { keepUntil, promotedUntil, type Slot } from '../policies/policy.js'
import { NotApplied } from '../tiers/outcome.js'
import type { StoreOptions } from '../tiers/write-queues.js'
import { copyFor, packed } from './copies.js'
import { count } from '../state/counters.js'
import type { Operation } from '../operation/operation.js'
import type { Found } from '../operation/found.js'

/**
 * Copies a found entry into the faster tiers of the plan, with its instants as they are. Synchronous tiers have it when
 * this returns; the others are filled in the background. Nothing is written once the fence is broken, or where an
 * entry has appeared meanwhile.
 */
export function promote(operation: Operation, found: Found, fence: Fence | FencedKey): void {
  const { engine, state, key, plan } = operation
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
      fillFrom(operation, found, slot, fence)
    } catch (error) {
      operation.report(error, 'promote', slot.tier)
    }
  }
}

function fillFrom(operation: Operation, found: Found, slot: Slot, fence: Fence | FencedKey): void {
  const { engine, state, key, plan } = operation
  const { tier } = slot
  const isNew = found.entry.encoded === undefined
  const entry = copyFor(engine, plan.policy, found.entry, tier)
  if (!tier.takes(sizeOf(entry, found.entry))) return
  if (tier.direct === undefined && !engine.background.hasRoom) return
  const ready = tier.capabilities.keeps === 'bytes' ? packed(engine, plan.policy, entry, operation.place, isNew) : undefined
  const limitMs = tier.hearsOthers ? found.slot.tier.limitMs(found.entry) : Number.POSITIVE_INFINITY
  const until = Math.min(promotedUntil(slot, entry.expiresAt, found.at), found.at + limitMs)
  const options = { onlyIfAbsent: true, keepUntil: until, lease: operation.line, belief: operation.beliefOf(found.slot.tier) }
  const isOwn = tier.queues.isAgreed && operation.line === undefined && found.slot.tier.hearsOthers
  const filled = isOwn ? fillWithOwn(operation, slot, entry, options, fence, ready) : tier.queues.fill(state.scope, key, entry, options, fence, ready)
  if (!isPromise(filled)) return notePromotion(operation, found.slot, slot, filled)
  const release = state.fences.hold(fence) // the caller's hold may end before the write begins
  engine.background.run(filled.then((outcome) => notePromotion(operation, found.slot, slot, outcome)).finally(release))
}

/** What this process keeps itself goes into the tier over which processes agree when everything that others have said is carried out: then the fence is broken, or it is as good as theirs. */
async function fillWithOwn({ engine, state, key }: Operation, { tier }: Slot, entry: CacheEntry, options: StoreOptions, fence: Fence | FencedKey, ready: Promise<unknown> | undefined): Promise<boolean | NotApplied> {
  const lease = await engine.agreement?.enterWithOwn(state, key)
  if (lease === undefined) return false
  try {
    return await tier.queues.fill(state.scope, key, entry, { ...options, lease }, fence, ready)
  } finally {
    lease.release()
  }
}

/** Bytes of a payload, as far as they are known: how small it is when compressed says nothing about its value. */
function sizeOf({ encoded, value }: CacheEntry, { encoded: read }: CacheEntry): number {
  if (encoded !== undefined) return encoded.bytes.byteLength
  return read !== undefined && isPacked(read.codec) ? estimateBytes(value) : 0
}

export function notePromotion(operation: Operation, from: Slot, slot: Slot, outcome: boolean | NotApplied): void {
  const { engine, state, key, plan } = operation
  const { tier } = slot
  if (outcome === true) {
    count(state.counters.promotions, slot.cell)
    if (engine.events.wants('promote')) engine.events.emit('promote', { tenant: state.tenant, key, from: from.tier.name, to: tier.name, policy: plan.policy.name })
  } else if (outcome instanceof NotApplied && outcome.error !== undefined) operation.report(outcome.error, 'promote', tier)
}
