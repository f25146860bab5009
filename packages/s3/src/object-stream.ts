import type { Readable } from 'node:stream'
import { CacheError, checkedChunks, type PayloadStream } from '@thermocline/core'
import { received } from './body.js'
import type { Place } from './errors.js'
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
  readonly progress: (() => void) | undefined
  readonly place: Place
  /** Makes the error for a payload that is not what was stored. */
  readonly onDamage: (reason: string) => CacheError
}

/** An object's payload while it arrives. It holds a connection until it was read or given up. */
export class ObjectStream implements PayloadStream {
  readonly codec: string
  readonly byteLength: number | undefined
  readonly crc32: number | undefined
  readonly #response: Response
  #isTaken = false

  constructor(response: Response) {
    this.codec = response.codec
    this.byteLength = response.length
    this.crc32 = response.checksum?.kind === 'crc32' ? response.checksum.crc32 : undefined
    this.#response = response
    response.body.on('error', ignore) // while nobody reads, nobody else is told
  }

  chunks(): AsyncIterable<Uint8Array> {
    const { body, announced, checksum, progress, place, onDamage } = this.#response
    if (this.#isTaken) throw new CacheError('failed', 'the payload of an entry from s3 can be read once', { ...place, backend: 's3' })
    this.#isTaken = true
    const checked = checkedChunks(received(body, announced, progress, place), { byteLength: this.byteLength, crc32: this.crc32 }, onDamage)
    return checksum?.kind === 'md5' ? checkedByMd5(checked, checksum.hex, onDamage) : checked
  }

  cancel(): void {
    this.#response.body.destroy()
  }
}

function ignore(): void {
  // whoever reads is told by the iterator
}
