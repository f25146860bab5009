import { types } from 'node:util'
import { CacheEntry, NO_VALUE, type EncodedPayload, type EntryDetails, type EntryFields } from '@thermocline/backend'
import type { PayloadPlace } from '../codec/payload-step.js'
import { isPacked, isToBePacked } from '../codec/payloads.js'
import { takeIn } from '../codec/isolate.js'
import type { Policy } from '../policies/policy.js'
import type { Tier } from '../tiers/tier.js'
import type { EngineHost } from '../state/host.js'

/** An entry with the view another tier keeps, and without what belongs to the copy it was read from. Its value has been made, or its bytes are there. */
export function copyFor(engine: EngineHost, policy: Policy, entry: CacheEntry, tier: Tier): CacheEntry {
  const keepsValues = tier.capabilities.keeps === 'value'
  // as it was read, where nothing in it belongs to the copy it was read from
  if (keepsValues && entry.value !== NO_VALUE && entry.details === undefined && engine.isolation === 'share' && !hasPackedBytes(entry)) return entry
  if (keepsValues) {
    if (entry.value === NO_VALUE && entry.encoded !== undefined) entry.value = engine.codecs.decode(entry.encoded)
    // packed bytes say nothing about the size of the value
    return new CacheEntry(takeIn(entry.value, engine.isolation), hasPackedBytes(entry) ? undefined : entry.encoded, travellingFields(entry))
  }
  entry.encoded ??= engine.codecs.encode(entry.value, policy.codec)
  return new CacheEntry(NO_VALUE, apart(entry), travellingFields(entry))
}

/**
 * Packs an entry's bytes as its policy says, if they are not packed yet. Bytes that some tier had are left as they are, but for what must not be left out.
 * Resolves when the entry has them; `undefined`: it does. What must not be stored as it is and cannot be packed is left without bytes, which no tier takes, and reported.
 *
 * @param isNew whether the bytes were made just now
 */
export function packed(engine: EngineHost, policy: Policy, entry: CacheEntry, place: PayloadPlace, isNew: boolean): Promise<void> | undefined {
  const { encoded } = entry
  if (encoded === undefined) return undefined
  const done = encoded.codec.split('+').slice(1)
  const steps = policy.steps.filter(({ id, optionalFrom }) => !done.includes(id) && (isNew || optionalFrom === undefined))
  if (!isToBePacked(steps, encoded.bytes.byteLength)) return undefined
  return engine.payloads.pack(encoded, steps, place).then(
    (payload) => {
      entry.encoded = payload
    },
    (error: unknown) => {
      entry.encoded = undefined
      engine.report(error, { operation: 'encode', state: engine.tenants.peek(place.tenant), key: place.key })
    },
  )
}

/** What an entry takes along to another tier: its instants as they are. */
export function travellingFields(entry: CacheEntry): EntryFields {
  return { createdAt: entry.createdAt, expiresAt: entry.expiresAt, computeMicros: entry.computeMicros, details: travelling(entry.details) }
}

function hasPackedBytes({ encoded }: CacheEntry): boolean {
  return encoded !== undefined && isPacked(encoded.codec)
}

/** The payload in memory that the receiver of the value cannot reach: raw bytes are handed out as they were read. */
function apart({ encoded, value }: CacheEntry): EncodedPayload | undefined {
  return encoded === undefined || isPacked(encoded.codec) || value === NO_VALUE || !types.isUint8Array(value) ? encoded : { codec: encoded.codec, bytes: Buffer.from(encoded.bytes) }
}

function travelling(details: EntryDetails | undefined): EntryDetails | undefined {
  if (details === undefined || (details.keepUntil === undefined && details.heardUpTo === undefined)) return details
  const { keepUntil: _stays, heardUpTo: _too, ...travels } = details
  return Object.keys(travels).length === 0 ? undefined : travels
}
