import { types } from 'node:util'
import type { Isolation } from '../contract/backend.js'
import { structuredCodec } from './structured.js'

/**
 * What a memory tier stores of a given value under an isolation mode: the reference itself (`share`), or a copy that
 * no caller holds, so that later changes to the caller's object change nothing stored.
 */
export function takeIn(value: unknown, isolation: Isolation): unknown {
  if (isolation === 'share' || !isMutable(value)) return value
  const copy = cloneValue(value)
  if (isolation === 'freeze') deepFreeze(copy)
  return copy
}

/** What a caller receives of a stored value under an isolation mode. */
export function handOut(value: unknown, isolation: Isolation): unknown {
  if (isolation === 'share' || !isMutable(value)) return value
  if (isolation === 'clone') return cloneValue(value)
  return isDeepFrozen(value) ? value : deepFreeze(cloneValue(value))
}

/**
 * A copy as `structuredClone` makes it, except that bytes keep their class (a Buffer stays a Buffer) and what
 * `structuredClone` itself refuses throws here too.
 */
export function cloneValue(value: unknown): unknown {
  if (Buffer.isBuffer(value)) {
    const copy = Buffer.allocUnsafeSlow(value.byteLength)
    copy.set(value)
    return copy
  }
  if (types.isUint8Array(value)) return new Uint8Array(value)
  return structuredCodec.decode(structuredCodec.encode(value))
}

/** A function counts: it is an object that callers would share, and cannot be copied. */
function isMutable(value: unknown): value is object {
  return (typeof value === 'object' && value !== null) || typeof value === 'function'
}

/** Freezes plain objects and arrays throughout; what cannot be frozen (dates, maps, bytes) stays as it is. */
function deepFreeze(value: unknown): unknown {
  if (!isFreezable(value) || Object.isFrozen(value)) return value
  Object.freeze(value)
  for (const name of Object.keys(value)) deepFreeze((value as Record<string, unknown>)[name])
  return value
}

/** Objects found frozen throughout; frozen is for ever, so they need no second walk. */
const frozenThroughout = new WeakSet<object>()

/** Whether every part is frozen, so that the reference itself can be handed out. */
function isDeepFrozen(value: object): boolean {
  if (frozenThroughout.has(value)) return true
  const frozen = allFrozen(value, new Set())
  if (frozen) frozenThroughout.add(value)
  return frozen
}

function allFrozen(value: unknown, seen: Set<object>): boolean {
  if (!isMutable(value) || seen.has(value)) return true
  if (!isFreezable(value) || !Object.isFrozen(value)) return false
  seen.add(value)
  return Object.values(value).every((part) => allFrozen(part, seen))
}

function isFreezable(value: unknown): value is object {
  if (!isMutable(value) || typeof value === 'function') return false
  if (Array.isArray(value)) return true
  const prototype = Object.getPrototypeOf(value) as object | null
  return prototype === null || (Object.getPrototypeOf(prototype) === null && Object.prototype.toString.call(value) === '[object Object]')
}
