/** What is read at a time where no large value is expected. */
const READ_BYTES = 64 * 1024
/** Values from this size on are put together here. */
const LARGE_BYTES = 32 * 1024
/** A reply whose first line is longer is not looked into. */
const LONGEST_LINE_BYTES = 64 * 1024
const LF = 10
const MINUS = 0x2d
const BULK_STRING = 0x24
/** `+` and `-`, `:`, and `*`, whose items follow as replies of their own. */
const OF_ONE_LINE: ReadonlySet<number> = new Set(Buffer.from('+-:*'))

/**
 * Hands a server's replies (RESP 2) on in other pieces: a large value in one, in memory just as long.
 *
 * Problem. A socket gives 64 KB at a time, each in memory of its own, and the client joins them when the last has come. For a value of 1 MB,
 * twice its bytes are allocated, touched for the first time and collected, and that takes longer than all else about it.
 *
 * Approach. The first line of a value says how long it is, so there is memory for it before most of its bytes have come, and they are read
 * right into it (`onread` of `net.connect`). Everything else is read into one buffer, always the same. All bytes are passed on,
 * and in their order, whatever they are.
 */
export class WholeReplies {
  readonly #pass: (bytes: Buffer) => void
  readonly #longestBytes: number
  readonly #common = Buffer.allocUnsafeSlow(READ_BYTES)
  /** A large value that is not complete, with its first line. */
  #value: Buffer | undefined
  #filled = 0
  /** How many bytes come before the next reply. */
  #before = 0
  /** The beginning of a reply's first line, kept until all of it is there. */
  #line: Buffer | undefined

  /** @param longestBytes of values that are put together: the server says how long one is, and may be wrong */
  constructor(longestBytes: number, pass: (bytes: Buffer) => void) {
    this.#longestBytes = longestBytes
    this.#pass = pass
  }

  /** Whether a large value has come in part. */
  get isMidway(): boolean {
    return this.#value !== undefined
  }

  /** Where to read to next. */
  readonly memory = (): Buffer => this.#value?.subarray(this.#filled) ?? this.#common

  /** So many bytes have been read into {@link memory}. */
  read(length: number): void {
    if (this.#value === undefined) this.#look(this.#common.subarray(0, length))
    else this.#fill(this.#value, length)
  }

  #look(came: Buffer): void {
    const bytes = this.#line === undefined ? came : Buffer.concat([this.#line, came])
    this.#line = undefined
    let at = 0
    while (at < bytes.length) {
      if (this.#before > 0) {
        const part = Math.min(this.#before, bytes.length - at)
        this.#before -= part
        at += part
        continue
      }
      const end = bytes.indexOf(LF, at) + 1
      if (end === 0) {
        if (bytes.length - at > LONGEST_LINE_BYTES) this.#before = Number.POSITIVE_INFINITY
        else {
          this.#line = Buffer.from(bytes.subarray(at))
          break
        }
        continue
      }
      const valueBytes = bytesOfValue(bytes, at, end)
      if (valueBytes < LARGE_BYTES || valueBytes > this.#longestBytes || end + valueBytes <= bytes.length) {
        this.#before = end - at + valueBytes
        continue
      }
      this.#passCopy(bytes, at)
      const value = Buffer.allocUnsafeSlow(end - at + valueBytes)
      this.#value = value
      return this.#fill(value, bytes.copy(value, 0, at))
    }
    this.#passCopy(bytes, at)
  }

  /** So many bytes more are in the value, which goes on when it is complete. */
  #fill(value: Buffer, length: number): void {
    this.#filled += length
    if (this.#filled < value.length) return
    this.#value = undefined
    this.#filled = 0
    this.#pass(value)
  }

  #passCopy(bytes: Buffer, end: number): void {
    if (end > 0) this.#pass(Buffer.from(bytes.subarray(0, end)))
  }
}

/** How many bytes belong to the reply after its first line; without end where the line is not understood. */
function bytesOfValue(bytes: Buffer, start: number, end: number): number {
  const kind = bytes[start] as number
  if (OF_ONE_LINE.has(kind)) return 0
  if (kind !== BULK_STRING) return Number.POSITIVE_INFINITY
  if (bytes[start + 1] === MINUS) return 0 // nothing is there
  const length = Number(bytes.toString('latin1', start + 1, end - 2))
  return Number.isSafeInteger(length) && length >= 0 ? length + 2 : Number.POSITIVE_INFINITY
}
