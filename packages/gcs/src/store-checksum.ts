import { md5Checksum, type StoreChecksum } from '@thermocline/object-store'
import type { ObjectFacts } from './facts.js'

/**
 * `x-goog-hash` names one or two: the MD5 of an object that was stored in one piece, and the CRC-32C, which objects composed of others have alone.
 * Node computes MD5 by itself; CRC-32C is the Google client's, in JavaScript.
 *
 * @returns `undefined` when the store names none: then only the length is checked
 */
export async function storeChecksum({ md5, crc32c }: ObjectFacts): Promise<StoreChecksum | undefined> {
  if (md5 !== undefined) return md5Checksum(md5, 'base64')
  if (crc32c === undefined) return undefined
  const { CRC32C } = await import('@google-cloud/storage')
  const hash = new CRC32C()
  return { update: (chunk) => hash.update(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)), matches: () => hash.toString() === crc32c }
}
