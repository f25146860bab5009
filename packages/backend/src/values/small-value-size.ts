import { types } from 'node:util'
import { ARRAY, BOXED_NUMBER, bytesOfBigint, bytesOfProperties, bytesOfString, HEADER, INTERNED, isSmall, OBJECT, SLOT } from './heap-bytes.js'

/*
 * What a small value takes, part by part: the same sum as in value-size.ts, without the objects that a walk of a large value needs. Every value that
 * is stored in memory is measured, and most are small: of a hundred that come from Redis at once the measuring was an eighth of all work.
 */

const MOST_OBJECTS = 12
const MOST_PROPERTIES = 16
const MOST_PARTS = 64
/** Of a vector all numbers are looked at. */
const MOST_NUMBERS = 2048

/** What was met already in the value that is being measured. Kept, as each measuring would make them anew. */
const objects: object[] = []
const texts: string[] = []
let bytes = 0
let partsLeft = 0
let isMeasuring = false

/** `undefined`: it is not small, or has something else in it than plain objects, arrays, texts and numbers. */
export function bytesOfSmall(value: object): number | undefined {
  if (isMeasuring) return undefined // a getter that stores something itself
  isMeasuring = true
  bytes = 0
  partsLeft = MOST_PARTS
  try {
    return addObject(value) ? bytes : undefined
  } catch {
    return undefined // a getter that throws
  } finally {
    objects.length = 0
    texts.length = 0
    isMeasuring = false
  }
}

/** False where this is not for small values. */
function add(part: unknown): boolean {
  switch (typeof part) {
    case 'number':
      if (!isSmall(part)) bytes += BOXED_NUMBER
      return true
    case 'string':
      addText(part)
      return true
    case 'bigint':
      bytes += bytesOfBigint(part)
      return true
    case 'object':
      return part === null || addObject(part)
    case 'function':
      return false
    default:
      return true
  }
}

function addText(text: string): void {
  if (text.length <= INTERNED) {
    if (texts.includes(text)) return
    texts.push(text)
  }
  bytes += bytesOfString(text)
}

function addObject(object: object): boolean {
  if (objects.includes(object)) return true
  if (objects.push(object) > MOST_OBJECTS || types.isProxy(object)) return false
  return Array.isArray(object) ? addArray(object) : addProperties(object)
}

function addArray(array: readonly unknown[]): boolean {
  const { length } = array
  if (length === 0) {
    bytes += ARRAY
    return true
  }
  if (length > MOST_NUMBERS) return false
  bytes += ARRAY + HEADER + length * SLOT
  let at = 0
  while (at < length && typeof array[at] === 'number') at++
  if (at === length) return true // numbers in a row
  if ((partsLeft -= length) < 0) return false
  for (at = 0; at < length; at++) if (!Object.hasOwn(array, at) || !add(array[at])) return false
  return true
}

function addProperties(object: object): boolean {
  const prototype = Object.getPrototypeOf(object) as object | null
  if (prototype !== Object.prototype && prototype !== null) return false
  const names = Object.keys(object)
  if (names.length > MOST_PROPERTIES || (partsLeft -= names.length) < 0) return false
  const { table, each } = bytesOfProperties(names, false)
  bytes += OBJECT + table + each * names.length
  for (const name of names) if (!add((object as Record<string, unknown>)[name])) return false
  return true
}
