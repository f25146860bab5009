import zlib from 'node:zlib'

type ZlibCrc32 = (bytes: Uint8Array) => number

/** Node has it from 20.15; older versions of 20 do without. */
const zlibCrc32 = (zlib as { crc32?: ZlibCrc32 }).crc32
/** Up to so many bytes a call into zlib, and the view made for it, cost more than the work. */
const MOST_BY_TABLE = 256

/** CRC-32 (ISO 3309, as in zlib) of a part of the bytes. */
export function crc32(bytes: Uint8Array, start = 0, end = bytes.length): number {
  if (end - start <= MOST_BY_TABLE || zlibCrc32 === undefined) return tableCrc32(bytes, start, end)
  return zlibCrc32(start === 0 && end === bytes.length ? bytes : bytes.subarray(start, end))
}

/** Eight tables of 256 in a row: the n-th advances a byte by n further bytes. */
let tables: Int32Array | undefined

/** Eight bytes a step ("slicing-by-8": Kounavis and Berry, A Systematic Approach to Building High Performance CRC Generators, 2005). */
export function tableCrc32(bytes: Uint8Array, start = 0, end = bytes.length): number {
  const t = (tables ??= makeTables())
  const byte = (at: number): number => bytes[at] as number
  const from = (index: number): number => t[index] as number
  let crc = -1
  let at = start
  for (; at + 8 <= end; at += 8) {
    crc ^= byte(at) | (byte(at + 1) << 8) | (byte(at + 2) << 16) | (byte(at + 3) << 24)
    crc =
      from(1792 + (crc & 0xff)) ^ from(1536 + ((crc >>> 8) & 0xff)) ^ from(1280 + ((crc >>> 16) & 0xff)) ^ from(1024 + (crc >>> 24)) ^
      from(768 + byte(at + 4)) ^ from(512 + byte(at + 5)) ^ from(256 + byte(at + 6)) ^ from(byte(at + 7))
  }
  for (; at < end; at++) crc = (crc >>> 8) ^ from((crc ^ byte(at)) & 0xff)
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
