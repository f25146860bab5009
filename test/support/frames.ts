import {
  CacheEntry,
  crc32,
  decodeFrameHeader,
  encodeFrameHeader,
  entryOfFrame,
  FRAME_PREAMBLE_BYTES,
  payloadProblem,
  validateKey,
  type EntryDetails,
} from '@thermocline/backend'
import { CodecTable, type CodecName } from '../../packages/core/src/codec/standard.js'

export interface FrameContent {
  readonly tenant?: string
  readonly key?: string
  readonly createdAt?: number
  readonly expiresAt?: number
  readonly keepUntil?: number
  readonly computeMicros?: number
  readonly details?: EntryDetails | undefined
  readonly codec?: CodecName
  readonly value?: unknown
}

export const CREATED_AT = Date.UTC(2026, 0, 2, 3, 4, 5, 678)
const codecs = new CodecTable()

/** A whole frame: header and payload. */
export function frameOf(content: FrameContent): Buffer {
  const { tenant = 'acme', key = 'k', createdAt = CREATED_AT, expiresAt = CREATED_AT + 3_600_000, computeMicros = 0, details, codec = 'auto', value = 'v' } = content
  const encoded = codecs.encode(value, codecs.resolve(codec, 'codec'))
  const entry = CacheEntry.ofBytes(encoded, { createdAt, expiresAt, computeMicros, details })
  return Buffer.concat([encodeFrameHeader(tenant, validateKey(key), entry, content.keepUntil ?? expiresAt), encoded.bytes])
}

/** What a reader makes of a whole frame, as adapters read it: an entry's content, or why it is none. */
export function readFrame(frame: Buffer): { readonly content: Required<Omit<FrameContent, 'codec'>> & { codec: string } } | { readonly none: string } {
  const reading = decodeFrameHeader(frame)
  if (reading.status !== 'ok') return { none: reading.status }
  const header = reading.value
  const payload = frame.subarray(header.payloadOffset)
  if (payloadProblem(header, payload) !== undefined) return { none: 'corrupt' }
  const { createdAt, expiresAt, keepUntil, computeMicros, details, encoded } = entryOfFrame(header, payload)
  const value = codecs.decode(encoded!)
  return { content: { tenant: header.tenant, key: header.key, codec: header.codec, createdAt, expiresAt, keepUntil, computeMicros, details, value } }
}

/** The frame with other fields appended to its own, under a checksum that holds. */
export function withFields(frame: Buffer, ...added: Uint8Array[]): Buffer {
  const end = FRAME_PREAMBLE_BYTES + frame.readUInt32LE(8)
  return reassemble(frame, Buffer.concat([frame.subarray(FRAME_PREAMBLE_BYTES, end), ...added]))
}

/** The frame with these fields instead of its own, under a checksum that holds. */
export function reassemble(frame: Buffer, fields: Uint8Array): Buffer {
  const preamble = Buffer.from(frame.subarray(0, FRAME_PREAMBLE_BYTES))
  preamble.writeUInt32LE(fields.byteLength, 8)
  preamble.writeUInt32LE(crc32(fields), 12)
  return Buffer.concat([preamble, fields, frame.subarray(FRAME_PREAMBLE_BYTES + frame.readUInt32LE(8))])
}

/** One field by hand. */
export function field(id: number, bytes: Uint8Array | string): Uint8Array {
  const content = Buffer.from(bytes as Uint8Array)
  const head = [id]
  let left = content.length
  for (; left >= 0x80; left >>>= 7) head.push((left & 0x7f) | 0x80)
  return Buffer.concat([Uint8Array.from([...head, left]), content])
}
