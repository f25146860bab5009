import { clientOf } from './client.js'
import { Connection } from './connection.js'
import { LARGE_BYTES } from './large-names.js'
import type { CheckedOptions } from './options.js'

/** The connections of one backend: one for small payloads, and for large ones as many more as it may have. */
export class Connections {
  readonly main: Connection
  readonly #options: CheckedOptions
  readonly #bulk: Connection[] = []
  #next = 0
  #closed = false

  constructor(options: CheckedOptions, onReady: () => void) {
    this.#options = options
    this.main = this.#make(onReady)
  }

  /** The connection for a payload of that size. */
  forBytes(bytes: number): Connection {
    return bytes < LARGE_BYTES ? this.main : this.bulk()
  }

  /** A connection for large payloads, opened when it is first needed; the main one where it is the only one. */
  bulk(): Connection {
    const most = this.#options.target.kind === 'client' ? 0 : this.#options.maxConnections - 1
    if (most === 0 || this.#closed) return this.main
    const at = this.#next++ % most
    let connection = this.#bulk[at]
    if (connection === undefined) {
      connection = this.#make(() => undefined)
      this.#bulk[at] = connection
      connection.open()
    }
    return connection
  }

  close(): void {
    this.#closed = true
    for (const connection of [this.main, ...this.#bulk]) connection.close()
  }

  #make(onReady: () => void): Connection {
    const { target, connectionTimeoutMs, maxPayloadBytes } = this.#options
    return new Connection({ client: clientOf(target, maxPayloadBytes), isForeign: target.kind === 'client', timeoutMs: connectionTimeoutMs, onReady })
  }
}
