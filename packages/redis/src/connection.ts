import { CacheError, systemClock, type OperationOptions } from '@thermocline/backend'
import type { Cluster, Redis } from 'ioredis'
import { CONNECT_TIMEOUT_MS } from './client.js'
import { followReplies, guardReplies, isFiltered, leaveSocket, progressOf, quietWire, type Wire } from './connector.js'
import { asConnectionError, asRedisError, isAnswer, isClosed, isUnsent, OutOfStep, StrangeReply } from './errors.js'
import { identityOf, LeftConnections, quarantine, type Life } from './left-connections.js'

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
 * filter nor a dead host says goodbye: what waited on it has failed then. It is left with a reset, so that the operating system forgets what
 * it has not delivered. So is one on which the database was refused: the client would go on in another. Writes that had no answer are in doubt
 * until the old connection is known to be dead, see left-connections.ts.
 *
 * Each answer on the way to a connection is progress for whoever waits for it: a budget is for silence. All of them together have as long
 * as a connection may take.
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
/** So many bytes from a user's client are more than it gets for connecting. */
const MUCH_BYTES = 16 * 1024
/** More nodes of a cluster are not connected to, whatever one of them says. */
const MOST_NODES = 2000
const WRITES: ReadonlySet<string> = new Set(['set', 'unlink', 'evalsha', 'eval'])

type Listener = Parameters<Redis['on']>[1]

/** What waits for a connection. */
interface Waiter {
  readonly progress: (() => void) | undefined
  readonly resolve: () => void
  readonly reject: (error: CacheError) => void
}

export interface ConnectionOptions {
  /** A client that has not begun to connect, or one of the user's. */
  readonly client: Redis | Cluster
  /** Whether the client is the user's: it connects, reconnects and ends as the user likes. */
  readonly isForeign: boolean
  /** Whether another server may be the master of the group, so that a new connection may lead to another one. */
  readonly mayMove?: boolean | undefined
  /** How long an operation waits for the connection at most, beside its budget. */
  readonly timeoutMs: number
  /** Each time the connection is there. */
  readonly onReady: () => void
  /** The time, as the backend's host has it. */
  readonly monotonic: () => number
  /** That of the client's sockets; a client of the user's has none. */
  readonly wire?: Wire | undefined
}

export class Connection {
  readonly #client: Redis | Cluster
  readonly #options: ConnectionOptions
  readonly #waiters = new Set<Waiter>()
  /** Who waits for the slots of a cluster. */
  readonly #looking = new Set<{ readonly progress: (() => void) | undefined }>()
  /** Masters of a cluster whose connection is coming about. */
  readonly #connecting = new Set<Redis>()
  readonly #stalls = new WeakMap<Redis, { progress: number; checks: number }>()
  readonly #lives = new WeakMap<object, Life>()
  readonly #left: LeftConnections
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
  /** Of a client of the user's: what has been read until then was counted. */
  #counted = 0
  #isBurying = false
  #watched: Redis['stream'] | undefined

