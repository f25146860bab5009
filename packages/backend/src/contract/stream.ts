import { CacheEntry, NO_VALUE, type EntryFields } from './entry.js'

/**
 * A payload as a stream: its bytes arrive while they are read, and are never all in memory.
 *
 * Whoever is handed one either reads it to its end, or calls `cancel`; it holds a descriptor or a connection until then.
 */
export interface PayloadStream {
  /** The id of the codec that made the bytes, as in an {@link EncodedPayload}. */
  readonly codec: string
  /** How many bytes there are; `undefined`: nobody knows before the end. */
  readonly byteLength: number | undefined
  /** The CRC-32 of the bytes; `undefined`: nobody knows before the end. */
  readonly crc32: number | undefined
  /**
   * The bytes, once. They may be kept, nobody writes to them. Ends only after all of them were found to be what was stored; throws a
   * {@link CacheError} (`corrupt`, `unavailable`, ...) instead of ending otherwise. Leaving the loop early gives the rest up.
   */
  chunks(): AsyncIterable<Uint8Array>
  /** Gives up what was not read. Harmless at any time, also after the end. */
  cancel(): void
}

/** An entry whose payload is a stream. Only for backends whose `capabilities.streams` is true. */
export class StreamedEntry extends CacheEntry {
  readonly payload: PayloadStream

  constructor(payload: PayloadStream, fields: EntryFields) {
    super(NO_VALUE, undefined, fields)
    this.payload = payload
  }
}

/**
 * The same entry, whose payload's chunks come another way, once. A function, because an entry may be of another copy of this package.
 *
 * @param cancel gives them up; default: what gives up the entry's own
 */
export function withChunks(entry: StreamedEntry, chunks: () => AsyncIterable<Uint8Array>, cancel = (): void => entry.payload.cancel()): StreamedEntry {
  const { codec, byteLength, crc32 } = entry.payload
  return new StreamedEntry({ codec, byteLength, crc32, chunks: readOnce(chunks), cancel }, entry)
}

/** Chunks that can be begun once: the second time is a `TypeError`. */
export function readOnce(chunks: () => AsyncIterable<Uint8Array>): () => AsyncIterable<Uint8Array> {
  let isBegun = false
  return () => {
    if (isBegun) throw new TypeError('a payload stream can be read once, and this one was begun already')
    isBegun = true
    return chunks()
  }
}

/** True for a {@link StreamedEntry}, also of another copy of this package. */
export function isStreamed(entry: CacheEntry): entry is StreamedEntry {
  return (entry as Partial<StreamedEntry>).payload !== undefined
}
