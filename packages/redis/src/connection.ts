import { TLSSocket } from 'node:tls'
import { systemClock, type CacheError, type OperationOptions } from '@thermocline/core'
import type { Cluster, Redis } from 'ioredis'
import { checkSlotsOf } from './checked-slots.js'
import { asConnectionError, asRedisError, OutOfStep } from './errors.js'
import { onUnaskedReply } from './unasked-replies.js'
import { PART } from './whole-replies-connector.js'

/*
 * One connection to a server, or to all nodes of a cluster.
 *
 * Problem. A cache must not write late: a command that waits in the client's queue until the server is back, or that the
 * client sends again after a reconnection, would land on top of whatever came after. And it must be back soon, whatever the
 * outage was.
 *
 * Approach. The client's offline queue, its resending and its own reconnection are off. An operation waits here for the
 * connection, as long as its budget lasts, and only then sends; where the last attempt to connect has failed it does not
 * wait at all. After a connection is lost a new one is tried after 50 ms, then twice as long each time, up to a second. A
 * connection on which something waits for a reply and nothing has come for two seconds is left, because neither a packet
 * filter nor a dead host says goodbye: what waited on it has failed then, and is in doubt no longer. It is left with a reset,
 * so that the operating system forgets what it has not delivered. So is one on which the database was refused: the client would go on
 * in another.
 *
 * A cluster's client connects to a node with the first command for it, and refuses more commands until that has come about.
 * So all masters are connected at once, and operations wait until they are.
 *
 * Sockets do not keep the process alive: an operation that somebody waits for has a timer that does.
 */

const FIRST_RECONNECT_MS = 50
const LONGEST_RECONNECT_MS = 1000
const STALL_CHECK_MS = 500
const STALLED_CHECKS = 4
const COMMANDS_AT_ONCE = 16

type Listener = Parameters<Redis['on']>[1]

/** What waits for a connection. */
interface Waiter {
  readonly resolve: () => void
  readonly reject: (error: CacheError) => void
}

export interface ConnectionOptions {
  /** A client that has not begun to connect, or one of the user's. */
  readonly client: Redis | Cluster
  /** Whether the client is the user's: it connects, reconnects and ends as the user likes. */
  readonly isForeign: boolean
  /** How long an operation waits for the connection at most, beside its budget. */
  readonly timeoutMs: number
  /** Each time the connection is there. */
  readonly onReady: () => void
  /** The time, as the backend's host has it. */
  readonly monotonic: () => number
}

export class Connection {
  readonly #client: Redis | Cluster
  readonly #options: ConnectionOptions
  readonly #waiters = new Set<Waiter>()
  /** Masters of a cluster whose connection is coming about. */
  readonly #connecting = new Set<Redis>()
  readonly #stalls = new WeakMap<Redis, { bytesRead: number; checks: number }>()
  readonly #listeners: readonly (readonly [string, Listener])[]
  /** Why there is no connection, once an attempt has failed. */
  #failure: CacheError | undefined
  #lastError: unknown
  #attempts = 0
  #cancelReconnect = (): void => undefined
  #cancelStallCheck = (): void => undefined
  #marks = 0
  #closed = false
  #isCorked = false
  #corked = 0
  #movedAt = Number.NEGATIVE_INFINITY
  #watched: Redis['stream'] | undefined

