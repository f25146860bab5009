import zlib from 'node:zlib'

type ZlibCrc32 = (bytes: Uint8Array, before?: number) => number

/** Node has it from 20.15; older versions of 20 do without. */
const zlibCrc32 = (zlib as { crc32?: ZlibCrc32 }).crc32
/** Up to so many bytes a call into zlib, and the view made for it, cost more than the work. */
const MOST_BY_TABLE = 256

/** CRC-32 (ISO 3309, as in zlib) of bytes, or of what came `before` them and them. */
export function crc32(bytes: Uint8Array, before = 0): number {
  return bytes.length <= MOST_BY_TABLE || zlibCrc32 === undefined ? tableCrc32(bytes, 0, bytes.length, before) : zlibCrc32(bytes, before)
}

/** The same of a part of the bytes. */
export function crc32OfPart(bytes: Uint8Array, start: number, end: number): number {
  return end - start <= MOST_BY_TABLE || zlibCrc32 === undefined ? tableCrc32(bytes, start, end) : zlibCrc32(bytes.subarray(start, end))
}

/** Eight tables of 256 in a row: the n-th advances a byte by n further bytes. */
let tables: Int32Array | undefined

/** Eight bytes a step ("slicing-by-8": Kounavis and Berry, A Systematic Approach to Building High Performance CRC Generators, 2005). */
export function tableCrc32(bytes: Uint8Array, start = 0, end = bytes.length, before = 0): number {
  const t = (tables ??= makeTables())
  let crc = ~before
  let at = start
  // without a function for what repeats here: it would be an object for each checksum
  for (; at + 8 <= end; at += 8) {
    crc ^= (bytes[at] as number) | ((bytes[at + 1] as number) << 8) | ((bytes[at + 2] as number) << 16) | ((bytes[at + 3] as number) << 24)
    crc =
      (t[1792 + (crc & 0xff)] as number) ^
      (t[1536 + ((crc >>> 8) & 0xff)] as number) ^
      (t[1280 + ((crc >>> 16) & 0xff)] as number) ^
      (t[1024 + (crc >>> 24)] as number) ^
      (t[768 + (bytes[at + 4] as number)] as number) ^
      (t[512 + (bytes[at + 5] as number)] as number) ^
      (t[256 + (bytes[at + 6] as number)] as number) ^
      (t[bytes[at + 7] as number] as number)
  }
  for (; at < end; at++) crc = (crc >>> 8) ^ (t[(crc ^ (bytes[at] as number)) & 0xff] as number)
  return ~crc >>> 0
}

function makeTables(): Int32Array {
  const made = new Int32Array(8 * 256)
  for (let value = 0; value < 256; value++) {
    let crc = value
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1
    made[value] = crc
  }
  for (let at = 256; at < made.length; at++) {
    const before = made[at - 256] as number
    made[at] = (before >>> 8) ^ (made[before & 0xff] as number)
  }
  return made
}
