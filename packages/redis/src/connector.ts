import net from 'node:net'
import tls, { TLSSocket, type ConnectionOptions } from 'node:tls'
import { AbstractConnector, type Redis, type RedisOptions } from 'ioredis'
import { ReplyFilter } from './reply-filter.js'

/** What whoever uses connections is told of all their sockets: those that ask sentinels, or nodes for their slots, too. */
export interface Wire {
  /** It is connected, or a reply has come, or another part of a long one. */
  moved: () => void
  /** What came is no reply. The socket has to be left. */
  refused: (socket: net.Socket, reason: Error) => void
}

/** Where to connect to, and how. */
export interface Endpoint {
  readonly host: string | undefined
  readonly port: number | undefined
  readonly tls: ConnectionOptions | undefined
  /** Larger payloads are not stored by this process. */
  readonly maxPayloadBytes: number
}

const FILTERS = new WeakMap<net.Socket, ReplyFilter>()

export function quietWire(): Wire {
  return { moved: () => undefined, refused: leaveSocket }
}

/** Opens a socket of which only replies get to whoever listens for `data`, see {@link ReplyFilter}. None does until {@link followReplies} says who has asked. */
export function openSocket({ host, port, tls: secure, maxPayloadBytes }: Endpoint, wire: Wire): net.Socket {
  const filter = new ReplyFilter({
    maxPayloadBytes,
    pass: (bytes) => void socket.emit('data', bytes),
    refuse: (reason) => wire.refused(socket, reason),
    moved: () => wire.moved(),
    hasLeft: () => socket.writableEnded,
  })
  const options = {
    port: port ?? 6379,
    ...(host === undefined ? {} : { host }),
    onread: {
      buffer: filter.memory,
      callback: (length: number) => {
        filter.read(length)
        return true
      },
    },
  }
  const socket: net.Socket = secure === undefined ? net.createConnection(options) : tls.connect({ ...options, ...secure } as ConnectionOptions)
  FILTERS.set(socket, filter)
  const moved = (): void => wire.moved()
  for (const step of ['connect', 'secureConnect']) socket.once(step, moved)
  if (secure !== undefined) socket.once('keylog', moved) // half way through a handshake; what it tells is left alone
  return socket
}

/** To be called each time a client has connected: it then has a new socket, and a new queue of commands. */
export function followReplies(client: Redis): void {
  FILTERS.get(client.stream)?.follow(client)
}

/**
 * Checks what a client of the user's reads, from now on: to be called each time it has connected, or when it waits for nothing. In the middle of replies nobody
 * knows where one begins.
 */
export function guardReplies(client: Redis, moved: () => void): void {
  const { stream } = client as { stream?: net.Socket }
  const [read] = (stream?.rawListeners('data') ?? []) as ((bytes: Buffer) => void)[] // the client's own, which it puts before all others
  if (stream === undefined || stream.destroyed || read === undefined || FILTERS.has(stream)) return
  const filter = new ReplyFilter({
    isForeign: true,
    maxPayloadBytes: Number.POSITIVE_INFINITY,
    pass: (bytes) => read.call(stream, bytes),
    refuse: (reason) => leaveSocket(stream, reason),
    moved,
    hasLeft: () => stream.writableEnded,
  })
  filter.follow(client)
  FILTERS.set(stream, filter)
  stream.removeListener('data', read)
  stream.prependListener('data', (bytes: Buffer) => filter.take(bytes))
}

/** Whether what a socket brings is checked. */
export function isFiltered(socket: net.Socket): boolean {
  return FILTERS.has(socket)
}

/** Grows with each progress of the replies of a socket. */
export function progressOf(socket: net.Socket): number {
  return FILTERS.get(socket)?.progress ?? socket.bytesRead
}

/** Ends a connection with a reset, so that nothing that was sent is delivered later; TLS has no such thing. */
export function leaveSocket(socket: net.Socket, reason: Error): void {
  // while its end is under way a socket cannot be reset, and one that was tried on would never be closed (EINVAL, Node 20)
  const isEnding = socket.writableEnded && !socket.writableFinished && socket.writableLength === 0
  if (socket instanceof TLSSocket) socket.destroy(reason)
  else if (isEnding) socket.once('finish', () => socket.resetAndDestroy())
  else socket.resetAndDestroy()
}

/** A client's way to one server. */
export function connectorTo({ maxPayloadBytes, tls: secure }: Pick<Endpoint, 'maxPayloadBytes' | 'tls'>, wire: Wire): NonNullable<RedisOptions['Connector']> {
  return class FilteredConnector extends AbstractConnector {
    readonly #options: RedisOptions

    constructor(options: unknown) {
      const given = options as RedisOptions
      super(given.disconnectTimeout ?? 0)
      this.#options = given
    }

    override async connect(): Promise<net.Socket> {
      this.connecting = true
      await Promise.resolve() // whoever has called may leave in this turn
      if (!this.connecting) throw new Error('Connection is closed.')
      const { host, port } = this.#options
      const socket = openSocket({ host, port, tls: secure, maxPayloadBytes }, wire)
      this.stream = socket
      socket.once('error', (error) => {
        this.firstError = error
      })
      return socket
    }
  }
}
