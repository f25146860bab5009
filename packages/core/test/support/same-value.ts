import v8 from 'node:v8'

/**
 * Whether two values are the same to `structuredClone`: structure, types and contents, -0 and NaN told apart, also across the
 * realms of a test runner. The idea is testkit's `sameValue`, which core may not import.
 */
export function sameValue(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true
  return Buffer.isBuffer(a) === Buffer.isBuffer(b) && normal(a).equals(normal(b))
}

/** Serialised after one round trip: V8 writes an array differently while it has room for holes. */
function normal(value: unknown): Buffer {
  return v8.serialize(v8.deserialize(v8.serialize(value)))
}
