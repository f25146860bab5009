import type { EpochMs } from '../clock/clock.js'
import { CacheEntry, type EntryDetails, type Metadata } from '../contract/entry.js'
import { CacheError } from '../errors/cache-error.js'
import type { ValidKey } from '../keys/key.js'
import { crc32, crc32OfPart } from './crc32.js'
import { isCodecName, isCount, isInstant, isKey, isMetadata, isTenant, storedInstant } from '../contract/stored-fields.js'

/*
 * The frame: how an entry lies in Redis and in files. Object stores keep objects plain and have no frame.
 *
 *   offset  size  what
 *   0       4     magic 89 54 43 46 ("\x89TCF"; the high byte keeps text tools from taking it for text)
 *   4       1     version, 1
 *   5       3     flags, all zero: none is defined yet
 *   8       4     length of the fields, little-endian
 *   12      4     CRC-32 of the fields
 *   16      n     fields: id (1 byte, high bit set: critical), length (LEB128), bytes
 *   16 + n  m     payload, as long and with the CRC-32 that the fields say
 *
 * A reader ignores a field it does not know unless it is critical; then the frame is foreign to it. Anything of another
 * version, with a flag set, without the magic, or naming another tenant or key is foreign: a miss, left in place, because a
 * newer release may have written it. A frame with our magic and version whose lengths or checksums do not hold is corrupt.
 */

export const FRAME_MAGIC: Readonly<Uint8Array> = Uint8Array.of(0x89, 0x54, 0x43, 0x46)
const VERSION = 1
/** Bytes before the fields. */
export const FRAME_PREAMBLE_BYTES = 16
/** Fields longer than this are corrupt: keys, tags and metadata are far smaller. */
const MAX_FIELDS_BYTES = 1 << 20
const CRITICAL = 0x80
/** Texts whose length takes one byte. */
const LONGEST_SHORT = 0x7f
/** A header longer than this takes its memory with it. */
const LARGEST_KEPT = 1 << 16
const COMMON_CODECS = ['json', 'utf8', 'buffer', 'bytes', 'v8']

const Field = {
  tenant: 1,
  key: 2,
  codec: 3,
  createdAt: 4,
  expiresAt: 5,
  payloadBytes: 6,
  payloadCrc: 7,
  keepUntil: 8,
  tag: 10,
  metadata: 11,
  fence: 12,
  computeMicros: 13,
  contentType: 14,
  plainBytes: 16,
  staleMs: 17, // 9 was an instant once, and stays unused
  heardUpTo: 18,
} as const

/** What stands before the payload. */
export interface FrameHeader {
  readonly tenant: string
  readonly key: string
  readonly codec: string
  readonly createdAt: EpochMs
  readonly expiresAt: EpochMs
  readonly keepUntil: EpochMs
  readonly computeMicros: number
  readonly details: EntryDetails | undefined
  readonly payloadBytes: number
  readonly payloadCrc: number
  /** Bytes of a compressed payload before it was compressed, where the frame says. */
  readonly plainBytes: number | undefined
  /** Where the payload begins. */
  readonly payloadOffset: number
}

/** What reading a frame can find; `short` says how many bytes are needed to say more. */
export type FrameReading<T> =
  | { readonly status: 'ok'; readonly value: T }
  | { readonly status: 'short'; readonly needed: number }
  | { readonly status: 'foreign' | 'corrupt'; readonly reason: string }

/**
 * Builds everything before the payload. The entry is guaranteed to have its encoded view.
 *
 * @throws CacheError `not-encodable` when tags and metadata are so long that no reader would accept the header
 */
export function encodeFrameHeader(tenant: string, key: ValidKey, entry: CacheEntry, keepUntil: EpochMs): Buffer {
  const encoded = entry.encoded
  if (encoded === undefined) throw new TypeError('a frame is made of an entry that has its bytes')
  return encodeHeaderOf(tenant, key, entry, keepUntil, {
    codec: encoded.codec,
    byteLength: encoded.bytes.byteLength,
    crc32: crc32(encoded.bytes),
    plainBytes: encoded.plainBytes,
  })
}

/** What a header says of a payload that is not at hand. */
export interface PayloadDescription {
  readonly codec: string
  readonly byteLength: number
  readonly crc32: number
  /** Bytes before they were compressed, where that is known; see {@link EncodedPayload}. */
  readonly plainBytes?: number | undefined
}

