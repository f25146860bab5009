import { CacheError, checkedChunks, readOnce, type PayloadStream } from '@thermocline/backend'
import { givenUp, type Place } from './failures.js'
import type { StoreChecksum } from './store-checksum.js'

/** An object whose payload has not been read. */
export interface Arriving {
  readonly backend: string
  readonly place: Place
  readonly codec: string
  /** What the whole payload has, as far as it is known. */
  readonly byteLength: number | undefined
  readonly crc32: number | undefined
  /** For a payload without a checksum of ours. */
  readonly checksum: StoreChecksum | undefined
  readonly signal: AbortSignal | undefined
  /** The payload as it arrives. Called once at most; whoever leaves it early ends the connection. */
  readonly body: AsyncIterable<Uint8Array>
  /** Lets go of the connection. It does not hold on to the stream. */
  readonly drop: () => void
  /** What a failure of the connection means for the cache. */
  readonly failed: (error: unknown) => CacheError
  /** Makes the error for a payload that is not what was stored, tells of it, and sees to the rest. */
  readonly onDamage: (reason: string) => CacheError
}

/** Ends the connections of streams that nobody has read to their end or cancelled, when they are collected: the last resort. */
const forgotten = new FinalizationRegistry<() => void>((drop) => drop())

/** An object's payload while it arrives. It holds a connection until it was read or given up. */
export class ObjectStream implements PayloadStream {
  readonly codec: string
  readonly byteLength: number | undefined
  readonly crc32: number | undefined
  readonly #arriving: Arriving
  /** @throws TypeError the second time */
  readonly chunks: () => AsyncIterable<Uint8Array>
  #isCancelled = false

  constructor(arriving: Arriving) {
    this.codec = arriving.codec
    this.byteLength = arriving.byteLength
    this.crc32 = arriving.crc32
    this.#arriving = arriving
    this.chunks = readOnce(() => {
      forgotten.unregister(this)
      return this.#checked()
    })
    forgotten.register(this, arriving.drop, this)
  }

  cancel(): void {
    this.#isCancelled = true
    forgotten.unregister(this)
    this.#arriving.drop()
  }

  async *#checked(): AsyncGenerator<Uint8Array, void, undefined> {
    const { body, backend, place, checksum, signal, failed, onDamage } = this.#arriving
    try {
      for await (const chunk of checkedChunks(body, this, onDamage)) {
        checksum?.update(chunk)
        yield chunk
      }
    } catch (error) {
      if (signal?.aborted === true) throw givenUp(backend, signal, place, false)
      if (this.#isCancelled) throw new CacheError('failed', `the stream of an entry on ${backend} was cancelled before its end, and has nothing more`, { ...place, backend, cause: error })
      throw failed(error)
    }
    if (checksum?.matches() === false) throw onDamage("the store's own checksum of its payload does not match")
  }
}
