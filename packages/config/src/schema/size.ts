const UNIT_BYTES: Readonly<Record<string, number>> = { b: 1, kb: 1024, mb: 1024 ** 2, gb: 1024 ** 3, tb: 1024 ** 4 }

/** What a size looks like when it is text; for the published schema, where flags cannot be given. */
export const SIZE_PATTERN = '^\\s*\\d+(\\.\\d+)?\\s*([kKmMgGtT]?[bB])\\s*$'

const WRITTEN = /^\s*(\d+(?:\.\d+)?)\s*([kmgt]?b)\s*$/i

/** Bytes of a size: a whole number of bytes, or text with a unit (powers of 1,024) such as `'10gb'`. `undefined`: it is none. */
export function bytesOf(size: unknown): number | undefined {
  if (typeof size === 'number') return Number.isSafeInteger(size) && size >= 0 ? size : undefined
  const match = typeof size === 'string' ? WRITTEN.exec(size) : null
  const unit = match?.[2]?.toLowerCase()
  const bytes = match?.[1] === undefined || unit === undefined ? Number.NaN : Math.floor(Number(match[1]) * (UNIT_BYTES[unit] ?? Number.NaN))
  return Number.isSafeInteger(bytes) ? bytes : undefined
}
