import { types } from 'node:util'

/*
 * What things take on V8's heap, in bytes, on 64 bits without pointer compression, as Node is built. Measured; value-size.test.ts holds
 * the sums against a real heap.
 */

export const SLOT = 8
export const OBJECT = 24
export const ARRAY = 32
/** Before the items of an array, the characters of a string, the digits of a bigint. */
export const HEADER = 16
/** A number that is no small whole number, where it is not kept in an array of numbers alone. */
export const BOXED_NUMBER = 16
/** A view and the buffer behind it, without the bytes. */
export const VIEW = 184
export const BUFFER = 88
const DATE = 96
const REGEXP = 128
/** With the frames of its stack. */
const ERROR = 480
const FUNCTION = 96
const TABLE = 72
/** An entry of a hash table of named properties: name, value, details. */
const DICTIONARY_ENTRY = 24
/** Objects with more properties are hash tables. */
const MOST_FAST_PROPERTIES = 128
const MOST_LITERAL_PROPERTIES = 16

/** Whether V8 keeps the number in a slot. */
export function isSmall(number: number): boolean {
  return (number | 0) === number && !Object.is(number, -0)
}

const WIDE = /[^\u0000-\u00ff]/

/**
 * Of a string. V8 keeps one byte a character where all are Latin-1. The pattern tells at once: for such strings V8 compiles one that cannot
 * match, whatever their length.
 */
export function bytesOfString(text: string): number {
  if (text.length <= 1) return 0 // one for all
  return HEADER + (((isWide(text) ? text.length * 2 : text.length) + 7) & ~7)
}

/** V8 interns strings up to this length when it parses JSON. */
export const INTERNED = 10

/** Up to so many characters a look at each costs less than the pattern. */
const FEW_CHARACTERS = 16

function isWide(text: string): boolean {
  if (text.length > FEW_CHARACTERS) return WIDE.test(text)
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 0xff) return true
  return false
}

/** Of a bigint: found by doubling, as there is no length to be asked for. */
export function bytesOfBigint(value: bigint): number {
  let bits = 64
  while (BigInt.asIntN(bits, value) !== value && bits < 2 ** 30) bits *= 2
  return HEADER + bits / 8
}

export function bytesOfMap(size: number): number {
  return OBJECT + TABLE + capacity(size, 4) * 28
}

export function bytesOfSet(size: number): number {
  return OBJECT + TABLE + capacity(size, 4) * 20
}

/**
 * Of an object's slots, without what is in them. Few properties are slots in the order of a shape that all objects of a kind share; many are a
 * hash table with names of its own, and so are some that are named by data (`{ [id]: ... }`), which cannot be seen and is guessed by the names.
 *
 * @param isKnownShape whether another object with such a name was met
 */
export function bytesOfProperties(names: readonly string[], isKnownShape: boolean): { readonly table: number; readonly each: number } {
  const count = names.length
  const last = names[count - 1]
  if (last === undefined) return { table: 4 * SLOT, each: 0 }
  if (isIndex(last)) return { table: 0, each: Number(last) < count * 4 ? SLOT + 2 : 2 * DICTIONARY_ENTRY } // indices come first, in their order
  const isTable = count > MOST_FAST_PROPERTIES || (count > MOST_LITERAL_PROPERTIES && !isKnownShape && !IDENTIFIER.test(names[count >> 1] as string))
  if (!isTable) return { table: 0, each: SLOT }
  return { table: capacity(Math.ceil(count * 1.5), 4) * DICTIONARY_ENTRY, each: isKnownShape ? 0 : HEADER + ((last.length + 7) & ~7) }
}

/** A name that somebody wrote into a program. */
const IDENTIFIER = /^[A-Za-z_$][A-Za-z_$]*\d{0,2}$/

function isIndex(name: string): boolean {
  const first = name.charCodeAt(0)
  return first >= 0x30 && first <= 0x39 && /^\d{1,10}$/.test(name)
}

/** Of an object that is kept as its content, whose parts are no properties; `undefined`: it is none. */
export function bytesOfLeaf(object: object): number | undefined {
  if (typeof object === 'function') return FUNCTION
  if (types.isDate(object)) return DATE
  if (types.isRegExp(object)) return REGEXP
  if (types.isBoxedPrimitive(object)) return ARRAY
  if (types.isNativeError(object)) return ERROR
  return undefined
}

function capacity(count: number, least: number): number {
  return Math.max(least, 2 ** Math.ceil(Math.log2(count)))
}
