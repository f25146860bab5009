import { Command } from 'ioredis'

/** `MGET` with replies as bytes, put on the wire in one piece: the client would ask for the length of each name by itself. */
export class MgetCommand extends Command {
  readonly #names: readonly string[]

  constructor(names: readonly string[]) {
    super('mget', names as string[], { replyEncoding: null }) // which copies them
    this.#names = names
  }

  override toWritable(): Buffer {
    const text = textOf(this.#names, (name) => name.length)
    // nearly all names are ASCII, where characters are bytes
    return Buffer.byteLength(text) === text.length ? Buffer.from(text, 'latin1') : Buffer.from(textOf(this.#names, (name) => Buffer.byteLength(name)))
  }
}

function textOf(names: readonly string[], bytesOf: (name: string) => number): string {
  let text = `*${names.length + 1}\r\n$4\r\nMGET\r\n`
  for (const name of names) text += `$${bytesOf(name)}\r\n${name}\r\n`
  return text
}
