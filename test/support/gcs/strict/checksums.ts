import { createHash } from 'node:crypto'
import { crc32c } from './crc32c.js'
import { invalid } from './reply.js'

export interface Expected {
  readonly md5Hash?: string | undefined
  readonly crc32c?: string | undefined
}

/** The hashes that a client may send beside the bytes: fields of the metadata, and the headers X-Goog-Hash and Content-MD5. */
export function expectedHashes(metadata: Readonly<Record<string, unknown>>, headers: Readonly<Record<string, string | string[] | undefined>>): Expected {
  const fromHeader = Object.fromEntries(
    String(headers['x-goog-hash'] ?? '')
      .split(',')
      .map((pair) => pair.trim())
      .map((pair) => [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)]), // base64 may end with =
  ) as { readonly crc32c?: string; readonly md5?: string }
  const text = (value: unknown): string | undefined => (typeof value === 'string' && value !== '' ? value : undefined)
  return {
    md5Hash: text(metadata.md5Hash) ?? fromHeader.md5 ?? text(headers['content-md5']),
    crc32c: text(metadata.crc32c) ?? fromHeader.crc32c,
  }
}

/** A write whose hashes do not fit is rejected with 400 (cloud.google.com/storage/docs/data-validation); CRC32C is looked at first. */
export function checkHashes(data: Buffer, expected: Expected): void {
  const crc = crc32c(data)
  if (expected.crc32c !== undefined && expected.crc32c !== crc) throw invalid(`Provided CRC32C "${expected.crc32c}" doesn't match calculated CRC32C "${crc}".`)
  const md5 = createHash('md5').update(data).digest('base64')
  if (expected.md5Hash !== undefined && expected.md5Hash !== md5) throw invalid(`Provided MD5 hash "${expected.md5Hash}" doesn't match calculated MD5 hash "${md5}".`)
}
