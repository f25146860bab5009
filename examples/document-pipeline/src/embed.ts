/** Names the embedding in cache keys: change it with the algorithm, and nothing old is found. */
export const EMBEDDING_MODEL = 'local-projection-v1'

const DIMENSIONS = 1024
const WORD = /[\p{L}\p{N}]+/gu

/**
 * A deterministic embedding that needs no download: words, pairs of neighbouring words and groups of 3 to 5 letters are each given a
 * pseudo-random direction (random indexing: Kanerva et al., 2000), and their sum is normalised. Texts that share words and
 * stems point in similar directions. It costs some milliseconds a chunk, as a
 * small model would.
 */
export function embed(text: string): Float32Array {
  const vector = new Float32Array(DIMENSIONS)
  const words = (text.toLowerCase().match(WORD) ?? []).filter((word) => word.length > 1)
  words.forEach((word, i) => {
    addDirection(vector, word, 1 / Math.sqrt(1 + commonness(word)))
    const next = words[i + 1]
    if (next !== undefined) addDirection(vector, `${word} ${next}`, 0.5)
    for (const size of [3, 4, 5]) for (let at = 0; at + size <= word.length; at++) addDirection(vector, `#${word.slice(at, at + size)}`, 0.15)
  })
  return normalize(vector)
}

/** The cosine of the angle between two embeddings: 1 for the same direction. */
export function similarity(a: Float32Array, b: Float32Array): number {
  let sum = 0
  for (let i = 0; i < a.length; i++) sum += (a[i] ?? 0) * (b[i] ?? 0)
  return sum
}

/** Short words say less. */
function commonness(word: string): number {
  return word.length <= 3 ? 8 : word.length <= 5 ? 1 : 0
}

function addDirection(vector: Float32Array, feature: string, weight: number): void {
  let state = hash(feature)
  for (let i = 0; i < vector.length; i++) {
    state = xorshift(state)
    vector[i] = (vector[i] ?? 0) + weight * (state / 2 ** 31 - 1)
  }
}

/** FNV-1a, 32 bits. */
function hash(text: string): number {
  let value = 0x811c9dc5
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193)
  return value >>> 0 || 1
}

/** Marsaglia's xorshift, 32 bits (2003). */
function xorshift(state: number): number {
  let next = state
  next ^= next << 13
  next ^= next >>> 17
  next ^= next << 5
  return next >>> 0
}

function normalize(vector: Float32Array): Float32Array {
  const length = Math.hypot(...vector) || 1
  return vector.map((value) => value / length)
}