  constructor(options: ConnectionOptions) {
    this.#client = options.client
    this.#options = options
    this.#listeners = [
      ['ready', () => this.#onReady()],
      ['error', (error: unknown) => (this.#lastError = error)],
      ['node error', (error: unknown) => (this.#lastError = error)],
      ['close', () => this.#onLost()],
      ['end', () => this.#onEnd()],
      ['connect', () => this.#client.isCluster || this.#onConnect(this.client)],
      ['+node', (node: Redis) => this.#onNode(node)],
    ]
    for (const [event, listener] of this.#listeners) this.#client.on(event as 'error', listener)
    if (!options.isForeign && !this.#client.isCluster) this.#leaveUnlessSelected(this.client)
  }

  /** When bytes came last, by the clock of the backend's host. Not in a cluster, where one node says nothing of another. */
  readonly movedAt = (): number => this.#movedAt

  /** For sending, when {@link ready} has said so. Both kinds of clients take the same commands. */
  get client(): Redis {
    return this.#client as Redis
  }

  get isCluster(): boolean {
    return this.#client.isCluster
  }

  /** Begins to connect; called again it does nothing. */
  open(): void {
    if (this.#closed) return
    this.#watchForStalls()
    if (this.#client.status === 'ready') this.#onReady()
    else if (this.#client.status === 'end') this.#onLost()
    else if (this.#client.status === 'wait') this.#connect()
  }

  /**
   * `undefined` when commands can be sent now; otherwise a promise of that. Rejects with `unavailable`: at once where the last
   * attempt to connect has failed, and when the operation is left.
   */
  ready(options: OperationOptions): Promise<void> | undefined {
    if (this.#isReady) return undefined
    if (this.#failure !== undefined) return Promise.reject(this.#failure)
    return this.#wait(options.signal)
  }

  /** Every server that holds keys. */
  masters(): Redis[] {
    return this.#client.isCluster ? (this.#client as Cluster).nodes('master') : [this.#client as Redis]
  }

  /** What is sent until this turn of the event loop ends goes out in few pieces. */
  cork(): void {
    const { stream } = this.client
    if (this.isCluster || stream === undefined) return
    if (this.#isCorked) {
      if (++this.#corked % COMMANDS_AT_ONCE !== 0) return
      stream.uncork() // so that the server has something to do meanwhile
      stream.cork()
      return
    }
    this.#corked = 0
    this.#isCorked = true
    stream.cork()
    atEndOfTurn(() => {
      this.#isCorked = false
      stream.uncork()
    })
  }

  /** Leaves a connection that answers what it was not asked. */
  leave(reason: Error): void {
    for (const node of this.#nodes()) this.#leave(node, reason)
  }

  /** Leaves it if it does: a reply looked as if it belonged to another request. */
  leaveIfOutOfStep(): void {
    this.inStep().catch((error: unknown) => {
      if (error instanceof OutOfStep) this.leave(error)
    })
  }

  /** Resolves when replies sent before belonged to their requests: to be asked where a wrong one could pass for a right one. */
  async inStep(servers: readonly Redis[] = this.masters()): Promise<void> {
    const mark = `thermocline ${++this.#marks}`
    const replies = await Promise.all(servers.map((server) => server.ping(mark)))
    if (replies.some((reply) => reply !== mark)) throw new OutOfStep()
  }

  /** What an error means for the cache. The connection is left where a reply belonged to another request, and where the server was not the right one it looks anew. */
  failed(error: unknown, operation: string, key: string | undefined): CacheError {
    if (error instanceof OutOfStep) this.leave(error)
    const failure = asRedisError(error, operation, key, this.isCluster)
    if (failure.code === 'unavailable' || failure.code === 'read-only') void this.lookAnew().catch(() => undefined)
    return failure
  }

  /** Looks anew who holds which slots, or who is the master. */
  async lookAnew(): Promise<void> {
    if (this.#closed) return
    if (this.#client.isCluster) {
      await new Promise<void>((resolve, reject) => {
        ;(this.#client as Cluster).refreshSlotsCache((error) => (error == null ? resolve() : reject(error)))
      })
    } else if (!this.#options.isForeign && this.client.options.sentinels != null && this.#client.status === 'ready') {
      this.#leave(this.client, new Error('connection was left: another server may be the master'))
    }
  }

  /** Ends at once; a client of the user's stays open. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#cancelReconnect()
    this.#cancelStallCheck()
    this.#fail(asConnectionError(new Error('connection is closed')))
    if (this.#options.isForeign) {
      for (const [event, listener] of this.#listeners) this.#client.off(event, listener)
      return
    }
    const nodes = this.#nodes()
    this.#client.disconnect()
    // a stopped server would never answer the end of the connection
    for (const node of nodes) node.stream?.destroy()
  }

  get #isReady(): boolean {
    return this.#client.status === 'ready' && this.#connecting.size === 0
  }

  #connect(): void {
    // why it fails is told by events
    this.#client.connect().catch((error: unknown) => (this.#lastError ??= error))
  }

  #wait(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const { timeoutMs } = this.#options
      const cancel = Number.isFinite(timeoutMs) ? systemClock.schedule(timeoutMs, () => waiter.reject(asConnectionError(new Error(`not connected within ${timeoutMs} ms`)))) : undefined
      const end = (): void => {
        cancel?.()
        signal?.removeEventListener('abort', leave)
        this.#waiters.delete(waiter)
      }
      const waiter: Waiter = {
        resolve: () => {
          end()
          resolve()
        },
        reject: (error) => {
          end()
          reject(error)
        },
      }
      const leave = (): void => waiter.reject(asConnectionError(new Error('not connected in time')))
      this.#waiters.add(waiter)
      if (signal?.aborted === true) leave()
      else signal?.addEventListener('abort', leave)
    })
  }

  #onReady(): void {
    if (!this.#client.isCluster) {
      const { stream } = this.client
      if (stream.destroyed) return // it was left, and the client has not heard yet
      this.#watch(stream)
    }
    this.#failure = undefined
    this.#lastError = undefined
    this.#attempts = 0
    this.#options.onReady()
    this.#endWaits()
  }

  #watch(stream: Redis['stream']): void {
    if (this.#watched === stream) return
    this.#watched = stream
    const moved = (): void => void (this.#movedAt = this.#options.monotonic())
    stream.on('data', moved)
    stream.on(PART, moved)
  }

  /** The client goes on where the database was refused, and would work in another one. */
  #leaveUnlessSelected(client: Redis): void {
    const select = client.select.bind(client)
    client.select = async (db: number | string): Promise<'OK'> => {
      try {
        return await select(db)
      } catch (error) {
        this.#leave(client, error as Error)
        throw error
      }
    }
  }

  #onNode(node: Redis): void {
    if (this.#options.isForeign) return
    checkSlotsOf(node)
    const settled = (): void => {
      this.#connecting.delete(node)
      this.#endWaits()
    }
    node.on('connect', () => this.#onConnect(node))
    node.on('connecting', () => this.#connecting.add(node))
    node.on('ready', settled)
    node.on('end', settled)
    if (node.options.readOnly === true) return
    this.#connecting.add(node)
    // in a moment: the command that made the client look for the node is sent first
    process.nextTick(() => {
      if (node.status === 'wait') node.connect().catch((error: unknown) => (this.#lastError ??= error))
    })
  }

  #endWaits(): void {
    if (this.#isReady) for (const waiter of [...this.#waiters]) waiter.resolve()
  }

  #onLost(): void {
    this.#fail(asConnectionError(this.#lastError ?? new Error('connection is closed')))
  }

  #onEnd(): void {
    this.#onLost()
    if (this.#closed || this.#options.isForeign) return
    const waitMs = Math.min(FIRST_RECONNECT_MS * 2 ** this.#attempts++, LONGEST_RECONNECT_MS)
    this.#cancelReconnect()
    this.#cancelReconnect = systemClock.schedule(
      waitMs,
      () => {
        this.#lastError = undefined
        this.#connect()
      },
      { background: true },
    )
  }

  #fail(failure: CacheError): void {
    this.#failure = failure
    for (const waiter of [...this.#waiters]) waiter.reject(failure)
  }

  #onConnect(node: Redis): void {
    if (this.#options.isForeign) return
    node.stream?.unref()
    node.stream?.on('error', () => undefined) // the client listens for the first one only, and TLS may have more
    onUnaskedReply(node, () => this.#leave(node, new OutOfStep()))
  }

  #watchForStalls(): void {
    this.#cancelStallCheck()
    this.#cancelStallCheck = systemClock.schedule(
      STALL_CHECK_MS,
      () => {
        this.#lookForStalls()
        this.#watchForStalls()
      },
      { background: true },
    )
  }

  #lookForStalls(): void {
    for (const node of this.#nodes()) {
      const { stream } = node
      if (stream === undefined || node.commandQueue.length === 0) {
        this.#stalls.delete(node)
        continue
      }
      const before = this.#stalls.get(node)
      const checks = before?.bytesRead === stream.bytesRead ? before.checks + 1 : 0
      this.#stalls.set(node, { bytesRead: stream.bytesRead, checks })
      if (checks >= STALLED_CHECKS && !this.#options.isForeign) {
        this.#stalls.delete(node)
        this.#leave(node, new Error(`connection was left: no reply for ${(STALLED_CHECKS * STALL_CHECK_MS) / 1000} s`))
      }
    }
  }

  /** With a reset, so that nothing that was sent is delivered later; TLS has no such thing. */
  #leave({ stream }: Redis, reason: Error): void {
    this.#lastError = reason
    // while its end is under way a socket cannot be reset, and one that was tried on would never be closed (EINVAL, Node 20)
    const isEnding = stream !== undefined && stream.writableEnded && !stream.writableFinished && stream.writableLength === 0
    if (stream instanceof TLSSocket) stream.destroy(reason)
    else if (isEnding) stream.once('finish', () => stream.resetAndDestroy())
    else stream?.resetAndDestroy()
  }

  #nodes(): Redis[] {
    return this.#client.isCluster ? (this.#client as Cluster).nodes('all') : [this.#client as Redis]
  }
}

/** After everything that is under way in this turn: first what promises resume, then this. */
export function atEndOfTurn(callback: () => void): void {
  void RESOLVED.then(() => process.nextTick(callback))
}

/** Cheaper than `queueMicrotask`, which makes a resource for tracing first. */
const RESOLVED = Promise.resolve()
