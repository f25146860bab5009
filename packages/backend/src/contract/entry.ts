import type { EpochMs } from '../clock/clock.js'

/** A payload as bytes, with the codec that made them. */
export interface EncodedPayload {
  /** The id of the codec: how to turn the bytes back into a value. Compressed bytes say so: `json+gzip`. */
  readonly codec: string
  readonly bytes: Uint8Array
  /** How many bytes compressed ones are when they are decompressed, where that is known: more are refused. */
  readonly plainBytes?: number | undefined
}

/** User metadata: small facts kept beside the payload. */
export type Metadata = Readonly<Record<string, string>>

/** What few entries have. Kept in one object so that the many without it pay one field. */
export interface EntryDetails {
  /**
   * From when on the tier the entry was read from may not serve it, where that is before `expiresAt` (a tier's `maxTtl`).
   * It belongs to that stored copy. `put` gets its own in the options; promotion passes the entry on without it.
   */
  readonly keepUntil?: EpochMs | undefined
  /** For how long before `expiresAt` the entry is stale: its value is old, and served only to who asks for such. Milliseconds; absent: 0. */
  readonly staleMs?: number | undefined
  readonly tags?: readonly string[] | undefined
  readonly metadata?: Metadata | undefined
  /** The media type that the policy gives the payload, for stores that other tools read. */
  readonly contentType?: string | undefined
  /** Of a copy in a tier of a process's own: what the process had heard of others when it took the entry in. Belongs to that copy, as `keepUntil` does. */
  readonly heardUpTo?: string | undefined
  /** The fencing token of the write, once locks across processes exist. */
  readonly fence?: number | undefined
}

export interface EntryFields {
  readonly createdAt: EpochMs
  readonly expiresAt: EpochMs
  readonly computeMicros?: number | undefined
  readonly details?: EntryDetails | undefined
}

/** Until when a stored copy may be served as fresh. */
export function freshUntilOf({ expiresAt, details }: Pick<EntryFields, 'expiresAt' | 'details'>): EpochMs {
  if (details === undefined) return expiresAt
  const { keepUntil, staleMs = 0 } = details
  const staleAt = expiresAt - staleMs
  return keepUntil === undefined || keepUntil > staleAt ? staleAt : keepUntil
}

/** Stands for "the live value has not been made"; `undefined` is a value like any other. */
export const NO_VALUE: unique symbol = Symbol.for('thermocline.no-value') // the same in every copy of this package

/**
 * Instants are kept as distances from this one: V8 keeps whole numbers below 2^31 (24 days in milliseconds) inside the
 * object, while an epoch instant would be a separate 16 bytes. Greater distances work too, they only take that space.
 */
const BASE: EpochMs = Date.now()
const FOR_EVER = -1

/**
 * One cached thing: a payload, its instants, tags and metadata. The payload is seen as a live value or as encoded
 * bytes; each view is made once, when first asked for, by the manager, which knows the codecs. A backend gets the view
 * it keeps (`capabilities.keeps`) and never has to encode or decode.
 *
 * The record is flat on purpose: a memory tier stores one such object per entry, and every field costs 8 bytes a
 * million times.
 */
export class CacheEntry {
  /** The live value, or {@link NO_VALUE}. */
  value: unknown
  /** The encoded payload, or `undefined`. */
  encoded: EncodedPayload | undefined
  /** `createdAt` from {@link BASE}, and the life from there (`FOR_EVER`: no end). */
  readonly #bornMs: number
  readonly #lifeMs: number
  /** How long computing it took, in microseconds; `0` when it was set. What a hit on it saves. */
  readonly computeMicros: number
  readonly details: EntryDetails | undefined
  /** @internal what the manager noted at the first hit, to make the next ones cheap */
  hitNote: object | undefined

  /** @param details instead of those of `fields` */
  constructor(value: unknown, encoded: EncodedPayload | undefined, fields: EntryFields, details = fields.details) {
    this.value = value
    this.encoded = encoded
    this.#bornMs = fields.createdAt - BASE
    this.#lifeMs = fields.expiresAt === Number.POSITIVE_INFINITY ? FOR_EVER : Math.max(0, fields.expiresAt - fields.createdAt)
    this.computeMicros = fields.computeMicros ?? 0
    this.details = details
    this.hitNote = undefined
  }

  /** An entry known by its live value. */
  static ofValue(value: unknown, fields: EntryFields): CacheEntry {
    return new CacheEntry(value, undefined, fields)
  }

  /** An entry known by its bytes, as an adapter reads it. */
  static ofBytes(encoded: EncodedPayload, fields: EntryFields): CacheEntry {
    return new CacheEntry(NO_VALUE, encoded, fields)
  }

  /** An entry whose payload was not read (`want: 'head'`). */
  static head(fields: EntryFields): CacheEntry {
    return new CacheEntry(NO_VALUE, undefined, fields)
  }

  /** When the value was computed or set. */
  get createdAt(): EpochMs {
    return BASE + this.#bornMs
  }

  /** When its life ends, in whatever tier, and its stale window with it: never changed by promotion. `Infinity`: never. */
  get expiresAt(): EpochMs {
    return this.#lifeMs === FOR_EVER ? Number.POSITIVE_INFINITY : BASE + this.#bornMs + this.#lifeMs
  }

  /** From when on its value is old, in whatever tier; the same as `expiresAt` where there is no stale window. `Infinity`: never. */
  get staleAt(): EpochMs {
    return this.expiresAt - (this.details?.staleMs ?? 0)
  }

  /** Until when the tier it was read from may serve it as fresh. */
  get freshUntil(): EpochMs {
    return freshUntilOf(this)
  }

  /** From when on the tier it was read from may not serve it at all. */
  get keepUntil(): EpochMs {
    const keepUntil = this.details?.keepUntil
    return keepUntil === undefined || keepUntil > this.expiresAt ? this.expiresAt : keepUntil
  }
}