/**
 * The header of an entry whose payload is described. Two descriptions with the same codec make headers of the same length: a file
 * can be begun with one and its header written once more when the payload is known.
 *
 * @throws CacheError as {@link encodeFrameHeader} does
 */
export function encodeHeaderOf(tenant: string, key: ValidKey, entry: CacheEntry, keepUntil: EpochMs, payload: PayloadDescription): Buffer {
  const fields = new FieldWriter()
  fields.text(Field.tenant, tenant)
  fields.text(Field.key, key)
  fields.text(Field.codec, payload.codec)
  fields.number(Field.createdAt, storedInstant(entry.createdAt))
  fields.number(Field.expiresAt, storedInstant(entry.expiresAt))
  fields.number(Field.payloadBytes, payload.byteLength)
  fields.number(Field.payloadCrc, payload.crc32)
  if (keepUntil < entry.expiresAt) fields.number(Field.keepUntil, storedInstant(keepUntil))
  if (entry.computeMicros > 0) fields.number(Field.computeMicros, entry.computeMicros)
  if (payload.plainBytes !== undefined) fields.number(Field.plainBytes, payload.plainBytes)
  const details = entry.details
  if (details !== undefined) {
    if (details.staleMs !== undefined) fields.number(Field.staleMs, details.staleMs)
    if (details.heardUpTo !== undefined) fields.text(Field.heardUpTo, details.heardUpTo)
    for (const tag of details.tags ?? []) fields.text(Field.tag, tag)
    if (details.metadata !== undefined) fields.text(Field.metadata, JSON.stringify(details.metadata))
    if (details.fence !== undefined) fields.number(Field.fence, details.fence)
    if (details.contentType !== undefined) fields.text(Field.contentType, details.contentType)
  }
  if (fields.length > MAX_FIELDS_BYTES) {
    throw new CacheError('not-encodable', `the entry's tags and metadata make a header of ${fields.length} bytes, at most ${MAX_FIELDS_BYTES} fit`, { operation: 'encode', tenant, key })
  }
  return fields.finish()
}

/** Whose entry a frame ought to hold. */
export interface FrameOwner {
  readonly tenant: string
  readonly key: string
}

/**
 * Reads the header at the start of `bytes`.
 *
 * @param expected makes reading cheaper where it is right; whether it is, the caller compares
 */
export function decodeFrameHeader(bytes: Buffer, expected?: FrameOwner): FrameReading<FrameHeader> {
  const start = Math.min(bytes.length, FRAME_MAGIC.length)
  for (let i = 0; i < start; i++) if (bytes[i] !== FRAME_MAGIC[i]) return { status: 'foreign', reason: 'it does not begin with the magic of a frame' }
  if (bytes.length < FRAME_PREAMBLE_BYTES) return { status: 'short', needed: FRAME_PREAMBLE_BYTES }
  if (bytes[4] !== VERSION) return { status: 'foreign', reason: `frame version ${bytes[4]} is not known here` }
  if (bytes[5] !== 0 || bytes[6] !== 0 || bytes[7] !== 0) return { status: 'foreign', reason: 'it sets flags that are not known here' }
  const fieldsBytes = uint32At(bytes, 8)
  if (fieldsBytes > MAX_FIELDS_BYTES) return { status: 'corrupt', reason: `its header claims ${fieldsBytes} bytes` }
  const payloadOffset = FRAME_PREAMBLE_BYTES + fieldsBytes
  if (bytes.length < payloadOffset) return { status: 'short', needed: payloadOffset }
  if (crc32OfPart(bytes, FRAME_PREAMBLE_BYTES, payloadOffset) !== uint32At(bytes, 12)) return { status: 'corrupt', reason: 'the checksum of its header does not match' }
  reader.begin(bytes, FRAME_PREAMBLE_BYTES, payloadOffset)
  const reading = readFields(payloadOffset, expected)
  reader.end()
  return reading
}

function uint32At(bytes: Uint8Array, at: number): number {
  return ((bytes[at] as number) | ((bytes[at + 1] as number) << 8) | ((bytes[at + 2] as number) << 16) | ((bytes[at + 3] as number) << 24)) >>> 0
}

