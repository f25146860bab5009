import { pipeline, Readable, type Transform } from 'node:stream'
import { CacheError, type EncodedPayload } from '@thermocline/backend'
import { DECOMPRESSION } from './compression.js'
import { onPool } from './on-pool.js'
import type { PayloadPlace, PayloadStep, StepReader } from './payload-step.js'

/*
 * The way of a payload's bytes: a codec makes them of a value, then each step of the policy changes them, and a tier gets what comes out. The entry's codec
 * lists what was done, `json+gzip`, so a reader knows what to undo whatever its own policy says, and one that does not know a step has a miss. Bytes go from
 * one tier to another as they are.
 */

/** Whether steps have to be undone before the codec can read the bytes. */
export function isPacked(codec: string): boolean {
  return codec.includes('+')
}

/** Whether a payload of so many bytes goes through any of the steps. */
export function isToBePacked(steps: readonly PayloadStep[], bytes: number): boolean {
  return steps.some(({ optionalFrom = 0 }) => bytes >= optionalFrom)
}

/** The most bytes of one payload that are made in memory, unless an option says otherwise: 1 GiB. */
export const DEFAULT_MAX_BUFFERED_BYTES = 1024 ** 3
/** Payloads that do not say how long they are may become so many times as long: what deflate can do at most. Brotli and zstd can do much more. */
const MOST_TIMES = 1032
/** So long they may become in any case. */
const ALWAYS_BYTES = 16 * 1024 ** 2

export class Payloads {
  readonly #readers = new Map<string, StepReader>()

  constructor(readers: Iterable<StepReader> = DECOMPRESSION) {
    for (const reader of readers) this.add(reader)
  }

  /** From now on the step can be undone. */
  add(reader: StepReader): void {
    this.#readers.set(reader.id, reader)
  }

  /**
   * The payload as tiers that keep bytes are given it. Works on the thread pool.
   *
   * @throws what a step that must not be left out fails with
   */
  async pack(payload: EncodedPayload, steps: readonly PayloadStep[], place: PayloadPlace): Promise<EncodedPayload> {
    let packed = payload
    for (const step of steps) packed = await applied(step, packed, payload.bytes.byteLength, place)
    return packed
  }

  /**
   * The payload as its codec made it, in memory. Never makes more bytes than it ought to have: a few hundred can become gigabytes.
   *
   * @param maxBytes of the payload as it was
   * @throws CacheError `foreign` when a step is not known here, the bytes are none of its, or they become more than such a payload can have
   * been; `corrupt` when they are not as many as its header says; `too-large` when they are more than `maxBytes`; `timeout`
   */
  async unpack(payload: EncodedPayload, place: PayloadPlace, maxBytes: number = DEFAULT_MAX_BUFFERED_BYTES): Promise<EncodedPayload> {
    const { plainBytes } = payload
    const likely = plainBytes ?? Math.max(ALWAYS_BYTES, payload.bytes.byteLength * MOST_TIMES)
    const plain = likely > maxBytes && plainBytes !== undefined ? undefined : await this.unpackUpTo(Math.min(maxBytes, likely), payload, place)
    if (plain !== undefined && (plainBytes === undefined || plain.bytes.byteLength === plainBytes)) return plain
    const what = `the entry's payload of ${payload.bytes.byteLength} bytes`
    if (likely > maxBytes) throw new CacheError('too-large', `${what} is more than ${maxBytes} bytes when it is decompressed: read it as a stream, or allow more`, { operation: 'decode' })
    if (plainBytes !== undefined) throw new CacheError('corrupt', `${what} does not decompress to the ${plainBytes} that its header says`, { operation: 'decode' })
    throw new CacheError('foreign', `${what} decompresses to more than ${likely}, and its header does not say so`, { operation: 'decode' })
  }

  /** The same; `undefined` when that is more than so many bytes. */
  async unpackUpTo(maxBytes: number, payload: EncodedPayload, place: PayloadPlace): Promise<EncodedPayload | undefined> {
    const { codec, readers } = this.#way(payload.codec)
    let { bytes } = payload
    for (const reader of readers) {
      const before = await onPool('decode', bytes.byteLength, reader.undo(bytes, place, maxBytes))
      if (before === undefined) return undefined
      bytes = before
    }
    return { codec, bytes }
  }

  /** What undoes the steps of a stream, in the order in which they are to be undone. @throws CacheError `foreign` when one is not known here */
  unpacking(codec: string, place: PayloadPlace): Transform[] {
    return this.#way(codec).readers.map((reader) => reader.undoing(place))
  }

  /** @throws CacheError `foreign` when a step is not known here */
  check(codec: string): void {
    if (isPacked(codec)) this.#way(codec)
  }

  /** The codec below the steps, and who undoes them, the last one first. */
  #way(codec: string): { readonly codec: string; readonly readers: readonly StepReader[] } {
    const [plain = '', ...steps] = codec.split('+')
    return { codec: plain, readers: steps.toReversed().map((id) => this.#readerOf(id)) }
  }

  #readerOf(id: string): StepReader {
    const reader = this.#readers.get(id)
    if (reader !== undefined) return reader
    throw new CacheError('foreign', `the entry was written with ${JSON.stringify(id)} around its codec, which is not known here`, { operation: 'decode' })
  }
}

async function applied(step: PayloadStep, payload: EncodedPayload, plainBytes: number, place: PayloadPlace): Promise<EncodedPayload> {
  const isOptional = step.optionalFrom !== undefined
  if (payload.bytes.byteLength < (step.optionalFrom ?? 0)) return payload
  try {
    const bytes = await onPool('encode', payload.bytes.byteLength, step.apply(payload.bytes, place))
    return isOptional && bytes.byteLength >= payload.bytes.byteLength ? payload : { codec: `${payload.codec}+${step.id}`, bytes, plainBytes }
  } catch (error) {
    if (isOptional) return payload
    throw error
  }
}

/** Chunks through transforms; where one fails, all are given up. */
export function through(chunks: AsyncIterable<Uint8Array>, transforms: readonly Transform[]): Readable {
  const source = Readable.from(chunks, { objectMode: false })
  return transforms.length === 0 ? source : (pipeline([source, ...transforms], () => undefined) as unknown as Readable)
}
