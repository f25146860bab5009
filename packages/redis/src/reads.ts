import type { Connection } from './connection.js'
import { atEndOfTurn } from './connection.js'
import { asRedisError, outOfStep } from './errors.js'

/** More keys than this are asked for in several commands: none may hold the server up. */
const MOST_KEYS = 128

/** Who asks for one name, and is answered once. */
export interface Read {
  readonly name: string
  answer(bytes: Buffer | null): void
  fail(error: unknown): void
}

/**
 * Reads that are asked for in the same turn of the event loop become one `MGET`: at 64 callers that is 1.2 to 1.6 times
 * faster than a `GET` for each. In a cluster, where keys of one command must share a slot, each is a `GET`; the client sends them
 * without waiting for each other.
 */
export class Reads {
  readonly #connection: Connection
  #waiting: Read[] = []

  constructor(connection: Connection) {
    this.#connection = connection
  }

  /** Call only when the connection is ready. */
  add(read: Read): void {
    if (this.#waiting.push(read) === 1) atEndOfTurn(() => this.#send())
    else if (this.#waiting.length === MOST_KEYS) this.#send()
  }

  #send(): void {
    const reads = this.#waiting
    if (reads.length === 0) return
    this.#waiting = []
    if (reads.length === 1 || this.#connection.isCluster) {
      for (const read of reads) this.#sendOne(read)
      return
    }
    this.#connection.client.mgetBuffer(reads.map(({ name }) => name)).then(
      (replies: unknown) => {
        if (!Array.isArray(replies) || replies.length !== reads.length) return this.#outOfStep(reads)
        for (let at = 0; at < reads.length; at++) this.#answer(reads[at] as Read, replies[at])
      },
      (error: unknown) => {
        for (const read of reads) read.fail(asRedisError(error, 'get'))
      },
    )
  }

  #sendOne(read: Read): void {
    this.#connection.client.getBuffer(read.name).then(
      (reply: unknown) => this.#answer(read, reply),
      (error: unknown) => read.fail(asRedisError(error, 'get')),
    )
  }

  #answer(read: Read, reply: unknown): void {
    if (reply === null || Buffer.isBuffer(reply)) read.answer(reply)
    else this.#outOfStep([read])
  }

  #outOfStep(reads: readonly Read[]): void {
    const error = outOfStep('get')
    this.#connection.leave(error)
    for (const read of reads) read.fail(error)
  }
}
