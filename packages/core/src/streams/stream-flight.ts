import { Readable } from 'node:stream'
import { CacheError } from '@thermocline/backend'
import { isPacked, through } from '../codec/payloads.js'
import { onAbort } from '../flights/abort.js'
import { Flight } from '../flights/flight.js'
import type { Operation } from '../operation/operation.js'
import type { StaleReason } from '../state/events.js'
import type { FoundStream } from './open-stream.js'
import type { Reader, SharedStream } from './shared-stream.js'

/** What a flight has come to: a stream that callers read, found or made. */
export interface OpenedStream {
  readonly stream: SharedStream
  /** Where it was found; `undefined`: it was made. */
  readonly found: FoundStream | undefined
  /** Why it is an old value; `undefined`: it is not. */
  readonly stale?: StaleReason | undefined
  /** For a compute: resolves when what passed is stored. Who comes too late for the stream finds it then, instead of computing once more. */
  readonly stored?: Promise<unknown> | undefined
  /** The codec of the bytes as they pass. */
  readonly codec: string
  /** How long a caller may be a window behind the others, in milliseconds. */
  readonly patienceMs: number
  /** The rest, for a caller who was left behind. */
  readonly resume: (offset: number) => AsyncIterable<Uint8Array>
}

/** One download or compute of one key, shared by all who ask for its stream while it runs; `undefined`: nothing was found, and it makes nothing. */
export class StreamFlight extends Flight<OpenedStream | undefined> {
  /** All of what it makes as one value, while somebody wants it so. */
  whole: Flight<Buffer | undefined> | undefined = undefined

  /** What nobody is left to read is given up. */
  protected override deserted(outcome: Promise<OpenedStream | undefined>): void {
    outcome.then((opened) => {
      if (opened?.stream.isWanted === false) opened.stream.desert()
    }, () => undefined)
  }
}

/** One caller's stream of the values' bytes. Ending it early gives the caller's part up. */
export function readableOf({ engine, place }: Operation, reader: Reader, codec: string, signal: AbortSignal | undefined): Readable {
  const readable = isPacked(codec) ? through(reader, engine.payloads.unpacking(codec, place)) : Readable.from(new OwnChunks(reader), { objectMode: false })
  readable.on('error', () => undefined) // told to whoever reads; without a listener Node would end the process
  if (signal !== undefined) {
    const stop = onAbort(signal, () => readable.destroy(signal.reason as Error))
    readable.once('close', stop)
    if (signal.aborted) readable.destroy(signal.reason as Error)
  }
  return readable
}

/** Copies: other callers, and the tiers on the side, are given the same chunks. */
class OwnChunks implements AsyncIterableIterator<Uint8Array> {
  readonly #reader: Reader

  constructor(reader: Reader) {
    this.#reader = reader
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async next(): Promise<IteratorResult<Uint8Array>> {
    const step = await this.#reader.next()
    return step.done === true ? step : { done: false, value: Buffer.from(step.value) }
  }

  /** At once, also while a chunk is waited for. */
  return(): Promise<IteratorResult<Uint8Array>> {
    return this.#reader.return()
  }
}

/** What is left of an iterable after its first bytes. */
export async function* after(offset: number, chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
  let skip = offset
  for await (const chunk of chunks) {
    if (skip >= chunk.byteLength) skip -= chunk.byteLength
    else {
      yield skip === 0 ? chunk : chunk.subarray(skip)
      skip = 0
    }
  }
}

export function goneMeanwhile(key: string): CacheError {
  return new CacheError('failed', 'a reader of a stream was left behind by the others, and the entry has changed or is gone since', { operation: 'stream', key })
}