/** Checks the payload against its header. */
export function payloadProblem(header: FrameHeader, payload: Uint8Array): string | undefined {
  if (payload.byteLength !== header.payloadBytes) return `it has ${payload.byteLength} payload bytes instead of ${header.payloadBytes}`
  return crc32(payload) === header.payloadCrc ? undefined : 'the checksum of its payload does not match'
}

/** The entry a header describes, with its payload or without (a head). */
export function entryOfFrame(header: FrameHeader, payload: Uint8Array | undefined): CacheEntry {
  return payload === undefined ? CacheEntry.head(header) : CacheEntry.ofBytes({ codec: header.codec, bytes: payload, plainBytes: header.plainBytes }, header)
}

function readFields(payloadOffset: number, expected: FrameOwner | undefined): FrameReading<FrameHeader> {
  let tenant: string | undefined
  let key: string | undefined
  let codec: string | undefined
  let createdAt: number | undefined
  let expiresAt: number | undefined
  let payloadBytes: number | undefined
  let payloadCrc: number | undefined
  let computeMicros = 0
  let plainBytes: number | undefined
  let details: { -readonly [name in keyof EntryDetails]: EntryDetails[name] } | undefined
  let tags: string[] | undefined
  while (reader.next()) {
    switch (reader.id) {
      case Field.tenant: tenant = reader.textLike(expected?.tenant); break
      case Field.key: key = reader.textLike(expected?.key); break
      case Field.codec: codec = reader.codec(); break
      case Field.createdAt: createdAt = reader.instant(false); break
      case Field.expiresAt: expiresAt = reader.instant(true); break
      case Field.payloadBytes: payloadBytes = reader.count(); break
      case Field.payloadCrc: payloadCrc = reader.count(0xffff_ffff); break
      case Field.computeMicros: computeMicros = reader.count(); break
      case Field.keepUntil: (details ??= {}).keepUntil = reader.instant(true); break
      case Field.staleMs: (details ??= {}).staleMs = reader.count(); break
      case Field.fence: (details ??= {}).fence = reader.count(); break
      case Field.plainBytes: plainBytes = reader.count(); break
      case Field.heardUpTo: (details ??= {}).heardUpTo = reader.text(); break
      case Field.contentType: (details ??= {}).contentType = reader.text(); break
      case Field.tag: (details ??= {}).tags = tags ??= []; tags.push(reader.text()); break
      case Field.metadata: {
        const metadata = parseMetadata(reader.text())
        if (metadata === undefined) reader.broken = true
        else (details ??= {}).metadata = metadata
        break
      }
      default:
        if (reader.critical) return { status: 'foreign', reason: `it needs field ${reader.id}, which is not known here` }
    }
  }
  if (
    reader.broken || tenant === undefined || key === undefined || codec === undefined || createdAt === undefined ||
    expiresAt === undefined || payloadBytes === undefined || payloadCrc === undefined
  ) {
    return { status: 'corrupt', reason: 'its header is incomplete or says what cannot be' }
  }
  // what was expected has passed these rules
  if (tenant !== expected?.tenant && !isTenant(tenant)) return { status: 'corrupt', reason: 'its header names no tenant' }
  if (key !== expected?.key && !isKey(key)) return { status: 'corrupt', reason: 'its header names no key' }
  if (!isCodecName(codec)) return { status: 'corrupt', reason: 'its header names no codec' }
  const keepUntil = details?.keepUntil ?? expiresAt
  return { status: 'ok', value: { tenant, key, codec, createdAt, expiresAt, keepUntil, computeMicros, details, payloadBytes, payloadCrc, plainBytes, payloadOffset } }
}

/** A checksum that holds does not make the text ours: what does not parse, or is no map of strings, is no metadata. */
function parseMetadata(text: string): Metadata | undefined {
  try {
    const parsed: unknown = JSON.parse(text)
    return isMetadata(parsed) ? parsed : undefined
  } catch {
    return undefined
  }
}

/** Headers are written here, one after the other, and what is handed out is a copy. */
let scratch = Buffer.allocUnsafeSlow(4096)

class FieldWriter {
  #length = FRAME_PREAMBLE_BYTES

  /** Bytes of fields so far. */
  get length(): number {
    return this.#length - FRAME_PREAMBLE_BYTES
  }

