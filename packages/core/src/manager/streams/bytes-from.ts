import { isUint8Array } from 'node:util/types'
import type { Readable } from 'node:stream'
import { kindOf } from '../../errors/describe.js'

/** Bytes as a stream: a Node `Readable`, a web `ReadableStream`, an async or plain iterable of chunks, or all of them at once. */
export type ByteSource = AsyncIterable<Uint8Array> | Iterable<Uint8Array> | ReadableStream<Uint8Array> | Uint8Array

/** A source's chunks. */
export interface SourceChunks extends AsyncIterable<Uint8Array> {
  /** Closes what holds a descriptor or a connection, also when it hangs and when nothing of it was read. Harmless at any time. */
  cancel(): void
}

/** @throws TypeError for what is no source; chunks that are no bytes throw when they come */
export function bytesFrom(source: ByteSource, what: string): SourceChunks {
  if (isUint8Array(source)) return { [Symbol.asyncIterator]: () => checked([source], what), cancel: () => undefined }
  if (typeof source === 'object' && source !== null && (Symbol.asyncIterator in source || Symbol.iterator in source)) {
    return { [Symbol.asyncIterator]: () => checked(source as AsyncIterable<Uint8Array> | Iterable<Uint8Array>, what), cancel: () => cancelSource(source) }
  }
  throw new TypeError(`${what} must be a Readable, a ReadableStream or an iterable of Uint8Array chunks, not ${kindOf(source)}`)
}

function cancelSource(given: object): void {
  const source = given as Partial<Pick<Readable, 'destroy'> & Pick<ReadableStream, 'cancel' | 'locked'>>
  if (typeof source.destroy === 'function') source.destroy()
  else if (typeof source.cancel === 'function' && source.locked === false) void source.cancel().catch(() => undefined)
}

async function* checked(source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>, what: string): AsyncGenerator<Uint8Array, void, undefined> {
  const isNodeStream = typeof (source as { pipe?: unknown }).pipe === 'function' // its chunks are its reader's; others may use a buffer again
  for await (const chunk of source) {
    if (!isUint8Array(chunk)) throw new TypeError(`${what} must give Uint8Array chunks, not ${kindOf(chunk)}; a stream with an encoding gives strings`)
    yield isNodeStream ? chunk : new Uint8Array(chunk)
  }
}
