import { types } from 'node:util'

const MAX_DEPTH = 64
const FEW = 8

/**
 * Whether `JSON.parse(JSON.stringify(value))` gives what `structuredClone(value)` would. One walk without side
 * effects; it stops at the first thing that JSON would lose: `undefined`, `-0`, `NaN`, a BigInt, a Date, a Map, a
 * class instance, a hole, a property named by a symbol, a named property of an array, an object met twice, a cycle, or great depth.
 *
 * @throws what a getter throws
 */
export function isJsonExact(value: unknown): boolean {
  return new Walk().exact(value, 0)
}

class Walk {
  /** Objects met so far: a short list first, a set when it grows. The shared reference is what JSON would split. */
  #met: object[] | Set<object> = []

  exact(value: unknown, depth: number): boolean {
    switch (typeof value) {
      case 'string':
      case 'boolean':
        return true
      case 'number':
        return Number.isFinite(value) && !Object.is(value, -0)
      case 'object':
        if (value === null) return true
        if (depth > MAX_DEPTH || types.isProxy(value) || !this.#firstMeeting(value)) return false
        return Array.isArray(value) ? this.#exactArray(value, depth) : this.#exactObject(value, depth)
      default:
        return false
    }
  }

  #exactArray(array: readonly unknown[], depth: number): boolean {
    for (let i = 0; i < array.length; i++) {
      const item = array[i]
      // the common case, numbers, without a call; a hole reads as undefined and fails below
      if (typeof item === 'number' ? !Number.isFinite(item) || Object.is(item, -0) : !this.exact(item, depth + 1)) return false
    }
    return Object.keys(array).length === array.length && !hasToJson(array) && Object.getOwnPropertySymbols(array).length === 0
  }

  #exactObject(object: object, depth: number): boolean {
    const prototype = Object.getPrototypeOf(object) as object | null
    // plain objects of any realm: their prototype is a root
    if (prototype !== null && Object.getPrototypeOf(prototype) !== null) return false
    if (prototype !== null && !Object.hasOwn(prototype, 'hasOwnProperty')) return false
    if (isExotic(object) || hasToJson(object) || Object.getOwnPropertySymbols(object).length > 0) return false
    for (const name of Object.keys(object)) {
      if (!this.exact((object as Record<string, unknown>)[name], depth + 1)) return false
    }
    return true
  }

  #firstMeeting(object: object): boolean {
    if (Array.isArray(this.#met)) {
      if (this.#met.includes(object)) return false
      if (this.#met.push(object) > FEW) this.#met = new Set(this.#met)
      return true
    }
    const before = this.#met.size
    return this.#met.add(object).size > before
  }
}

/** Objects whose contents are not their properties, whatever their prototype was set to. */
function isExotic(object: object): boolean {
  return (
    Object.prototype.toString.call(object) !== '[object Object]' || types.isMap(object) || types.isSet(object) ||
    types.isAnyArrayBuffer(object) || ArrayBuffer.isView(object) || types.isDate(object) || types.isRegExp(object) || types.isNativeError(object) || types.isBoxedPrimitive(object)
  )
}

function hasToJson(object: object): boolean {
  return typeof (object as { toJSON?: unknown }).toJSON === 'function'
}
