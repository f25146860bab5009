import { instantAfter, type EntryDetails, type EntryFields, type EpochMs, type Metadata } from '@thermocline/backend'
import { keepUntil, type Plan, type Slot } from '../policies/policy.js'

/** What a call wishes for the entry it stores. */
export interface EntryWishes {
  readonly ttlMs?: number | undefined
  readonly computeMicros?: number | undefined
  readonly tags?: readonly string[] | undefined
  readonly metadata?: Metadata | undefined
}

/** Everything about an entry but its payload, as each slot stores it. */
export class Terms {
  readonly createdAt: EpochMs
  readonly #wishes: EntryWishes
  readonly #details: EntryDetails | undefined

  constructor(createdAt: EpochMs, { policy }: Plan, wishes: EntryWishes) {
    this.createdAt = createdAt
    this.#wishes = wishes
    this.#details = detailsOf(wishes, policy.contentType)
  }

  /** Milliseconds: the call's, the policy's, the tier's or the manager's, in this order. */
  ttlFor(slot: Slot): number {
    return this.#wishes.ttlMs ?? slot.policyTtlMs ?? slot.defaultTtlMs
  }

  expiresAt(slot: Slot): EpochMs {
    return instantAfter(this.createdAt, this.ttlFor(slot))
  }

  /** Until when the slot's tier may serve it, when it takes it in now. */
  keepUntil(slot: Slot, now: EpochMs): EpochMs {
    return keepUntil(slot, this.expiresAt(slot), now)
  }

  /** Whether a set writes it to the slot, awaited or later, as far as its life decides. */
  livesIn(slot: Slot): boolean {
    return (slot.write === 'through' || slot.write === 'back') && this.ttlFor(slot) > 0
  }

  fieldsFor(slot: Slot): EntryFields {
    return { createdAt: this.createdAt, expiresAt: this.expiresAt(slot), computeMicros: this.#wishes.computeMicros, details: this.#details }
  }
}

function detailsOf({ tags, metadata }: EntryWishes, contentType: string | undefined): EntryDetails | undefined {
  if (metadata === undefined && contentType === undefined && (tags === undefined || tags.length === 0)) return undefined
  return {
    ...(tags === undefined || tags.length === 0 ? {} : { tags: [...tags] }),
    ...(metadata === undefined ? {} : { metadata: { ...metadata } }),
    ...(contentType === undefined ? {} : { contentType }),
  }
}
