import v8 from 'node:v8'

/**
 * Values that caches lose or change, by name. Each must come back as it went in, from every tier. Those under
 * `asStructuredClone` come back as `structuredClone` would return them.
 */
export const EXACT_VALUES: readonly (readonly [name: string, make: () => unknown])[] = [
  ['zero', () => 0],
  ['minus zero', () => -0],
  ['NaN', () => Number.NaN],
  ['Infinity', () => Number.NEGATIVE_INFINITY],
  ['a fraction', () => 0.1 + 0.2],
  ['the empty string', () => ''],
  ['a string', () => 'grüße 😀'],
  ['a lone surrogate', () => 'a\ud800b'],
  ['false', () => false],
  ['null', () => null],
  ['undefined', () => undefined],
  ['a bigint', () => 2n ** 70n],
  ['an empty Buffer', () => Buffer.alloc(0)],
  ['a Buffer', () => Buffer.from([0, 255, 128, 10])],
  ['a slice of a larger Buffer', () => Buffer.from('0123456789').subarray(3, 6)],
  ['a Uint8Array', () => Uint8Array.of(1, 2, 3)],
  ['a Float32Array', () => Float32Array.of(0.5, -1.25, 3e30)],
  ['a BigInt64Array', () => BigInt64Array.of(-1n, 2n ** 62n)],
  ['an empty array', () => []],
  ['an array with undefined', () => [1, undefined, 3]],
  ['an object', () => ({ a: 1, b: 'two', c: [true, null], d: { e: -1.5 } })],
  ['an object with undefined', () => ({ a: undefined, b: 1 })],
  ['an own property __proto__', () => JSON.parse('{"__proto__":{"x":1},"y":2}') as unknown],
  ['a Date', () => new Date(86_400_000)],
  ['an invalid Date', () => new Date(Number.NaN)],
  ['a Map', () => new Map<unknown, unknown>([['a', 1], [{ k: 1 }, new Set([1, 2])]])],
  ['a Set', () => new Set([1, 'a', null])],
  ['a RegExp', () => /a+b/giu],
  ['an ArrayBuffer', () => Uint8Array.of(9, 8, 7).buffer],
  ['nested binary', () => ({ vector: Float32Array.of(1, 2), raw: Uint8Array.of(1) })],
]

/**
 * Whether two values are the same to `structuredClone`: same structure, types and contents, -0 and NaN told apart. Also true
 * across realms (test runners with a VM context), where prototypes differ.
 */
export function sameValue(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true
  if (Buffer.isBuffer(a) !== Buffer.isBuffer(b)) return false
  try {
    return normal(a).equals(normal(b))
  } catch {
    return false
  }
}

/** Serialised after one round trip: V8 writes an array differently while it has room for holes. */
function normal(value: unknown): Buffer {
  return v8.serialize(v8.deserialize(v8.serialize(value)))
}
