import { crc32 } from '@thermocline/backend'
import { md5Checksum, type StoreChecksum } from '@thermocline/object-store'
import type { Opened } from './connection.js'
import { statusOf } from './errors.js'
import type { Found } from './found.js'
import type { Abortable } from './requests.js'

/** What protects a payload besides its length: a CRC-32, the MD5 that a store's ETag is, or nothing that can be had. */
export interface Protection {
  readonly crc32?: number
  readonly checksum?: StoreChecksum
}

const MD5_ETAG = /^"?([\da-f]{32})"?$/
/** Base64 of four bytes; a checksum of checksums of parts ends in their number. */
const WHOLE_CRC32 = /^[A-Za-z\d+/]{6}==$/

/**
 * The store's own checksum of an object whose metadata has none, because it was stored before its payload was known. In this order:
 *
 * - the ETag, which is the MD5 of an object that came in one piece, unless KMS encrypted it
 * - `x-amz-checksum-crc32` of the whole object, for which the store is asked once more: asked with the GET, the SDK would check it
 *   itself, in slower code
 * - nothing: then only the length that the response announces is checked
 */
export async function storeChecksum({ sdk, client }: Opened, bucket: string, name: string, found: Found, abortable: Abortable): Promise<Protection> {
  const md5 = MD5_ETAG.exec(found.ETag ?? '')?.[1]
  if (md5 !== undefined && found.ServerSideEncryption?.startsWith('aws:kms') !== true) return { checksum: md5Checksum(md5, 'hex') }
  let whole: string | undefined
  try {
    whole = (await client.send(new sdk.HeadObjectCommand({ Bucket: bucket, Key: name, IfMatch: found.ETag, ChecksumMode: 'ENABLED' }), abortable)).ChecksumCRC32
  } catch (error) {
    if (statusOf(error) !== 412 && statusOf(error) !== 404) throw error // another object has taken its place meanwhile
  }
  return whole !== undefined && WHOLE_CRC32.test(whole) ? { crc32: Buffer.from(whole, 'base64').readUInt32BE() } : {}
}

export function matches({ crc32: expected, checksum }: Protection, bytes: Uint8Array): boolean {
  if (expected !== undefined) return crc32(bytes) === expected
  checksum?.update(bytes)
  return checksum?.matches() !== false
}

/** As the store takes it: base64 of the four bytes, the highest first. */
export function base64Crc32(crc: number): string {
  const bytes = Buffer.allocUnsafe(4)
  bytes.writeUInt32BE(crc)
  return bytes.toString('base64')
}
