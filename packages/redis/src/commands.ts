import { Command } from 'ioredis'

/*
 * The commands of the hot path, each put on the wire in one piece. The client's own way flattens and copies the arguments (1 us a
 * command, and as much for 64 names again), asks for the length of each by itself, and makes a dozen small buffers of a value and
 * joins them, which costs as much as everything else about a small write.
 */

/** Its arguments are kept as they are, for whoever traces commands and for the client of a cluster, which asks for the keys. */
abstract class PlainCommand extends Command {
  constructor(name: string, args: string[], replyEncoding: 'utf8' | null) {
    super(name, [], { replyEncoding })
    this.args = args
  }
}

/** `GET` with a reply as bytes. */
export class GetCommand extends PlainCommand {
  readonly #name: string

  constructor(name: string) {
    super('get', [name], null)
    this.#name = name
  }

  override toWritable(): string {
    return `*2\r\n$3\r\nGET\r\n${bulk(this.#name)}\r\n`
  }
}

/** `MGET` with replies as bytes. */
export class MgetCommand extends PlainCommand {
  readonly #names: readonly string[]

  constructor(names: string[]) {
    super('mget', names, null)
    this.#names = names
  }

  override toWritable(): Buffer {
    const text = textOf(this.#names, (name) => name.length)
    // nearly all names are ASCII, where characters are bytes
    return Buffer.byteLength(text) === text.length ? Buffer.from(text, 'latin1') : Buffer.from(textOf(this.#names, (name) => Buffer.byteLength(name)))
  }
}

export class SetCommand extends PlainCommand {
  readonly #bytes: Buffer

  /** @param expiresInMs whole milliseconds; `undefined`: never */
  constructor(name: string, header: Buffer, payload: Uint8Array, expiresInMs: number | undefined, onlyIfAbsent: boolean) {
    super('set', [name], 'utf8') // the name says which node of a cluster it goes to
    const frameBytes = header.byteLength + payload.byteLength
    const expiry = expiresInMs === undefined ? '' : `\r\n$2\r\nPX\r\n${bulk(String(expiresInMs))}`
    const words = 3 + (expiresInMs === undefined ? 0 : 2) + (onlyIfAbsent ? 1 : 0)
    const before = `*${words}\r\n$3\r\nSET\r\n${bulk(name)}\r\n$${frameBytes}\r\n`
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

/** `EVALSHA` or `EVAL`, in one piece. */
export class ScriptCommand extends PlainCommand {
  readonly #bytes: Buffer

  /** @param script its hash or its source */
  constructor(name: 'evalsha' | 'eval', script: string, keys: readonly string[], args: readonly (string | Buffer)[]) {
    super(name, [script, String(keys.length), ...keys], 'utf8') // the client of a cluster asks for the keys
    let text = `*${3 + keys.length + args.length}\r\n${bulk(name)}\r\n${bulk(script)}\r\n${bulk(String(keys.length))}\r\n`
    for (const key of keys) text += `${bulk(key)}\r\n`
    const parts: (string | Buffer)[] = []
    for (const arg of args) {
      if (typeof arg === 'string') {
        text += `${bulk(arg)}\r\n`
        continue
      }
      parts.push(`${text}$${arg.byteLength}\r\n`, arg)
      text = '\r\n'
    }
    parts.push(text)
    let length = 0
    for (const part of parts) length += Buffer.byteLength(part)
    this.#bytes = Buffer.allocUnsafe(length)
    let at = 0
    for (const part of parts) at += typeof part === 'string' ? this.#bytes.write(part, at) : part.copy(this.#bytes, at)
  }

  override toWritable(): Buffer {
    return this.#bytes
  }
}

function bulk(text: string): string {
  return `$${Buffer.byteLength(text)}\r\n${text}`
}

function textOf(names: readonly string[], bytesOf: (name: string) => number): string {
  let text = `*${names.length + 1}\r\n$4\r\nMGET\r\n`
  for (const name of names) text += `$${bytesOf(name)}\r\n${name}\r\n`
  return text
}
