import { randomBytes } from 'node:crypto'
import { checkHashes, type Expected } from './checksums.js'
import { GcsError, invalid } from './reply.js'

/** Chunks are to be a multiple of this, but for the last (cloud.google.com/storage/docs/performing-resumable-uploads#chunked-upload). */
const UNIT = 256 * 1024

export type Progress = { readonly isDone: false; readonly received: number } | { readonly isDone: true; readonly data: Buffer }

interface ContentRange {
  /** `undefined`: the request has no bytes, it asks how far the upload is. */
  readonly from: number | undefined
  /** `undefined`: until the end of the object, wherever that is. */
  readonly to: number | undefined
  /** Of the whole object, if the client knows it by now. */
  readonly total: number | undefined
}

/**
 * A session of a resumable upload: bytes arrive in one or several requests, and become an object with the last.
 * From cloud.google.com/storage/docs/performing-resumable-uploads and .../resumable-uploads:
 *
 * - until then a request is answered 308, with `Range: bytes=0-N` when anything has been persisted;
 * - `Content-Range: bytes * / *` (or `* / TOTAL`) asks for that without sending bytes;
 * - bytes that are there already are ignored; bytes beyond those that are there are refused (503, as the service was seen to);
 * - the client must not take it that all bytes of a request were persisted: here, what is over a multiple of 256 KiB is not;
 * - a cancelled session answers 499, one that came to a bad end 410, an unknown one 404.
 */
export class UploadSession {
  readonly id = randomBytes(24).toString('base64url')
  readonly #expected: Expected
  readonly #declaredTotal: number | undefined
  #data = Buffer.alloc(0)
  #end: 'done' | 'cancelled' | 'gone' | undefined

  constructor(expected: Expected, declaredTotal: number | undefined) {
    this.#expected = expected
    this.#declaredTotal = declaredTotal
  }

  get isOpen(): boolean {
    return this.#end === undefined
  }

  cancel(): void {
    this.#throwIfEnded()
    this.#end = 'cancelled'
  }

  /** It answers 410 from now on. */
  breakOff(): void {
    if (this.#end === undefined) this.#end = 'gone'
  }

  complete(): void {
    this.#end = 'done'
  }

  /** Takes a request: its bytes, all of them unless the connection broke. */
  put(contentRange: string | undefined, bytes: Buffer, { isWhole, hashes }: { readonly isWhole: boolean; readonly hashes: Expected }): Progress {
    this.#throwIfEnded()
    const range = parseContentRange(contentRange, bytes.length, isWhole)
    const total = range.total ?? this.#declaredTotal
    if (this.#declaredTotal !== undefined && total !== this.#declaredTotal) throw invalid(`Invalid request. The size of the object was declared as ${this.#declaredTotal} bytes.`)
    if (range.from !== undefined) {
      if (range.from > this.#data.length) throw new GcsError(503, 'backendError', `Invalid request. According to the Content-Range header, the upload offset is ${range.from} byte(s), which exceeds already uploaded size of ${this.#data.length} byte(s).`)
      const isLast = isWhole && (range.to === undefined || (total !== undefined && range.to + 1 === total))
      if (isWhole && !isLast && bytes.length < UNIT) {
        throw invalid(`Invalid request. The number of bytes uploaded is required to be equal or greater than ${UNIT}, except for the final request (it's recommended to be the exact multiple of ${UNIT}). The received request contained ${bytes.length} bytes, which does not meet this requirement.`)
      }
      this.#append(bytes.subarray(this.#data.length - range.from), isLast)
      if (isLast && (total === undefined || total === this.#data.length)) return this.#finish(hashes)
    } else if (total === this.#data.length) {
      return this.#finish(hashes) // also an object without bytes: "bytes */0"
    }
    return { isDone: false, received: this.#data.length }
  }

  #append(bytes: Buffer, isLast: boolean): void {
    const all = Buffer.concat([this.#data, bytes])
    this.#data = isLast ? all : all.subarray(0, Math.max(this.#data.length, all.length - (all.length % UNIT)))
  }

  #finish(hashes: Expected): Progress {
    try {
      checkHashes(this.#data, { md5Hash: hashes.md5Hash ?? this.#expected.md5Hash, crc32c: hashes.crc32c ?? this.#expected.crc32c })
    } catch (error) {
      this.breakOff()
      throw error
    }
    return { isDone: true, data: this.#data }
  }

  #throwIfEnded(): void {
    if (this.#end === 'cancelled') throw new GcsError(499, 'clientClosedRequest', 'Client Closed Request')
    if (this.#end === 'gone') throw new GcsError(410, 'gone', 'The requested upload session is no longer available.')
  }
}

function parseContentRange(header: string | undefined, length: number, isWhole: boolean): ContentRange {
  if (header === undefined) return { from: 0, to: undefined, total: undefined }
  const [, first, last, all] = /^bytes (?:(\d+)-(\d+|\*)|\*)\/(\d+|\*)$/.exec(header) ?? []
  if (all === undefined) throw invalid(`Failed to parse Content-Range header: ${header}`)
  const total = all === '*' ? undefined : Number(all)
  if (first === undefined) {
    if (length > 0) throw invalid('Invalid request. A request that asks for the status has no bytes.')
    return { from: undefined, to: undefined, total }
  }
  const from = Number(first)
  const to = last === '*' ? (total === undefined ? undefined : total - 1) : Number(last)
  if (to !== undefined && (to < from - 1 || (total !== undefined && to >= total) || (isWhole && to - from + 1 !== length))) {
    throw invalid(`Invalid request. The Content-Range header ${header} does not fit the ${length} bytes of the request.`)
  }
  return { from, to, total }
}
