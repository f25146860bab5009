import { pipeline, Readable } from 'node:stream'
import { CacheError } from '@thermocline/backend'
import { decompressorOf, isCompressed } from '../../codec/compression.js'
import { onAbort } from '../../compute/abort.js'
import type { Fence } from '../../compute/fence.js'
import { Waiter } from '../../compute/waiting.js'
import type { Reader, SharedStream } from './shared-stream.js'

/** What a flight has come to: a stream that callers read, found or made. */
export interface OpenedStream {
  readonly stream: SharedStream
  /** For a compute: resolves when what passed is stored. Who comes too late for the stream finds it then, instead of computing once more. */
  readonly stored?: Promise<unknown> | undefined
  /** The codec of the bytes as they pass. */
  readonly codec: string
  /** How long a caller may be a window behind the others, in milliseconds. */
  readonly patienceMs: number
  /** The rest, for a caller who was left behind. */
  readonly resume: (offset: number) => AsyncIterable<Uint8Array>
}

/** One download or compute of one key, shared by all who ask for its stream while it runs. */
export class StreamFlight<O extends OpenedStream = OpenedStream> extends Waiter {
  readonly fence: Fence
  /** Whether it makes what it does not find. */
  readonly computes: boolean
  /** Whether it has come to something. */
  isOpen = false
  /** Callers who wait for it to open. */
  waiting = 0
  /** What it has come to; `undefined`: nothing was found, and it computes nothing. */
  opened: Promise<O | undefined> = Promise.resolve(undefined)
  #controller: AbortController | undefined
  #aborted: { readonly reason: unknown } | undefined

  constructor(key: string, tenant: string, fence: Fence, computes: boolean) {
    super(key, tenant)
    this.fence = fence
    this.computes = computes
  }

  /** Fires when nobody waits for it any more. */
  get signal(): AbortSignal {
    this.#controller ??= new AbortController()
    if (this.#aborted !== undefined) this.#controller.abort(this.#aborted.reason)
    return this.#controller.signal
  }

  abort(reason: unknown): void {
    this.#aborted ??= { reason }
    this.#controller?.abort(reason)
  }
}

/** One caller's stream of the values' bytes. Ending it early gives the caller's part up. */
export function readableOf(reader: Reader, codec: string, signal: AbortSignal | undefined): Readable {
  const readable: Readable = isCompressed(codec)
    ? pipeline(Readable.from(reader, { objectMode: false }), decompressorOf(codec), () => undefined)
    : Readable.from(new OwnChunks(reader), { objectMode: false })
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
