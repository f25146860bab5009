import { resize, type Image } from './images.js'

/** Names the embedding in cache keys: change it with the algorithm, and nothing old is found. */
export const EMBEDDING_MODEL = 'local-pixels-v1'

const GRID = 12

/**
 * A deterministic embedding that needs no download: the colours of a coarse grid around their mean, and how bright neighbouring cells
 * differ. Pictures of one scene point in similar directions.
 */
export function embed(image: Image): Float32Array {
  const { data } = resize(image, GRID, GRID)
  const features: number[] = []
  for (let at = 0; at < data.length; at += 4) {
    for (const channel of [0, 1, 2]) features.push((data[at + channel] ?? 0) / 255 - 0.5)
    const right = (at / 4) % GRID === GRID - 1 ? at : at + 4
    const below = at + GRID * 4 < data.length ? at + GRID * 4 : at
    features.push((brightness(data, right) - brightness(data, at)) / 255, (brightness(data, below) - brightness(data, at)) / 255)
  }
  const length = Math.hypot(...features) || 1
  return Float32Array.from(features, (value) => value / length)
}

/** The cosine of the angle between two embeddings: 1 for the same direction. */
export function similarity(a: Float32Array, b: Float32Array): number {
  return a.reduce((sum, value, at) => sum + value * (b[at] ?? 0), 0)
}

function brightness(data: Uint8Array, at: number): number {
  return 0.299 * (data[at] ?? 0) + 0.587 * (data[at + 1] ?? 0) + 0.114 * (data[at + 2] ?? 0)
}
