import { crc32, readOnce, type PayloadStream } from '@thermocline/backend'

/** What a stream says of itself before its end; by default only its codec. */
export interface StreamWishes {
  /** Default `buffer`: the bytes are the value. */
  readonly codec?: string | undefined
  readonly byteLength?: number | undefined
  readonly crc32?: number | undefined
}

/** A stream that knows what became of it. */
export interface ObservedStream extends PayloadStream {
  /** Bytes that were taken so far. */
  readonly taken: number
  /** Whether it holds nothing any more: it ended, threw, was left, or was cancelled. */
  readonly isReleased: boolean
}

/**
 * A stream of these chunks. Like any other it can be read once.
 *
 * @param chunks may throw where a source is to fail
 * @param wishes `factsOf(chunks)` for a stream that knows length and checksum beforehand
 */
export function streamOf(chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>, wishes: StreamWishes = {}): ObservedStream {
  return new SourceStream(chunks, wishes)
}

/** Length and checksum of all chunks together. */
export function factsOf(chunks: Iterable<Uint8Array>): { readonly byteLength: number; readonly crc32: number } {
  let byteLength = 0
  let crc = 0
  for (const chunk of chunks) {
    byteLength += chunk.byteLength
    crc = crc32(chunk, crc)
  }
  return { byteLength, crc32: crc }
}

/** Reads a stream to its end. */
export async function bytesOf(payload: PayloadStream): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of payload.chunks()) chunks.push(chunk)
  return Buffer.concat(chunks)
}

/** So many bytes, different for each seed, in which no piece looks like its neighbours. */
export function patterned(size: number, seed = 0): Buffer {
  if (size === 0) return Buffer.alloc(0)
  let state = seed + 1
  const pattern = Uint8Array.from({ length: Math.min(size, PATTERN_BYTES) }, () => (state = (state * 48_271) % 0x7fffffff) & 0xff)
  return Buffer.alloc(size, pattern)
}

/** Cuts bytes into pieces of these sizes, again and again. */
export function cut(bytes: Uint8Array, ...sizes: readonly number[]): Uint8Array[] {
  const chunks: Uint8Array[] = []
  for (let at = 0, i = 0; at < bytes.byteLength; i++) {
    const size = sizes[i % sizes.length] ?? bytes.byteLength
    chunks.push(bytes.subarray(at, at + size))
    at += size
  }
  return chunks
}

/** A prime, so that no buffer of a store repeats with the pattern. */
const PATTERN_BYTES = 65_521

/** A stream that is fed by hand: it waits whenever it has been given nothing. */
export class HandFedStream implements ObservedStream {
  readonly codec: string
  readonly byteLength: number | undefined
  readonly crc32: number | undefined
  readonly #source: ObservedStream
  readonly #given: { readonly bytes: Uint8Array; readonly taken: () => void }[] = []
  #wake: () => void = () => undefined
  #ended = false
  #failure: { readonly error: unknown } | undefined

  constructor(wishes: StreamWishes = {}) {
    this.#source = new SourceStream(this.#feed(), wishes)
    this.codec = this.#source.codec
    this.byteLength = wishes.byteLength
    this.crc32 = wishes.crc32
  }

  get taken(): number {
    return this.#source.taken
  }

  get isReleased(): boolean {
    return this.#source.isReleased
  }

  /** Resolves when the bytes were taken and more is asked for. */
  give(bytes: Uint8Array): Promise<void> {
    return new Promise((resolve) => {
      this.#given.push({ bytes, taken: resolve })
      this.#wake()
    })
  }

  end(): void {
    this.#ended = true
    this.#wake()
  }

  fail(error: unknown): void {
    this.#failure = { error }
    this.#wake()
  }

  chunks(): AsyncIterable<Uint8Array> {
    return this.#source.chunks()
  }

  cancel(): void {
    this.#source.cancel()
    this.end()
  }

  async *#feed(): AsyncGenerator<Uint8Array, void, undefined> {
    for (;;) {
      const next = this.#given.shift()
      if (next !== undefined) {
        yield next.bytes
        next.taken()
      } else if (this.#failure !== undefined) throw this.#failure.error
      else if (this.#ended) return
      else await new Promise<void>((resolve) => (this.#wake = resolve))
    }
  }
}

class SourceStream implements ObservedStream {
  readonly codec: string
  readonly byteLength: number | undefined
  readonly crc32: number | undefined
  taken = 0
  isReleased = false
  readonly #source: Iterable<Uint8Array> | AsyncIterable<Uint8Array>
  #cancelled = false
  readonly chunks = readOnce(() => this.#pass())

  constructor(source: Iterable<Uint8Array> | AsyncIterable<Uint8Array>, { codec = 'buffer', byteLength, crc32: crc }: StreamWishes) {
    this.codec = codec
    this.byteLength = byteLength
    this.crc32 = crc
    this.#source = source
  }

  cancel(): void {
    this.#cancelled = true
    this.isReleased = true
  }

  async *#pass(): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      for await (const chunk of this.#source) {
        this.#throwIfCancelled()
        this.taken += chunk.byteLength
        yield chunk
      }
      this.#throwIfCancelled()
    } finally {
      this.isReleased = true
    }
  }

  /** It must not look like one that has ended. */
  #throwIfCancelled(): void {
    if (this.#cancelled) throw new Error('the stream was cancelled')
  }
}
