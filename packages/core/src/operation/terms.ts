import { instantAfter, type EntryDetails, type EntryFields, type EpochMs, type Metadata } from '@thermocline/backend'
import { keepUntil, type Plan, type Slot } from '../policies/policy.js'

/** What a call wishes for the entry it stores. */
export interface EntryWishes {
  readonly ttlMs?: number | undefined
  readonly computeMicros?: number | undefined
  readonly tags?: readonly string[] | undefined
  readonly metadata?: Metadata | undefined
  /** How long it is kept when it is not fresh any more, instead of what the plan says; then without jitter. */
  readonly windowMs?: number | undefined
}

/** Everything about an entry but its payload, as each slot stores it. */
export class Terms {
  readonly createdAt: EpochMs
  readonly #wishes: EntryWishes
  readonly #details: EntryDetails | undefined
  /** How long it is kept when it is not fresh any more, in milliseconds. */
  readonly #windowMs: number
  /** The longest of the slots' times to live: only there it is kept as stale, as before that a slower tier still has it fresh. */
  readonly #longestTtlMs: number
  /** What jitter leaves of a ttl: one draw for all slots. */
  readonly #share: number

  constructor(createdAt: EpochMs, { policy, freshness, slots }: Plan, wishes: EntryWishes) {
    this.createdAt = createdAt
    this.#wishes = wishes
    this.#share = freshness.jitter === 0 || wishes.windowMs !== undefined ? 1 : 1 - freshness.jitter * Math.random()
    this.#windowMs = wishes.windowMs ?? freshness.windowMs
    this.#longestTtlMs = this.#windowMs === 0 ? 0 : Math.max(0, ...slots.filter((slot) => this.livesIn(slot)).map((slot) => this.ttlFor(slot)))
    this.#details = detailsOf(wishes, policy.contentType, this.#windowMs)
  }

  /** Milliseconds: the call's, the policy's, the tier's or the manager's, in this order; shortened by jitter. */
  ttlFor(slot: Slot): number {
    const ttlMs = this.#wishes.ttlMs ?? slot.policyTtlMs ?? slot.defaultTtlMs
    return this.#share === 1 || ttlMs === Number.POSITIVE_INFINITY ? ttlMs : Math.ceil(ttlMs * this.#share)
  }

  /** The end of its stale window. */
  expiresAt(slot: Slot): EpochMs {
    return instantAfter(this.createdAt, this.ttlFor(slot) + this.#windowMs)
  }

  /** Until when the slot's tier may serve it, when it takes it in now. */
  keepUntil(slot: Slot, now: EpochMs): EpochMs {
    const ttlMs = this.ttlFor(slot)
    const end = ttlMs < this.#longestTtlMs ? instantAfter(this.createdAt, ttlMs) : this.expiresAt(slot)
    return keepUntil(slot, end, now)
  }

  /** Whether a set writes it to the slot, awaited or later, as far as its life decides. */
  livesIn(slot: Slot): boolean {
    return (slot.write === 'through' || slot.write === 'back') && this.ttlFor(slot) > 0
  }

  fieldsFor(slot: Slot): EntryFields {
    return { createdAt: this.createdAt, expiresAt: this.expiresAt(slot), computeMicros: this.#wishes.computeMicros, details: this.#details }
  }
}

function detailsOf({ tags, metadata }: EntryWishes, contentType: string | undefined, staleMs: number): EntryDetails | undefined {
  if (staleMs === 0 && metadata === undefined && contentType === undefined && (tags === undefined || tags.length === 0)) return undefined
  return {
    ...(tags === undefined || tags.length === 0 ? {} : { tags: [...tags] }),
    ...(metadata === undefined ? {} : { metadata: { ...metadata } }),
    ...(contentType === undefined ? {} : { contentType }),
    ...(staleMs === 0 ? {} : { staleMs }),
  }
}
