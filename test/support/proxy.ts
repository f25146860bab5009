import net from 'node:net'
import { atEndOfFile } from './servers/end-of-file.js'
import { freePort } from './servers/ports.js'

/** Bytes held back before the sender is made to wait, as a network would. */
const HELD_MOST = 1024 * 1024
/** How much of a second's bytes goes at a time while bandwidth is short. */
const PIECES_PER_SECOND = 50
const RESET_AFTER_MS = 10

type Mode =
  | { readonly name: 'pass' | 'black hole' | 'refuse' }
  | { readonly name: 'delay'; readonly ms: number }
  | { readonly name: 'bandwidth'; readonly bytesPerSecond: number }
  | { readonly name: 'reset in mid-reply'; readonly afterBytes: number | undefined }
  | { readonly name: 'garbage'; readonly bytes: Uint8Array; readonly instead: boolean }

interface Held {
  /** `undefined`: the sender has ended. */
  readonly bytes: Buffer | undefined
  readonly arrivedAt: number
}

/**
 * A TCP proxy on 127.0.0.1 whose network can be made worse while it runs. A mode applies at once to connections there are and to
 * those to come, until the next one. It does not look into what it carries, so it serves TLS as well; with that a `reply` is a
 * piece of what the server sends.
 */
export class Proxy {
  readonly port: number
  readonly #targetPort: number
  readonly #pairs = new Set<Pair>()
  #mode: Mode = { name: 'pass' }
  #server: net.Server | undefined
  #accepted = 0
  #stallsNew = false

  constructor(port: number, targetPort: number) {
    this.port = port
    this.#targetPort = targetPort
    atEndOfFile(() => this.close())
  }

  /** How many connections are open. */
  get connections(): number {
    return this.#pairs.size
  }

  /** How many connections there have been. */
  get accepted(): number {
    return this.#accepted
  }

  /** Forwards everything at once, also what other modes have held back. */
  pass(): Promise<void> {
    return this.#set({ name: 'pass' })
  }

  /** Each reply arrives so much later; requests go at once. */
  delay(ms: number): Promise<void> {
    return this.#set({ name: 'delay', ms })
  }

  /** So many bytes a second, in each direction of each connection. */
  bandwidth(bytesPerSecond: number): Promise<void> {
    return this.#set({ name: 'bandwidth', bytesPerSecond })
  }

  /** Accepts connections and bytes and forwards nothing, not even an end. After `pass` what was held back goes on, as after a broken network. */
  blackHole(): Promise<void> {
    return this.#set({ name: 'black hole' })
  }

