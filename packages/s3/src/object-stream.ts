import type { Readable } from 'node:stream'
import { CacheError, checkedChunks, type PayloadStream } from '@thermocline/backend'
import { received } from './bodies.js'
import { abandoned, type Place } from './errors.js'
import { checkedByMd5, type Checksum } from './store-checksum.js'

/** The response to a GET whose payload has not been read. */
export interface Response {
  readonly body: Readable
  readonly codec: string
  /** Of the payload, as far as it is known. */
  readonly length: number | undefined
  /** What the response says of its length. */
  readonly announced: number | undefined
  readonly checksum: Checksum
  readonly signal: AbortSignal | undefined
  readonly progress: (() => void) | undefined
  readonly place: Place
  /** Makes the error for a payload that is not what was stored, and sees to the rest. */
  readonly onDamage: (reason: string) => CacheError
}

/** An object's payload while it arrives. It holds a connection until it was read or given up. */
export class ObjectStream implements PayloadStream {
  readonly codec: string
  readonly byteLength: number | undefined
  readonly crc32: number | undefined
  readonly #response: Response
  #isTaken = false
  #isGivenUp = false

  constructor(response: Response) {
    this.codec = response.codec
    this.byteLength = response.length
    this.crc32 = response.checksum?.kind === 'crc32' ? response.checksum.crc32 : undefined
    this.#response = response
    response.body.on('error', ignore) // while nobody reads, nobody else is told
  }

  /** @throws TypeError the second time */
  chunks(): AsyncIterable<Uint8Array> {
    if (this.#isTaken) throw new TypeError('a payload stream can be read once, and this one was begun already')
    this.#isTaken = true
    return this.#checked()
  }

  cancel(): void {
    this.#isGivenUp = true
    this.#response.body.destroy()
  }

  async *#checked(): AsyncGenerator<Uint8Array, void, undefined> {
    const { body, announced, checksum, signal, progress, place, onDamage } = this.#response
    const checked = checkedChunks(received(body, announced, progress, place), { byteLength: this.byteLength, crc32: this.crc32 }, onDamage)
    try {
      yield* checksum?.kind === 'md5' ? checkedByMd5(checked, checksum.hex, onDamage) : checked
    } catch (error) {
      if (signal?.aborted === true) throw abandoned(signal, place)
      if (this.#isGivenUp) throw new CacheError('failed', 'the stream of an entry was given up before its end, and has nothing more', { ...place, backend: 's3' })
      throw error
    }
  }
}

function ignore(): void {
  // whoever reads is told by the iterator
}
