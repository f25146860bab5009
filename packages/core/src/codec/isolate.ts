import { types } from 'node:util'
import { CacheError, messageOf, ownMemoryOf, type Isolation } from '@thermocline/backend'
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
 * A copy as `structuredClone` makes it, except that bytes keep their class (a Buffer stays a Buffer).
 *
 * @throws CacheError `not-encodable` for what `structuredClone` refuses, and for what it would flatten
 */
export function cloneValue(value: unknown): unknown {
  if (types.isUint8Array(value)) return ownMemoryOf(value)
  try {
    return structuredCodec.decode(structuredCodec.encode(value))
  } catch (cause) {
    throw new CacheError('not-encodable', `the value cannot be copied: ${messageOf(cause)}`, { operation: 'encode', cause })
  }
}

/** A function counts: it is an object that callers would share, and cannot be copied. */
function isMutable(value: unknown): value is object {
  return (typeof value === 'object' && value !== null) || typeof value === 'function'
}

/** Freezes plain objects and arrays throughout; what cannot be frozen (dates, maps, bytes) stays as it is. Takes no stack, however deep the value is. */
function deepFreeze(value: unknown): unknown {
  const pending: unknown[] = [value]
  while (pending.length > 0) {
    const part = pending.pop()
    if (!isFreezable(part) || Object.isFrozen(part)) continue
    Object.freeze(part)
    for (const name of Object.keys(part)) pending.push((part as Record<string, unknown>)[name])
  }
  return value
}

/** Objects found frozen throughout; frozen is for ever, so they need no second walk. */
const frozenThroughout = new WeakSet<object>()

/** Whether every part is frozen, so that the reference itself can be handed out. */
function isDeepFrozen(value: object): boolean {
  if (frozenThroughout.has(value)) return true
  const seen = new Set<object>()
  const pending: unknown[] = [value]
  while (pending.length > 0) {
    const part = pending.pop()
    if (!isMutable(part) || seen.has(part)) continue
    if (!isFreezable(part) || !Object.isFrozen(part)) return false
    seen.add(part)
    for (const name of Object.keys(part)) pending.push((part as Record<string, unknown>)[name])
  }
  frozenThroughout.add(value)
  return true
}

function isFreezable(value: unknown): value is object {
  if (!isMutable(value) || typeof value === 'function') return false
  if (Array.isArray(value)) return true
  const prototype = Object.getPrototypeOf(value) as object | null
  return prototype === null || (Object.getPrototypeOf(prototype) === null && Object.prototype.toString.call(value) === '[object Object]')
}
