import { crc32 } from '@thermocline/backend'

/*
 * The lines of a shared log: a checksum, and a record as JSON. What a write that broke off leaves does not fit its checksum and is passed over.
 */

/** A record: its kind, a mark by which its writer knows it again, and what belongs to the kind. */
export type LogRecord = readonly [kind: string, mark: string, ...rest: string[]]

const NEWLINE = 10

export function encodeRecord(record: LogRecord): Buffer {
  const json = JSON.stringify(record)
  return Buffer.from(`${crc32(Buffer.from(json)).toString(36)} ${json}\n`)
}

/** @returns `undefined` for what is no whole record */
export function decodeRecord(line: Buffer): LogRecord | undefined {
  const space = line.indexOf(32)
  if (space <= 0) return undefined
  const json = line.subarray(space + 1)
  if (crc32(json).toString(36) !== line.toString('latin1', 0, space)) return undefined
  const record = JSON.parse(json.toString()) as unknown
  return Array.isArray(record) && record.length >= 2 && record.every((part) => typeof part === 'string') ? (record as unknown as LogRecord) : undefined
}

/** Cuts what is read into lines. */
export class LineCutter {
  #rest: Buffer = Buffer.alloc(0)
  #at = 0

  /** Whole lines, and where each begins. */
  cut(bytes: Buffer): readonly (readonly [line: Buffer, at: number])[] {
    const lines: [Buffer, number][] = []
    const all = this.#rest.byteLength === 0 ? bytes : Buffer.concat([this.#rest, bytes])
    let from = 0
    for (let end = all.indexOf(NEWLINE); end >= 0; end = all.indexOf(NEWLINE, from)) {
      const at = this.#at + from
      const line = all.subarray(from, end)
      from = end + 1
      if (line.byteLength > 0) lines.push([line, at])
    }
    this.#at += from
    this.#rest = Buffer.from(all.subarray(from))
    return lines
  }
}
