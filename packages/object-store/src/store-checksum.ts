import { createHash } from 'node:crypto'

/** A store's own checksum of an object whose metadata has none of ours, taken over bytes as they arrive. */
export interface StoreChecksum {
  update(chunk: Uint8Array): unknown
  /** Whether what was given is what is stored. To be asked once. */
  matches(): boolean
}

/** @param expected in the encoding that the store writes it in */
export function md5Checksum(expected: string, encoding: 'hex' | 'base64'): StoreChecksum {
  const hash = createHash('md5')
  return { update: (chunk) => hash.update(chunk), matches: () => hash.digest(encoding) === expected }
}
