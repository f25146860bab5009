import type { EpochMs } from '../clock/clock.js'
import type { Metadata } from './entry.js'
import { validateKey, validateTenant } from '../keys/key.js'

/*
 * What the fields of a stored header can be, in frames and in the metadata of objects. A checksum says that bytes are as they were
 * written, not who wrote them: an instant that is NaN would never be over, a tag that is no string would throw in whoever reads it.
 */

/** A whole number of milliseconds. */
export function isInstant(value: number): boolean {
  return Number.isSafeInteger(value)
}

/** As it is stored: whole, and one beyond all reckoning is never. */
export function storedInstant(at: EpochMs): EpochMs {
  if (Number.isSafeInteger(at)) return at
  return at > Number.MAX_SAFE_INTEGER ? Number.POSITIVE_INFINITY : Math.max(Math.floor(at), Number.MIN_SAFE_INTEGER)
}

/** A number of bytes, of microseconds, a token. */
export function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0
}

/** Longer than any codec's id with its compression. */
const LONGEST_CODEC = 256

export function isCodecName(codec: string): boolean {
  return codec.length > 0 && codec.length <= LONGEST_CODEC
}

export function isTags(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((tag) => typeof tag === 'string')
}

export function isMetadata(value: unknown): value is Metadata {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && Object.values(value).every((text) => typeof text === 'string')
}

export function isKey(text: string): boolean {
  return passes(validateKey, text)
}

export function isTenant(text: string): boolean {
  return passes(validateTenant, text)
}

function passes(rule: (name: unknown) => unknown, text: string): boolean {
  try {
    rule(text)
    return true
  } catch {
    return false
  }
}