  text(id: number, text: string): void {
    // 3 bytes a UTF-16 unit at most; then the exact length is known and written in front
    this.#reserve(6 + text.length * 3)
    if (text.length <= LONGEST_SHORT && this.#shortAscii(id, text)) return
    this.#head(id, Buffer.byteLength(text))
    this.#length += scratch.write(text, this.#length, 'utf8')
  }

  number(id: number, value: number): void {
    this.#reserve(16)
    this.#head(id, 8)
    this.#length = scratch.writeDoubleLE(value, this.#length)
  }

  finish(): Buffer {
    const length = this.#length
    scratch.fill(0, 0, FRAME_PREAMBLE_BYTES)
    scratch.set(FRAME_MAGIC, 0)
    scratch[4] = VERSION
    scratch.writeUInt32LE(this.length, 8)
    scratch.writeUInt32LE(crc32OfPart(scratch, FRAME_PREAMBLE_BYTES, length), 12)
    const header = Buffer.allocUnsafe(length)
    scratch.copy(header, 0, 0, length)
    if (scratch.length > LARGEST_KEPT) scratch = Buffer.allocUnsafeSlow(4096)
    return header
  }

  /** Most texts are: byte by byte that is faster than a call into Node. `false`: nothing was written. */
  #shortAscii(id: number, text: string): boolean {
    const start = this.#length + 2
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i)
      if (code > 0x7f) return false
      scratch[start + i] = code
    }
    this.#head(id, text.length)
    this.#length += text.length
    return true
  }

  #head(id: number, bytes: number): void {
    scratch[this.#length++] = id
    let left = bytes
    while (left >= 0x80) {
      scratch[this.#length++] = (left & 0x7f) | 0x80
      left >>>= 7
    }
    scratch[this.#length++] = left
  }

  #reserve(bytes: number): void {
    if (this.#length + bytes <= scratch.length) return
    const grown = Buffer.allocUnsafeSlow(Math.max(scratch.length * 2, this.#length + bytes))
    grown.set(scratch.subarray(0, this.#length))
    scratch = grown
  }
}

const NOTHING = Buffer.alloc(0)

class FieldReader {
  id = 0
  critical = false
  broken = false
  #bytes: Buffer = NOTHING
  #last = 0
  #at = 0
  #end = 0

  begin(bytes: Buffer, start: number, end: number): void {
    this.broken = false
    this.#bytes = bytes
    this.#end = start
    this.#last = end
  }

  /** Lets go of the bytes. */
  end(): void {
    this.#bytes = NOTHING
  }

  next(): boolean {
    this.#at = this.#end
    if (this.#at >= this.#last) return false
    const id = this.#bytes[this.#at++] as number
    this.critical = (id & CRITICAL) !== 0
    this.id = id & ~CRITICAL
    let length = 0
    for (let shift = 0; ; shift += 7) {
      if (this.#at >= this.#last || shift > 21) return this.#break()
      const byte = this.#bytes[this.#at++] as number
      length |= (byte & 0x7f) << shift
      if (byte < 0x80) break
    }
    this.#end = this.#at + length
    return this.#end <= this.#last || this.#break()
  }

  text(): string {
    return this.#bytes.toString('utf8', this.#at, this.#end)
  }

  /** The text; `expected` itself where it is that: then no string is made. */
  textLike(expected: string | undefined): string {
    return expected !== undefined && this.#is(expected) ? expected : this.text()
  }

  codec(): string {
    for (const known of COMMON_CODECS) if (this.#is(known)) return known
    return this.text()
  }

  /** Compares ASCII text; for any other it says no. */
  #is(text: string): boolean {
    if (text.length !== this.#end - this.#at) return false
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i)
      if (code > 0x7f || code !== this.#bytes[this.#at + i]) return false
    }
    return true
  }

  number(): number {
    if (this.#end - this.#at === 8) return this.#bytes.readDoubleLE(this.#at)
    this.broken = true
    return 0
  }

  /** A whole number that is not negative. */
  count(most = Number.MAX_SAFE_INTEGER): number {
    const number = this.number()
    if (!isCount(number) || number > most) this.broken = true
    return number
  }

  instant(mayBeNever: boolean): number {
    const number = this.number()
    if (!isInstant(number) && !(mayBeNever && number === Number.POSITIVE_INFINITY)) this.broken = true
    return number
  }

  #break(): false {
    this.broken = true
    return false
  }
}

/** One for all headers: none is read while another is. */
const reader = new FieldReader()
