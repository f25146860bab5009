import zlib from 'node:zlib'

type Crc32 = (bytes: Uint8Array, before?: number) => number

/** CRC-32 (ISO 3309, as in zlib) of bytes, or of what came `before` them and them. Node has it from 20.15; older versions of 20 get the table-driven form. */
export const crc32: Crc32 =
  typeof (zlib as { crc32?: unknown }).crc32 === 'function'
    ? (bytes, before) => (zlib as unknown as { crc32: Crc32 }).crc32(bytes, before)
    : tableCrc32

let table: Uint32Array | undefined

/** Sarwate's byte-wise algorithm (CACM 31/8, 1988). */
export function tableCrc32(bytes: Uint8Array, before = 0): number {
  table ??= Uint32Array.from({ length: 256 }, (_, byte) => {
    let crc = byte
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1
    return crc
  })
  let crc = ~before >>> 0
  for (const byte of bytes) crc = (crc >>> 8) ^ (table[(crc ^ byte) & 0xff] as number)
  return (crc ^ 0xffffffff) >>> 0
}
