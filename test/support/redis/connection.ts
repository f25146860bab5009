import net from 'node:net'
import tls from 'node:tls'
import { type Argument, encodeCommand, parseReply, type RawReply, ReplyError } from './resp.js'

const ANSWER_WITHIN_MS = 5_000

/** Where a server is and how to be let in. */
export interface Address {
  readonly port: number
  readonly username?: string
  readonly password?: string
  readonly tls?: { readonly ca: Buffer; readonly cert: Buffer; readonly key: Buffer }
}

/**
 * A connection for setting servers up and for looking inside, not for the code under test. Commands are answered in order;
 * an answer that takes more than five seconds ends the connection.
 */
export class Connection {
  readonly #socket: net.Socket
  readonly #waiting: { readonly resolve: (reply: RawReply) => void; readonly reject: (error: Error) => void }[] = []
  #received: Buffer = Buffer.alloc(0)

  private constructor(socket: net.Socket) {
    this.#socket = socket
    socket.setNoDelay(true)
    socket.on('data', (chunk) => this.#receive(chunk))
    socket.on('error', (error) => this.#fail(error))
    socket.on('close', () => this.#fail(new Error('the connection was closed')))
    socket.setTimeout(ANSWER_WITHIN_MS, () => {
      if (this.#waiting.length > 0) socket.destroy(new Error(`no answer within ${ANSWER_WITHIN_MS} ms`))
    })
  }

  static async open({ port, username = 'default', password, tls: secrets }: Address): Promise<Connection> {
    const socket = secrets === undefined ? net.connect(port, '127.0.0.1') : tls.connect({ ...secrets, port, host: '127.0.0.1', servername: 'localhost' })
    const connection = new Connection(socket)
    if (password !== undefined) await connection.command('AUTH', username, password)
    return connection
  }

  /** Rejects with a ReplyError when that is the answer. */
  command(...args: readonly Argument[]): Promise<RawReply> {
    return new Promise((resolve, reject) => {
      if (this.#socket.destroyed) return reject(new Error('the connection was closed'))
      this.#waiting.push({ resolve, reject })
      this.#socket.write(encodeCommand(args))
    })
  }

  close(): void {
    this.#socket.destroy()
  }

  #receive(chunk: Buffer): void {
    this.#received = Buffer.concat([this.#received, chunk])
    try {
      for (;;) {
        const parsed = parseReply(this.#received)
        if (parsed === undefined) return
        this.#received = this.#received.subarray(parsed.end)
        const { resolve, reject } = this.#waiting.shift() ?? {}
        if (parsed.reply instanceof ReplyError) reject?.(parsed.reply)
        else resolve?.(parsed.reply)
      }
    } catch (error) {
      this.#socket.destroy(error as Error)
    }
  }

  #fail(error: Error): void {
    for (const { reject } of this.#waiting.splice(0)) reject(error)
  }
}

/** Sends one command on a connection of its own. */
export async function ask(address: Address, ...args: readonly Argument[]): Promise<RawReply> {
  const connection = await Connection.open(address)
  try {
    return await connection.command(...args)
  } finally {
    connection.close()
  }
}
