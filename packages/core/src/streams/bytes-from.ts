import { isUint8Array } from 'node:util/types'
import type { Readable } from 'node:stream'
import { kindOnly } from '@thermocline/backend'

/** What a source gives: bytes, or text, which is stored as UTF-8. */
type Chunk = Uint8Array | string

/**
 * Bytes as a stream: a Node `Readable`, a web `ReadableStream`, an async or plain iterable of chunks, or all bytes at once. Chunks may be
 * strings, such as a model's tokens: they are taken as UTF-8, and a surrogate pair may be split over two of them.
 */
export type ByteSource = AsyncIterable<Chunk> | (Iterable<Chunk> & object) | ReadableStream<Uint8Array> | ReadableStream<string> | ReadableStream<Chunk> | Uint8Array

/** A source's chunks. */
export interface SourceChunks extends AsyncIterable<Uint8Array> {
  /** Closes what holds a descriptor or a connection, also when it hangs and when nothing of it was read. Harmless at any time. */
  cancel(): void
}

/** @throws TypeError for what is no source; chunks that are neither bytes nor text throw when they come */
export function bytesFrom(source: ByteSource, what: string): SourceChunks {
  if (isUint8Array(source)) return { [Symbol.asyncIterator]: () => checked([source], what), cancel: () => undefined }
  if (typeof source === 'object' && source !== null && (Symbol.asyncIterator in source || Symbol.iterator in source)) {
    return { [Symbol.asyncIterator]: () => checked(source as AsyncIterable<unknown> | Iterable<unknown>, what), cancel: () => cancelSource(source) }
  }
  throw new TypeError(`${what} must be a Readable, a ReadableStream or an iterable of Uint8Array or string chunks, not ${kindOnly(source)}`)
}

function cancelSource(given: object): void {
  const source = given as Partial<Pick<Readable, 'destroy'> & Pick<ReadableStream, 'cancel' | 'locked'>>
  if (typeof source.destroy === 'function') source.destroy()
  else if (typeof source.cancel === 'function' && source.locked === false) void source.cancel().catch(() => undefined)
}

async function* checked(source: AsyncIterable<unknown> | Iterable<unknown>, what: string): AsyncGenerator<Uint8Array, void, undefined> {
  const isNodeStream = typeof (source as { pipe?: unknown }).pipe === 'function' // its chunks are its reader's; others may use a buffer again
  let half = '' // of a surrogate pair whose other half is to come
  for await (const chunk of source) {
    if (typeof chunk === 'string') {
      const text = half + chunk
      half = HALF_AT_END.test(text) ? text.slice(-1) : ''
      const whole = half === '' ? text : text.slice(0, -1)
      if (!whole.isWellFormed()) throw notWellFormed(what)
      if (whole !== '') yield Buffer.from(whole)
      continue
    }
    if (!isUint8Array(chunk)) throw new TypeError(`${what} must give chunks that are Uint8Arrays or strings, not ${kindOnly(chunk)}`)
    if (half !== '') throw notWellFormed(what)
    yield isNodeStream ? chunk : new Uint8Array(chunk)
  }
  if (half !== '') throw notWellFormed(what)
}

const HALF_AT_END = /[\uD800-\uDBFF]$/

function notWellFormed(what: string): TypeError {
  return new TypeError(`${what} gives text that is not well-formed Unicode: it contains a lone surrogate`)
}
