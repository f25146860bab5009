/** Bytes of a part: a few are in memory at once. S3 takes parts from 5 MiB on, and 10,000 of them. */
const PART_BYTES = 8 * 1024 ** 2
const MOST_PARTS = 10_000
/** Of a stream of unknown length every so many parts the next are twice as large: 496 GiB in all before parts run out. */
const DOUBLED_AFTER = 2000

/** Gathers chunks into parts. The memory of a part that has been sent is used again. */
export class PartBuffers {
  /** A payload of up to so many bytes is one part. */
  static readonly leastBytes = PART_BYTES
  readonly #byteLength: number | undefined
  readonly #free: Buffer[] = []
  #current: Buffer | undefined
  #length = 0
  #parts = 0
  #taken = 0

  /** @param byteLength of the whole payload, where it is known: it has no more */
  constructor(byteLength: number | undefined) {
    this.#byteLength = byteLength
  }

  /** Bytes of the part that is being gathered. */
  get length(): number {
    return this.#length
  }

  get isFull(): boolean {
    return this.#length === this.#partBytes
  }

  /** Whether all bytes of a payload of known length are here: then the part is the last, and the stream's end is waited for. */
  get isWhole(): boolean {
    return this.#taken === this.#byteLength
  }

  /** Copies as much of a chunk as fits; returns how much. */
  take(chunk: Uint8Array, from: number): number {
    const partBytes = this.#partBytes
    this.#current ??= this.#free.pop() ?? Buffer.allocUnsafeSlow(Math.min(partBytes, this.#byteLength ?? partBytes))
    const part = chunk.subarray(from, from + this.#current.byteLength - this.#length)
    this.#current.set(part, this.#length)
    this.#length += part.byteLength
    this.#taken += part.byteLength
    return part.byteLength
  }

  /** The part as it is; the next one begins. */
  next(): Buffer {
    const part = this.#current?.subarray(0, this.#length) ?? Buffer.alloc(0)
    this.#current = undefined
    this.#length = 0
    this.#parts++
    return part
  }

  /** A part has been sent. */
  giveBack(part: Buffer): void {
    const whole = Buffer.from(part.buffer)
    if (whole.byteLength === this.#partBytes) this.#free.push(whole)
  }

  get #partBytes(): number {
    if (this.#byteLength === undefined) return PART_BYTES * 2 ** Math.floor(this.#parts / DOUBLED_AFTER)
    return Math.max(PART_BYTES, Math.ceil(this.#byteLength / MOST_PARTS))
  }
}
