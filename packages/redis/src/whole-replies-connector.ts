import net from 'node:net'
import { AbstractConnector, type RedisOptions } from 'ioredis'
import { WholeReplies } from './whole-replies.js'

/** Emitted by sockets when a part of a large value has come, of which nothing is passed on yet. */
export const PART = 'part'

/**
 * Connects to one server, without TLS, so that large values come in one piece: see {@link WholeReplies}.
 *
 * @param longestBytes of values that are put together; longer ones come as the socket gives them
 */
export function connectorOfWholeReplies(longestBytes: number): NonNullable<RedisOptions['Connector']> {
  return class WholeRepliesConnector extends AbstractConnector {
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
      const replies = new WholeReplies(longestBytes, (bytes) => void socket.emit('data', bytes))
      const { host, port, family } = this.#options
      const socket = net.createConnection({
        port: port ?? 6379,
        ...(host === undefined ? {} : { host }),
        ...(family === undefined ? {} : { family }),
        onread: {
          buffer: replies.memory,
          callback: (length) => {
            replies.read(length)
            if (replies.isMidway) socket.emit(PART)
            return true
          },
        },
      })
      this.stream = socket
      socket.once('error', (error) => {
        this.firstError = error
      })
      return socket
    }
  }
}