  constructor(options: ConnectionOptions) {
    this.#client = options.client
    this.#options = options
    this.#left = new LeftConnections(this.#client.isCluster)
    const wire = options.wire ?? quietWire()
    wire.moved = () => this.#moved()
    wire.refused = (socket, reason) => this.#refused(socket, reason)
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

  /**
   * When something came last, by the clock of the backend's host: replies, or a step on the way to the connection. In a cluster, where one node says nothing of
   * another, only the latter.
   */
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
    if (this.#options.isForeign) for (const node of this.#nodes()) if (node.status === 'ready' && node.commandQueue.length === 0) guardReplies(node, () => this.#moved())
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
    return this.#wait(options)
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
    const failure = asRedisError(isClosed(error) ? (this.#lastError ?? error) : error, operation, key, this.isCluster)
    if (failure.code === 'unavailable' || failure.code === 'read-only') void this.lookAnew().catch(() => undefined)
    return failure
  }

  /**
   * The same of a write: what was sent has no answer, and may be on its way. The error's `settled` resolves when it is certain that it will not land any more. An
   * operation that was left already is waited for by its end alone, so that one comes no sooner.
   */
  async writeFailed(error: unknown, operation: string, key: string | undefined, options: OperationOptions): Promise<CacheError> {
    const failure = this.failed(error, operation, key)
    if (isAnswer(error) || isUnsent(error) || (!this.#options.isForeign && this.#left.isEmpty)) return failure
    const settled = this.#options.isForeign ? quarantine() : this.#left.allGone()
    if (isAbandoned(options)) {
      await settled
      return failure
    }
    return new CacheError(failure.code, failure.message, { operation, backend: failure.backend, key, cause: failure.cause, settled })
  }

  /** Looks anew who holds which slots, or who is the master. */
  async lookAnew(progress?: () => void): Promise<void> {
    if (this.#closed) return
    if (this.#client.isCluster) {
      const looking = { progress }
      this.#looking.add(looking)
      try {
        await new Promise<void>((resolve, reject) => {
          ;(this.#client as Cluster).refreshSlotsCache((error) => (error == null ? resolve() : reject(error)))
        })
      } finally {
        this.#looking.delete(looking)
      }
    } else if (this.#options.mayMove === true && this.#client.status === 'ready') {
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
    this.#left.close()
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
    return this.#client.status === 'ready' && this.#connecting.size === 0 && !this.#isBurying
  }

  #connect(): void {
    // why it fails is told by events
    this.#client.connect().catch((error: unknown) => (this.#lastError ??= error))
  }

  #wait({ signal, progress }: OperationOptions): Promise<void> {
    return new Promise((resolve, reject) => {
      const { timeoutMs } = this.#options
      const cancel = Number.isFinite(timeoutMs) ? systemClock.schedule(timeoutMs, () => waiter.reject(asConnectionError(new Error(`not connected within ${timeoutMs} ms`)))) : undefined
      const end = (): void => {
        cancel?.()
        signal?.removeEventListener('abort', leave)
        this.#waiters.delete(waiter)
      }
      const waiter: Waiter = {
        progress,
        resolve: () => {
          end()
          progress?.()
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
      if (this.#options.isForeign) this.#watch(stream)
      else if (this.#mayNotSendYet()) return
    }
    this.#admit()
  }

  #admit(): void {
    this.#failure = undefined
    this.#lastError = undefined
    this.#attempts = 0
    this.#options.onReady()
    this.#endWaits()
  }

  /** Whether connections before this one have to be seen to first; {@link #onReady} is called again then. */
  #mayNotSendYet(): boolean {
    const { client } = this
    const life = this.#lives.get(client.stream)
    if (life === undefined) return false
    if (this.#options.mayMove === true) this.#left.forgetOthers(life.address)
    if (!this.#left.anyAt(life.address)) return false
    if (this.#isBurying) return true
    this.#isBurying = true
    const { stream } = client
    this.#left.bury(client, life).then(
      () => {
        this.#isBurying = false
        if (client.stream === stream && client.status === 'ready') this.#admit()
      },
      () => (this.#isBurying = false), // it is lost, and the next one sees to all
    )
    return true
  }

  #watch(stream: Redis['stream']): void {
    if (this.#watched === stream || isFiltered(stream)) return
    this.#watched = stream
    stream.on('data', () => this.#moved())
  }

  #moved(): void {
    const counts = this.#options.isForeign ? this.#isMuch() : !this.#client.isCluster || !this.#isReady
    if (counts) this.#movedAt = this.#options.monotonic()
    for (const { progress } of this.#waiters) progress?.()
    for (const { progress } of this.#looking) progress?.()
  }

  /** A client of the user's may connect and send a command again and again, whatever it is answered: only much is an answer that comes. */
  #isMuch(): boolean {
    if (this.#client.isCluster || !this.#isReady) return false
    const { bytesRead } = this.client.stream
    if (bytesRead < this.#counted) this.#counted = 0 // it is another socket
    if (bytesRead - this.#counted < MUCH_BYTES) return false
    this.#counted = bytesRead
    return true
  }

  /** What came over one of its sockets was no reply: perhaps one that asks for the slots, or for the master. */
  #refused(socket: Redis['stream'], reason: Error): void {
    const node = this.#nodes().find(({ stream }) => stream === socket)
    if (node !== undefined) return this.#leave(node, reason)
    this.#lastError ??= reason
    leaveSocket(socket, reason)
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
    if (this.#options.isForeign) {
      node.on('connect', () => guardReplies(node, () => this.#moved()))
      return followCopiesOf(node)
    }
    followCopiesOf(node)
    const settled = (): void => {
      this.#connecting.delete(node)
      this.#endWaits()
    }
    node.on('connect', () => this.#onConnect(node))
    node.on('connecting', () => this.#connecting.add(node))
    node.on('ready', () => {
      const life = this.#lives.get(node.stream)
      if (life === undefined || !this.#left.anyAt(life.address)) return settled()
      this.#left.bury(node, life).then(settled, settled)
    })
    node.on('end', settled)
    if (node.options.readOnly === true || this.#nodes().length > MOST_NODES) return
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
    if (this.#options.isForeign) return guardReplies(node, () => this.#moved())
    const { stream } = node as { stream?: Redis['stream'] }
    if (stream === undefined) return
    stream.unref()
    stream.on('error', () => undefined) // the client listens for the first one only, and TLS may have more
    followReplies(node)
    this.#moved()
    const address = this.#client.isCluster ? `${node.options.host}:${node.options.port}` : `${stream.remoteAddress}:${stream.remotePort}`
    this.#lives.set(stream, { address, identity: identityOf(node) })
    stream.prependListener('close', () => this.#lookForLostWrites(node, stream)) // before the client forgets what had no answer
    systemClock.schedule(
      CONNECT_TIMEOUT_MS,
      () => {
        if (node.stream === stream && node.status === 'connect') this.#leave(node, new Error(`connection was left: it was not ready within ${CONNECT_TIMEOUT_MS / 1000} s`))
      },
      { background: true },
    )
  }

  #lookForLostWrites({ commandQueue }: Redis, stream: Redis['stream'], isOutOfStep = false): void {
    const life = this.#lives.get(stream)
    if (life === undefined || this.#closed) return
    let isWriting = isOutOfStep
    for (let at = 0; at < commandQueue.length && !isWriting; at++) isWriting = WRITES.has(commandQueue.peekAt(at)?.command.name ?? '')
    if (isWriting) this.#left.add(life)
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
      const progress = progressOf(stream)
      const checks = before?.progress === progress ? before.checks + 1 : 0
      this.#stalls.set(node, { progress, checks })
      if (checks >= STALLED_CHECKS && !this.#options.isForeign) {
        this.#stalls.delete(node)
        this.#leave(node, new Error(`connection was left: no reply for ${(STALLED_CHECKS * STALL_CHECK_MS) / 1000} s`))
      }
    }
  }

  #leave(node: Redis, reason: Error): void {
    const { stream } = node as { stream?: Redis['stream'] }
    this.#lastError = reason
    if (stream === undefined) return
    this.#lookForLostWrites(node, stream, reason instanceof OutOfStep || reason instanceof StrangeReply)
    leaveSocket(stream, reason)
  }

  #nodes(): Redis[] {
    return this.#client.isCluster ? (this.#client as Cluster).nodes('all') : [this.#client as Redis]
  }
}

/** Whether nobody waits for the operation any more. */
function isAbandoned(options: OperationOptions): boolean {
  let isLeft = false
  const hears = options.onAbort?.(() => (isLeft = true)) === true
  return hears ? isLeft : options.signal?.aborted === true
}

/** The client of a cluster asks for the slots over a copy of a node's connection. */
function followCopiesOf(node: Redis): void {
  const duplicate = node.duplicate.bind(node)
  node.duplicate = (override) => {
    const copy = duplicate(override)
    copy.on('connect', () => {
      followReplies(copy)
      guardReplies(copy, () => undefined) // where it is a client of the user's
    })
    return copy
  }
}

/** After everything that is under way in this turn: first what promises resume, then this. */
export function atEndOfTurn(callback: () => void): void {
  void RESOLVED.then(() => process.nextTick(callback))
}

/** Cheaper than `queueMicrotask`, which makes a resource for tracing first. */
const RESOLVED = Promise.resolve()
