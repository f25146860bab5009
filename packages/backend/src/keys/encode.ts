import { sha256 } from './sha256.js'

/**
 * Injective encoders from any legal name (key or tenant) to what a store accepts. They escape; they never strip and
 * never merge two names into one. Adapters pick the one their store needs:
 *
 * - {@link encodeCaseExact}: one segment for stores that keep letter case apart (object stores, case-exact disks)
 * - {@link encodeCaseFolded}: one file name that stays distinct on file systems that fold case (APFS, NTFS, some mounts)
 * - {@link fitOrHash}: for names beyond the store's limit
 */

const SAFE_EXACT = /^[A-Za-z0-9_-][A-Za-z0-9._-]*$/
const SAFE_FOLDED = /^[a-z0-9_-][a-z0-9._-]*$/
/** Names Windows keeps for devices, whatever their extension. */
const DEVICE = /^(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$)/

/** Escapes every byte outside `[A-Za-z0-9._-]`, and a leading dot, as `%xx`. `decodeEscaped` is its inverse. */
export function encodeCaseExact(name: string): string {
  return SAFE_EXACT.test(name) ? name : escape(name, isSafeExact)
}

/**
 * As {@link encodeCaseExact}, with capital letters escaped too, so that two names that differ only in case differ also
 * when case is ignored. Device names (`con`, `nul.txt`) and a trailing dot are escaped as well.
 */
export function encodeCaseFolded(name: string): string {
  if (SAFE_FOLDED.test(name) && !DEVICE.test(name) && !name.endsWith('.')) return name
  return escape(name, isSafeFolded)
}

/** The name that {@link encodeCaseExact} or {@link encodeCaseFolded} encoded, or `undefined` if neither could have. */
export function decodeEscaped(encoded: string): string | undefined {
  try {
    return decodeURIComponent(encoded)
  } catch {
    return undefined
  }
}

/**
 * The encoded name itself when it is at most `maxBytes` long (encoded names are ASCII), else `~` and the SHA-256 of the
 * name in hex. No encoder emits `~`, so a hashed name never meets a plain one. Whoever uses a hashed name keeps the
 * full name beside the data and checks it on read.
 */
export function fitOrHash(name: string, encoded: string, maxBytes: number): string {
  return encoded.length <= maxBytes ? encoded : hashedName(name)
}

/** True for a name that {@link fitOrHash} had to hash: the full name must be read from the data. */
export function isHashedName(encoded: string): boolean {
  return encoded.startsWith('~')
}

function hashedName(name: string): string {
  return `~${sha256(name)}`
}

function escape(name: string, isSafe: (byte: number, index: number, bytes: Uint8Array) => boolean): string {
  const bytes = Buffer.from(name, 'utf8')
  const device = isSafe === isSafeFolded && DEVICE.test(name)
  let out = ''
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i] as number
    const safe = isSafe(byte, i, bytes) && !(device && i === 0)
    out += safe ? String.fromCharCode(byte) : `%${byte < 16 ? '0' : ''}${byte.toString(16)}`
  }
  return out
}

const DOT = 0x2e

function isSafeExact(byte: number, index: number): boolean {
  return isSafeAlways(byte) || isUpper(byte) || (byte === DOT && index > 0)
}

function isSafeFolded(byte: number, index: number, bytes: Uint8Array): boolean {
  return isSafeAlways(byte) || (byte === DOT && index > 0 && index < bytes.length - 1)
}

function isSafeAlways(byte: number): boolean {
  return (byte >= 0x61 && byte <= 0x7a) || (byte >= 0x30 && byte <= 0x39) || byte === 0x5f || byte === 0x2d
}

function isUpper(byte: number): boolean {
  return byte >= 0x41 && byte <= 0x5a
}
