import http from 'node:http'
import https from 'node:https'
import type { Socket } from 'node:net'

/** Milliseconds: a host that does not answer at all. */
const CONNECT_TIMEOUT_MS = 3000

/** Where a client's connections come from. They are kept, and keep no process alive while idle. */
export interface Agents {
  readonly httpAgent: http.Agent
  readonly httpsAgent: https.Agent
}

export function agentsFor(maxSockets: number): Agents {
  return { httpAgent: limited(new http.Agent({ keepAlive: true, maxSockets })), httpsAgent: limited(new https.Agent({ keepAlive: true, maxSockets })) }
}

/** How both kinds of agents make connections. */
interface Connecting {
  createConnection(options: object, callback?: () => void): Socket
}

/**
 * Gives up a connection that does not come about. The SDK's own limit counts the time in which a request waits for one of the
 * connections to be free, too, and would call a busy process a store that is away.
 */
function limited<A extends http.Agent>(agent: A): A {
  const connecting = agent as unknown as Connecting
  const connect = connecting.createConnection.bind(agent)
  connecting.createConnection = (options, callback) => {
    const socket = connect(options, callback)
    const onTimeout = (): void => void socket.destroy(Object.assign(new Error(`no connection within ${CONNECT_TIMEOUT_MS} ms`), { code: 'ETIMEDOUT' }))
    socket.setTimeout(CONNECT_TIMEOUT_MS, onTimeout)
    socket.once('connect', () => {
      socket.setTimeout(0)
      socket.removeListener('timeout', onTimeout)
    })
    return socket
  }
  return agent
}
