import type { IncomingMessage } from 'node:http'
import { CacheError, checkedChunks, type OperationOptions, type PayloadStream } from '@thermocline/backend'
import type { ObjectPayload } from '@thermocline/object-store'
import { awaitBody, chunksOf, drop } from './body.js'
import { abandoned, asGcsError, type Place } from './errors.js'
import type { StoreChecksum } from './store-checksum.js'

/** The answer to a download whose payload has not been read. */
export interface Download {
  readonly response: IncomingMessage
  readonly payload: ObjectPayload
  /** For a payload without a checksum of our own. */
  readonly checksum: StoreChecksum | undefined
  readonly options: OperationOptions
  readonly place: Place
  /** Makes the error for a payload that is not what was stored. */
  readonly onDamage: (reason: string) => CacheError
}

/** Ends the connections of streams that nobody has read to their end or cancelled, when they are collected: the last resort. */
const forgotten = new FinalizationRegistry<IncomingMessage>((response) => response.destroy())

/** An object's payload while it arrives. It holds a connection until it was read or given up. */
export class ObjectStream implements PayloadStream {
  readonly codec: string
  readonly byteLength: number | undefined
  readonly crc32: number | undefined
  readonly #download: Download
  #isTaken = false
  #isCancelled = false

  constructor(download: Download) {
    this.codec = download.payload.codec
    this.byteLength = download.payload.byteLength
    this.crc32 = download.payload.crc32
    this.#download = download
    awaitBody(download.response, false) // until somebody reads, silence is nobody's fault
    forgotten.register(this, download.response, this)
  }

  chunks(): AsyncIterable<Uint8Array> {
    if (this.#isTaken) throw new CacheError('failed', 'the payload of an entry from gcs can be read once', { ...this.#download.place, backend: 'gcs' })
    this.#isTaken = true
    forgotten.unregister(this)
    return this.#chunks()
  }

  cancel(): void {
    this.#isCancelled = true
    forgotten.unregister(this)
    drop(this.#download.response)
  }

  async *#chunks(): AsyncGenerator<Uint8Array, void, undefined> {
    const { response, payload, checksum, options, place, onDamage } = this.#download
    try {
      for await (const chunk of checkedChunks(chunksOf(response, options.progress), payload, onDamage)) {
        checksum?.update(chunk)
        yield chunk
      }
    } catch (error) {
      if (options.signal?.aborted === true) throw abandoned(options.signal, place)
      if (this.#isCancelled) throw new CacheError('failed', 'the stream was cancelled before its end', { ...place, backend: 'gcs', cause: error })
      throw asGcsError(error, place)
    }
    if (checksum?.matches() === false) throw onDamage("the store's own checksum of its payload does not match")
  }
}