  /**
   * What there are of connections forward nothing any more, in either direction, and new ones pass: one path of several is broken. When the
   * next mode is set, what came over them goes on, also where their clients have reset them meanwhile: requests arrive late. `all`: new ones stall too.
   */
  async stall(which: 'open' | 'all' = 'open'): Promise<void> {
    await this.#set({ name: 'pass' })
    this.#stallsNew = which === 'all'
    for (const pair of this.#pairs) pair.isStalled = true
  }

  /** After {@link stall} of all: those that stall go on to, new ones pass. */
  stallNoMore(): void {
    this.#stallsNew = false
  }

  /** Resets every connection and refuses new ones. Any other mode listens again, on the same port. */
  refuse(): Promise<void> {
    return this.#set({ name: 'refuse' })
  }

  /** Forwards so many bytes of the next reply, half of it by default, and resets that connection. Then passes. */
  resetMidReply(afterBytes?: number): Promise<void> {
    return this.#set({ name: 'reset in mid-reply', afterBytes })
  }

  /** Sends the client these bytes instead of the next reply, or before it. Then passes. */
  garbage(bytes: Uint8Array | string, place: 'instead' | 'before' = 'instead'): Promise<void> {
    return this.#set({ name: 'garbage', bytes: Buffer.from(bytes), instead: place === 'instead' })
  }

  /** Resets every connection; new ones are accepted. */
  reset(): void {
    for (const pair of this.#pairs) pair.reset()
  }

  async close(): Promise<void> {
    await this.refuse()
  }

  /** @internal */
  async listen(): Promise<void> {
    const server = net.createServer({ allowHalfOpen: true }, (client) => this.#accept(client))
    await new Promise<void>((resolve, reject) => server.once('error', reject).listen(this.port, '127.0.0.1', resolve))
    server.unref()
    this.#server = server
  }

  async #set(mode: Mode): Promise<void> {
    this.#mode = mode
    this.#stallsNew = false
    if (mode.name === 'refuse') {
      const server = this.#server
      this.#server = undefined
      const closed = server === undefined ? undefined : new Promise((resolve) => server.close(resolve))
      this.reset()
      await closed
      return
    }
    if (this.#server === undefined) await this.listen()
    for (const pair of this.#pairs) {
      pair.isStalled = false
      pair.moveOn()
    }
  }

  #accept(client: net.Socket): void {
    this.#accepted += 1
    const server = net.connect({ port: this.#targetPort, host: '127.0.0.1', allowHalfOpen: true })
    const pair = new Pair(client, server, {
      mode: () => this.#mode,
      turn: (mode) => {
        this.#mode = mode
        for (const other of this.#pairs) other.moveOn()
      },
      closed: () => this.#pairs.delete(pair),
    })
    pair.isStalled = this.#stallsNew
    this.#pairs.add(pair)
  }
}

interface Surroundings {
  readonly mode: () => Mode
  /** Sets another mode: what was to happen once has happened. */
  readonly turn: (mode: Mode) => void
  readonly closed: () => void
}

/** A client's connection and the one to the server that belongs to it. */
class Pair {
  /** Whether it forwards nothing, whatever the mode. */
  isStalled = false
  readonly #sockets: readonly net.Socket[]
  readonly #lanes: readonly Lane[]
  readonly #surroundings: Surroundings

  constructor(client: net.Socket, server: net.Socket, surroundings: Surroundings) {
    this.#surroundings = surroundings
    this.#sockets = [client, server]
    this.#lanes = [new Lane(client, server, false, this, surroundings), new Lane(server, client, true, this, surroundings)]
    for (const socket of this.#sockets) {
      socket.setNoDelay(true)
      socket.unref()
      socket.on('error', () => {
        if (this.isStalled && socket === client) this.#lanes[0]?.end()
        else this.reset()
      })
      socket.on('close', () => {
        if (this.#sockets.every(({ destroyed }) => destroyed)) surroundings.closed()
      })
    }
  }

  moveOn(): void {
    for (const lane of this.#lanes) lane.moveOn()
  }

  reset(): void {
    for (const lane of this.#lanes) lane.drop()
    for (const socket of this.#sockets) {
      // resetAndDestroy would wait for the connection; and beside an end that is still to be sent, Node closes nothing and spins when the process is to exit
      if (socket.connecting || (socket.writableEnded && !socket.writableFinished)) socket.destroy()
      else if (!socket.destroyed) socket.resetAndDestroy()
    }
    this.#surroundings.closed()
  }
}

/** One direction of a connection: what has arrived waits here for its turn. */
class Lane {
  readonly #source: net.Socket
  readonly #sink: net.Socket
  readonly #carriesReplies: boolean
  readonly #pair: Pair
  readonly #surroundings: Surroundings
  readonly #held: Held[] = []
  #heldBytes = 0
  /** When the bandwidth spent so far is there again. */
  #freeAt = 0
  #timer: NodeJS.Timeout | undefined
  #isFull = false

  constructor(source: net.Socket, sink: net.Socket, carriesReplies: boolean, pair: Pair, surroundings: Surroundings) {
    this.#source = source
    this.#sink = sink
    this.#carriesReplies = carriesReplies
    this.#pair = pair
    this.#surroundings = surroundings
    source.on('data', (bytes) => this.#hold(bytes))
    source.on('end', () => this.#hold(undefined))
    sink.on('drain', () => {
      this.#isFull = false
      this.moveOn()
    })
  }

  /** Sends on what may go now, and comes back when more may. */
  moveOn(): void {
    clearTimeout(this.#timer)
    for (;;) {
      const next = this.#held[0]
      if (next === undefined || this.#isFull || this.#sink.destroyed) return
      const wait = this.#waitFor(next)
      if (wait === Infinity) return
      if (wait > 0) {
        this.#timer = setTimeout(() => this.moveOn(), Math.ceil(wait)).unref()
        return
      }
      this.#held.shift()
      this.#forward(next)
    }
  }

  /** The sender is gone; what it has sent before still goes its way. */
  end(): void {
    this.#hold(undefined)
  }

  drop(): void {
    clearTimeout(this.#timer)
    this.#held.length = 0
  }

  #hold(bytes: Buffer | undefined): void {
    this.#held.push({ bytes, arrivedAt: performance.now() })
    this.#heldBytes += bytes?.length ?? 0
    if (this.#heldBytes > HELD_MOST) this.#source.pause()
    this.moveOn()
  }

  #waitFor({ arrivedAt }: Held): number {
    const mode = this.#surroundings.mode()
    if (mode.name === 'black hole' || this.#pair.isStalled) return Infinity
    if (mode.name === 'delay' && this.#carriesReplies) return arrivedAt + mode.ms - performance.now()
    if (mode.name === 'bandwidth') return this.#freeAt - performance.now()
    return 0
  }

  #forward({ bytes, arrivedAt }: Held): void {
    if (bytes === undefined) {
      this.#sink.end()
      return
    }
    this.#heldBytes -= bytes.length
    if (this.#heldBytes <= HELD_MOST) this.#source.resume()
    const mode = this.#surroundings.mode()
    if (mode.name === 'bandwidth') return this.#forwardPiece(bytes, arrivedAt, mode.bytesPerSecond)
    if (this.#carriesReplies && mode.name === 'reset in mid-reply') return this.#forwardToReset(bytes, mode.afterBytes ?? Math.floor(bytes.length / 2))
    if (this.#carriesReplies && mode.name === 'garbage') {
      this.#write(mode.instead ? mode.bytes : Buffer.concat([mode.bytes, bytes]))
      return this.#surroundings.turn({ name: 'pass' })
    }
    this.#write(bytes)
  }

  #forwardPiece(bytes: Buffer, arrivedAt: number, bytesPerSecond: number): void {
    const piece = bytes.subarray(0, Math.max(1, Math.ceil(bytesPerSecond / PIECES_PER_SECOND)))
    const rest = bytes.subarray(piece.length)
    if (rest.length > 0) {
      this.#held.unshift({ bytes: rest, arrivedAt })
      this.#heldBytes += rest.length
    }
    this.#freeAt = Math.max(performance.now(), this.#freeAt) + (piece.length / bytesPerSecond) * 1_000
    this.#write(piece)
  }

  #forwardToReset(bytes: Buffer, afterBytes: number): void {
    if (bytes.length < afterBytes) {
      this.#write(bytes)
      return this.#surroundings.turn({ name: 'reset in mid-reply', afterBytes: afterBytes - bytes.length })
    }
    this.drop()
    this.#source.pause()
    // the client is to see these bytes first: when both arrive in one turn of its loop, libuv reports an end instead of a reset
    this.#sink.write(bytes.subarray(0, afterBytes), () => setTimeout(() => this.#pair.reset(), RESET_AFTER_MS).unref())
    this.#surroundings.turn({ name: 'pass' })
  }

  #write(bytes: Uint8Array): void {
    this.#isFull = !this.#sink.write(bytes)
  }
}

/** Starts a proxy to a port of 127.0.0.1. It passes everything until told otherwise, and keeps no process alive. */
export async function startProxy(targetPort: number): Promise<Proxy> {
  const proxy = new Proxy(await freePort(), targetPort)
  await proxy.listen()
  return proxy
}
