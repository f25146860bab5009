import { types } from 'node:util'

const OBJECT_BYTES = 32
const SLOT_BYTES = 8
/** After this many nodes the rest is extrapolated: sizing a value must not cost more than storing it. */
const MAX_NODES = 1000

/**
 * An estimate, in bytes, of what a live value occupies, for limits on values whose encoded size is not known. Strings
 * count 2 bytes a character, numbers 8, objects 32 plus 8 for each property, binary data its length. Values of more than
 * 1,000 nodes are sampled.
 */
export function estimateBytes(value: unknown): number {
  const pending: unknown[] = [value]
  const seen = new Set<object>()
  let bytes = 0
  let nodes = 0
  while (pending.length > 0 && nodes < MAX_NODES) {
    nodes++
    bytes += ownBytes(pending.pop(), pending, seen)
  }
  return pending.length === 0 ? bytes : Math.round(bytes * ((nodes + pending.length) / nodes))
}

function ownBytes(value: unknown, pending: unknown[], seen: Set<object>): number {
  switch (typeof value) {
    case 'string':
      return 16 + value.length * 2
    case 'bigint':
      return 24
    case 'object':
      break
    default:
      return SLOT_BYTES
  }
  if (value === null) return SLOT_BYTES
  if (seen.has(value)) return SLOT_BYTES
  seen.add(value)
  if (ArrayBuffer.isView(value)) return OBJECT_BYTES + value.byteLength
  if (types.isAnyArrayBuffer(value)) return OBJECT_BYTES + value.byteLength
  if (Array.isArray(value)) {
    if (value.length > MAX_NODES && typeof value[0] === 'number') return OBJECT_BYTES + value.length * SLOT_BYTES
    for (const item of value) pending.push(item)
    return OBJECT_BYTES
  }
  if (types.isMap(value)) {
    for (const [key, item] of value) pending.push(key, item)
    return OBJECT_BYTES * 2
  }
  if (types.isSet(value)) {
    for (const item of value) pending.push(item)
    return OBJECT_BYTES * 2
  }
  for (const name of Object.keys(value)) pending.push(name, (value as Record<string, unknown>)[name])
  return OBJECT_BYTES
}
