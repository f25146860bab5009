/** Smaller chunks are copied together: a write of very many is slow. */
const SMALL = 16 * 1024
const TOGETHER = 64 * 1024

/** Chunks that are written at once. Large ones are kept as they are, nobody writes to them. */
export class Batch {
  #parts: Uint8Array[] = []
  #bytes = 0
  #together: Buffer | undefined
  #filled = 0

  get bytes(): number {
    return this.#bytes
  }

  add(chunk: Uint8Array): void {
    this.#bytes += chunk.byteLength
    if (chunk.byteLength >= SMALL) {
      this.#flush()
      this.#parts.push(chunk)
      return
    }
    if (this.#filled + chunk.byteLength > TOGETHER) this.#flush()
    this.#together ??= Buffer.allocUnsafeSlow(TOGETHER)
    this.#together.set(chunk, this.#filled)
    this.#filled += chunk.byteLength
  }

  /** What is in it, in order; then it is empty. */
  take(): readonly Uint8Array[] {
    this.#flush()
    const parts = this.#parts
    this.#parts = []
    this.#bytes = 0
    return parts
  }

  #flush(): void {
    if (this.#together === undefined || this.#filled === 0) return
    this.#parts.push(this.#together.subarray(0, this.#filled))
    this.#together = undefined
    this.#filled = 0
  }
}
