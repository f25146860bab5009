import { Command } from 'ioredis'

/**
 * `SET`, put on the wire in one piece: the client would make a dozen small buffers of its arguments and join them, which costs
 * as much as everything else about a small write.
 */
export class SetCommand extends Command {
  readonly #bytes: Buffer

  /** @param expiresInMs whole milliseconds; `undefined`: never */
  constructor(name: string, header: Buffer, payload: Uint8Array, expiresInMs: number | undefined, onlyIfAbsent: boolean) {
    super('set', [name], { replyEncoding: 'utf8' }) // the name says which node of a cluster it goes to
    const frameBytes = header.byteLength + payload.byteLength
    const expiry = expiresInMs === undefined ? '' : `\r\n$2\r\nPX\r\n${bulk(String(expiresInMs))}`
    const words = 3 + (expiresInMs === undefined ? 0 : 2) + (onlyIfAbsent ? 1 : 0)
    const before = `*${words}\r\n$3\r\nSET\r\n$${Buffer.byteLength(name)}\r\n${name}\r\n$${frameBytes}\r\n`
    const after = `${expiry}${onlyIfAbsent ? '\r\n$2\r\nNX' : ''}\r\n`
    const bytes = Buffer.allocUnsafe(Buffer.byteLength(before) + frameBytes + after.length)
    let at = bytes.write(before, 0, 'utf8')
    bytes.set(header, at)
    bytes.set(payload, (at += header.byteLength))
    bytes.write(after, at + payload.byteLength, 'latin1')
    this.#bytes = bytes
  }

  override toWritable(): Buffer {
    return this.#bytes
  }
}

function bulk(text: string): string {
  return `$${text.length}\r\n${text}`
}
