import type { OperationOptions } from '@thermocline/backend'
import { clientOf, copyOf, sentinelClientsOf } from './client.js'
import { Connection } from './connection.js'
import { quietWire } from './connector.js'
import { LARGE_BYTES } from './large-names.js'
import { Failovers, type Address } from './failovers.js'
import type { CheckedOptions } from './options.js'
import { KnownMaster } from './sentinels.js'

/** The connections of one backend: one for small payloads, and for large ones as many more as it may have. */
export class Connections {
  readonly main: Connection
  readonly #options: CheckedOptions
  readonly #monotonic: () => number
  readonly #bulk: Connection[] = []
  readonly #failovers: Failovers | undefined
  readonly #blocking = new Set<Connection>()
  readonly #masters = new Map<Connection, KnownMaster>()
  #next = 0
  #closed = false

  /** @param monotonic the time, as the backend's host has it */
  constructor(options: CheckedOptions, monotonic: () => number, onReady: () => void) {
    this.#options = options
    this.#monotonic = monotonic
    this.main = this.#make(onReady)
    const { target } = options
    if (target.kind === 'sentinel') this.#failovers = new Failovers(target.group.name, sentinelClientsOf(target), (master) => this.#moveTo(master))
  }

  /** Begins to connect; called again it does nothing. */
  open(): void {
    this.main.open()
    this.#failovers?.open()
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

  /**
   * `undefined` when the operation can be sent over a connection now; otherwise a promise of that. As long as replies come in there, it has time. A connection
   * for large payloads is left when that is over: the breaker's probe, which is small, goes over the main one and would not notice that this one is dead.
   */
  ready(connection: Connection, options: OperationOptions): Promise<void> | undefined {
    options.watch?.(connection.movedAt)
    if (connection !== this.main) options.onAbort?.(() => connection.leave(new Error('connection was left: no reply in time')))
    return connection.ready(options)
  }

  /** One more connection, for commands that wait in the server. */
  blocking(): Connection {
    const connection = this.#make(() => undefined, true)
    this.#blocking.add(connection)
    if (this.#closed) connection.close()
    else connection.open()
    return connection
  }

  /** Ends one for commands that wait. */
  end(connection: Connection): void {
    connection.close()
    this.#blocking.delete(connection)
    this.#masters.delete(connection)
  }

  close(): void {
    this.#closed = true
    this.#failovers?.close()
    for (const connection of [this.main, ...this.#bulk, ...this.#blocking]) connection.close()
  }

  /** Another server is the master: connections to the old one are left. */
  #moveTo(master: Address): void {
    for (const [connection, known] of this.#masters) {
      if (known.is(master)) continue
      known.tell(master)
      void connection.lookAnew()
    }
  }

  #make(onReady: () => void, ofItsOwn = false): Connection {
    const { target, connectionTimeoutMs, maxPayloadBytes } = this.#options
    const known = new KnownMaster()
    const wire = quietWire()
    const isCopy = ofItsOwn && target.kind === 'client'
    const client = isCopy ? copyOf(target.client) : clientOf(target, maxPayloadBytes, known, wire)
    const connection = new Connection({ wire, client, isForeign: target.kind === 'client' && !isCopy, mayMove: target.kind === 'sentinel', timeoutMs: connectionTimeoutMs, onReady, monotonic: this.#monotonic })
    this.#masters.set(connection, known)
    return connection
  }
}
