const POLYNOMIAL = 0x82f63b78 // Castagnoli's, reversed

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ POLYNOMIAL : crc >>> 1
  return crc
})

/** CRC32C in base64 of its four bytes, the highest first (cloud.google.com/storage/docs/data-validation). */
export function crc32c(bytes: Uint8Array): string {
  let crc = 0xffffffff
  for (const byte of bytes) crc = (TABLE[(crc ^ byte) & 0xff] ?? 0) ^ (crc >>> 8)
  const out = Buffer.alloc(4)
  out.writeUInt32BE(~crc >>> 0)
  return out.toString('base64')
}
