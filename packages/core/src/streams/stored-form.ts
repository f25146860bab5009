import { pipeline, Readable } from 'node:stream'
import type { Clock } from '@thermocline/backend'
import type { Compression } from '../codec/compression.js'
import { compressedOnPool } from '../codec/on-pool.js'
import { SharedStream, type Reader } from './shared-stream.js'

/** What tells whether compression is worth it for a stream, whose end is not known. */
const SAMPLE_BYTES = 64 * 1024

/** A stream as tiers store it. */
export interface StoredForm {
  readonly stream: SharedStream
  readonly codec: string
}

/**
 * The stream as it is to be stored: itself, or compressed once for all tiers. A stream shorter than the threshold, or whose first 64 KiB do
 * not shrink, stays as it is.
 *
 * @param reader of the stream, for the tiers
 */
export async function storedForm(stream: SharedStream, reader: Reader | undefined, compression: Compression | undefined, clock: Clock): Promise<StoredForm> {
  const plain = { stream, codec: 'buffer' }
  if (compression === undefined || reader === undefined) return plain
  const head: Uint8Array[] = []
  let bytes = 0
  while (bytes < Math.max(SAMPLE_BYTES, compression.threshold)) {
    const step = await reader.next()
    if (step.done === true) break
    head.push(step.value)
    bytes += step.value.byteLength
  }
  const sample = { codec: 'buffer', bytes: Buffer.concat(head) }
  const shrinks = bytes >= compression.threshold && (await compressedOnPool(compression, sample)) !== sample
  const whole = joined(head, reader)
  if (!shrinks) return { stream: new SharedStream(whole, { clock }), codec: 'buffer' }
  const compressed = pipeline(Readable.from(whole, { objectMode: false }), compression.compressor(), () => undefined)
  return { stream: new SharedStream(compressed as AsyncIterable<Uint8Array>, { clock }), codec: compression.codecOver('buffer') }
}

async function* joined(head: readonly Uint8Array[], reader: Reader): AsyncGenerator<Uint8Array, void, undefined> {
  try {
    yield* head
    yield* reader
  } finally {
    await reader.return()
  }
}
