import { createHash } from 'node:crypto'
import type { ObjectFacts } from './facts.js'

/** The store's own checksum of an object whose metadata has none, taken over bytes as they arrive. */
export interface StoreChecksum {
  update(chunk: Uint8Array): unknown
  /** Whether what was given is what is stored. To be asked once. */
  matches(): boolean
}

/**
 * `x-goog-hash` names one or two: the MD5 of an object that was stored in one piece, and the CRC-32C, which objects composed of others have alone.
 * Node computes MD5 by itself; CRC-32C is the Google client's, in JavaScript.
 *
 * @returns `undefined` when the store names none: then only the length is checked
 */
export async function storeChecksum({ md5, crc32c }: ObjectFacts): Promise<StoreChecksum | undefined> {
  if (md5 !== undefined) {
    const hash = createHash('md5')
    return { update: (chunk) => hash.update(chunk), matches: () => hash.digest('base64') === md5 }
  }
  if (crc32c === undefined) return undefined
  const { CRC32C } = await import('@google-cloud/storage')
  const hash = new CRC32C()
  return { update: (chunk) => hash.update(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)), matches: () => hash.toString() === crc32c }
}
