import http from 'node:http'
import https from 'node:https'
import { onAbort } from './aborts.js'

/*
 * Requests go out by Node's own http, not by the Google client's `request`. What that client cannot do, and a cache tier needs:
 * a request that is given up (`AbortSignal`), limits on connecting and on silence, a number of connections, an answer whose body is
 * binary without a chain of four streams, a connection that is free again when a body is not wanted. Only credentials are the
 * client's. Figures are in docs/decisions.
 */

/** How long a connection may take to be made, its TLS included. */
const CONNECT_MS = 3_000
/** How long a connection may be silent while an answer is waited for: a little above the tier's budget, which ends most operations earlier. */
export const SILENCE_MS = 6_000

/** A request without its body. */
export interface RequestHead {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  /** With its query, encoded. */
  readonly path: string
  readonly headers?: Readonly<Record<string, string>> | undefined
  readonly signal?: AbortSignal | undefined
}

/** A connection went silent. */
class Silence extends Error {
  readonly code = 'ETIMEDOUT'
}

/** The backend was closed. */
class Closed extends Error {
  readonly code = 'ERR_CLOSED'
}

/** Sends requests to one server over connections that are kept. Failures of the network reject as Node made them, an abort with the signal's reason. */
export class Transport {
  readonly #agent: http.Agent
  readonly #isSecure: boolean
  readonly #base: http.RequestOptions
  readonly #live = new Set<http.ClientRequest>()
  #isClosed = false
  readonly #authorize: ((signal: AbortSignal | undefined) => Promise<Readonly<Record<string, string>>>) | undefined

  /** @param authorize headers with credentials, for each request anew; `undefined`: none are sent */
  constructor(endpoint: URL, maxSockets: number, authorize: ((signal: AbortSignal | undefined) => Promise<Readonly<Record<string, string>>>) | undefined) {
    this.#isSecure = endpoint.protocol === 'https:'
    // connections that nobody uses are unref'd by the agent: a process that forgot to close ends all the same
    this.#agent = new (this.#isSecure ? https : http).Agent({ keepAlive: true, maxSockets, maxFreeSockets: maxSockets })
    this.#base = { hostname: endpoint.hostname.replace(/^\[(.*)\]$/, '$1'), port: endpoint.port === '' ? undefined : Number(endpoint.port), agent: this.#agent, timeout: SILENCE_MS }
    this.#authorize = authorize
  }

  /** Sends a request whose body, if it has one, is all there. Resolves with the answer's head; its body is to be read or dropped. */
  async send(head: RequestHead, body: readonly Uint8Array[] = []): Promise<http.IncomingMessage> {
    const exchange = await this.open(head, body.reduce((sum, part) => sum + part.byteLength, 0))
    exchange.finish(body)
    return exchange.answer
  }

  /**
   * Begins a request.
   *
   * @param length of its body, in bytes; `undefined`: sent in chunks, and over only when the exchange is finished
   */
  async open({ method, path, headers, signal }: RequestHead, length: number | undefined): Promise<Exchange> {
    signal?.throwIfAborted()
    if (this.#isClosed) throw new Closed('it was closed')
    const credentials = this.#authorize === undefined ? undefined : await this.#authorize(signal)
    const framing = length === undefined ? { 'transfer-encoding': 'chunked' } : length > 0 || method === 'POST' || method === 'PUT' ? { 'content-length': String(length) } : undefined
    const request = (this.#isSecure ? https : http).request({ ...this.#base, method, path, headers: { 'user-agent': 'thermocline', ...headers, ...framing, ...credentials } })
    this.#live.add(request)
    request.once('close', () => this.#live.delete(request))
    request.on('error', () => {
      if (request.reusedSocket) this.#dropIdle() // a server that ended one idle connection has mostly ended them all
    })
    return new Exchange(request, signal, this.#isSecure ? 'secureConnect' : 'connect')
  }

  /** Ends every connection, those in use too. */
  close(): void {
    this.#isClosed = true
    for (const request of this.#live) request.destroy(new Closed('it was closed meanwhile'))
    this.#agent.destroy()
  }

  #dropIdle(): void {
    for (const sockets of Object.values(this.#agent.freeSockets)) for (const socket of [...(sockets ?? [])]) socket.destroy()
  }
}

/** One request under way. */
export class Exchange {
  /** The answer's head. Never unhandled: who writes a body hears of a failure there. */
  readonly answer: Promise<http.IncomingMessage>
  readonly #request: http.ClientRequest
  #isOver = false
  #silenceMs = SILENCE_MS
  #response: http.IncomingMessage | undefined

  constructor(request: http.ClientRequest, signal: AbortSignal | undefined, connected: 'connect' | 'secureConnect') {
    this.#request = request
    request.once('socket', (socket) => {
      if (!socket.connecting) return void socket.setTimeout(this.#silenceMs)
      socket.setTimeout(CONNECT_MS)
      socket.once(connected, () => socket.setTimeout(this.#silenceMs))
    })
    const leave = onAbort(signal, () => this.destroy(signal?.reason as Error))
    request.on('timeout', () => this.destroy(new Silence('the connection was silent for too long')))
    request.once('close', leave)
    this.answer = new Promise((resolve, reject) => {
      request.once('response', (response) => {
        this.#isOver = true
        this.#response = response
        response.on('error', ignore) // whoever reads the body is told; nobody may be reading it
        resolve(response)
      })
      request.once('error', (error) => {
        this.#isOver = true
        // an abort with something that is no Error arrives as Node's own
        reject(signal?.aborted === true ? (signal.reason as Error) : error)
      })
    })
    this.answer.catch(ignore)
  }

  /** The server has answered already, or the connection is gone: it takes no more. */
  get isOver(): boolean {
    return this.#isOver
  }

  /** Sends part of a body; resolves when the connection takes more. To be stopped when {@link isOver}. */
  async write(chunk: Uint8Array): Promise<void> {
    const request = this.#request
    this.awaitServer(true)
    if (!this.#isOver && !request.write(chunk)) {
      await new Promise<void>((resolve) => {
        const done = (): void => {
          request.off('drain', done).off('response', done).off('close', done)
          resolve()
        }
        request.once('drain', done).once('response', done).once('close', done)
      })
    }
    this.awaitServer(false)
  }

  /** Sends the rest of a body and says that it was all. */
  finish(parts: readonly Uint8Array[] = []): void {
    this.awaitServer(true)
    const request = this.#request
    if (parts.length > 1) request.cork()
    for (const part of parts) if (part.byteLength > 0) request.write(part)
    request.end()
    if (parts.length > 1) request.uncork()
  }

  /** Whether it is the server's turn: while a source has nothing to send, silence is not its fault. */
  awaitServer(isItsTurn: boolean): void {
    this.#silenceMs = isItsTurn ? SILENCE_MS : 0
    const { socket } = this.#request
    if (socket?.connecting === false && !this.#isOver) socket.setTimeout(this.#silenceMs)
  }

  /** Gives the request up: what was sent is without an end, so the server keeps nothing of it. Who reads the answer is told why. */
  destroy(reason?: Error): void {
    this.#response?.destroy(reason)
    this.#request.destroy(reason)
  }
}

function ignore(): void {
  // told elsewhere
}
