import { isStreamed, StreamedEntry, type CacheEntry, type TenantScope, type ValidKey } from '@thermocline/backend'
import type { Fence } from '../flights/fence.js'
import { demotionSlot, keepUntil, type Slot } from '../policies/policy.js'
import { NotApplied } from '../tiers/outcome.js'
import type { Tier } from '../tiers/tier.js'
import type { OperationHost } from '../operation/operation.js'
import { count } from '../state/counters.js'
import { copyFor, packed, travellingFields } from './copies.js'
import type { EngineHost } from '../state/host.js'
import type { TenantState } from '../state/tenant-state.js'

/** Demotions at once. */
const AT_ONCE = 16
/** Entries in memory that wait for their turn; beyond, what is evicted is gone. A stream does not wait: it holds a file open. */
const MOST_WAITING = 1024

type DemotionHost = EngineHost & Pick<OperationHost, 'agreement'>

/**
 * Demotion: what a tier evicts for space goes to the next tier of its policy that is written so, once, as the bytes it has. It is a
 * fill like a promotion: whatever is there already stays, and an invalidation that comes meanwhile wins.
 */
export class Demotion {
  readonly #engine: DemotionHost
  readonly #possible: boolean
  readonly #waiting: (() => Promise<void>)[] = []
  #running = 0

  constructor(engine: DemotionHost) {
    this.#engine = engine
    this.#possible = engine.policies.all.some(({ slots }) => slots.some(({ write }) => write === 'demote'))
  }

  /** Whether what the tier evicts now, and would have to read, is to go anywhere. */
  wants(from: Tier, key: ValidKey): boolean {
    return this.#running < AT_ONCE && this.#slotFor(from, key) !== undefined
  }

  /** Takes what the tier has evicted; a stream that is not wanted is cancelled. */
  take(from: Tier, scope: TenantScope, key: ValidKey, entry: CacheEntry): void {
    const slot = this.#slotFor(from, key)
    const isFull = this.#running >= AT_ONCE && (isStreamed(entry) || this.#waiting.length >= MOST_WAITING)
    if (slot === undefined || isFull || !from.believes(entry)) {
      if (isStreamed(entry)) entry.payload.cancel()
      return
    }
    const state = this.#engine.tenants.of(scope.tenant)
    // now: an invalidation may come before its turn does. One that is under way has been applied in a synchronous tier, and
    // perhaps not in any other: what such a tier evicts may be the old value
    const isNewest = from.direct !== undefined
    const fence = isNewest ? state.fences.openLater(key) : state.fences.open(key)
    const close = (): void => (isNewest ? state.fences.closeLater(fence) : state.fences.close(fence))
    this.#waiting.push(() => this.#carryOut(from, slot, state, key, entry, fence).finally(close))
    this.#startNext()
  }

  #startNext(): void {
    if (this.#running >= AT_ONCE) return
    const next = this.#waiting.shift()
    if (next === undefined) return
    this.#running++
    this.#engine.background.run(
      next().finally(() => {
        this.#running--
        this.#startNext()
      }),
    )
  }

  #slotFor(from: Tier, key: ValidKey): Slot | undefined {
    if (!this.#possible || this.#engine.closed) return undefined
    const slot = demotionSlot(this.#engine.policies.forKey(key).slots, from)
    return slot === undefined || slot.tier.breaker.isOpen('write') ? undefined : slot
  }

  async #carryOut(from: Tier, slot: Slot, state: TenantState, key: ValidKey, evicted: CacheEntry, fence: Fence): Promise<void> {
    const engine = this.#engine
    const { tier } = slot
    try {
      const entry = await this.#copyOf(evicted, tier, state.scope, key)
      const now = engine.clock.now()
      if (entry === undefined || fence.broken || now >= entry.staleAt) return
      const lease = tier.queues.isAgreed ? await engine.agreement?.enterWithOwn(state, key) : undefined
      if (!from.believes(evicted)) return lease?.release()
      const outcome = await tier.queues.fill(state.scope, key, entry, { onlyIfAbsent: true, keepUntil: keepUntil(slot, entry.expiresAt, now), lease, belief: from.hearsOthers ? 'passed-on' : undefined }, fence)
      lease?.release()
      if (outcome === true) {
        count(state.counters.demotions, slot.cell)
        if (engine.events.wants('demote')) engine.events.emit('demote', { tenant: state.tenant, key, from: from.name, to: tier.name })
      } else if (outcome instanceof NotApplied && outcome.error !== undefined) engine.report(outcome.error, { operation: 'demote', tier, state, key })
    } finally {
      if (isStreamed(evicted)) evicted.payload.cancel() // where the put did not need it
    }
  }

  /** The entry as the tier takes it; a value is encoded and packed as its policy says. */
  async #copyOf(evicted: CacheEntry, tier: Tier, scope: TenantScope, key: ValidKey): Promise<CacheEntry | undefined> {
    const policy = this.#engine.policies.forKey(key)
    if (isStreamed(evicted)) return tier.capabilities.streams ? new StreamedEntry(evicted.payload, travellingFields(evicted)) : undefined
    const isNew = evicted.encoded === undefined
    const entry = copyFor(this.#engine, policy, evicted, tier)
    if (tier.capabilities.keeps === 'bytes') await packed(this.#engine, policy, entry, { tenant: scope.tenant, key }, isNew)
    return entry
  }
}
