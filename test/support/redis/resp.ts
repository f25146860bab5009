/** What Redis answers; an error inside an array (EXEC) stands at its place. */
export type Reply = string | number | null | ReplyError | Reply[]

/** The same with strings as the bytes that they are. */
export type RawReply = Buffer | number | null | ReplyError | RawReply[]

export type Argument = string | number | Uint8Array

/** Redis answered with an error: `-CODE text`. */
export class ReplyError extends Error {
  readonly code: string

  constructor(message: string) {
    super(message)
    this.code = message.split(' ', 1)[0] ?? message
  }
}

export function encodeCommand(args: readonly Argument[]): Buffer {
  const parts: Uint8Array[] = [Buffer.from(`*${args.length}\r\n`)]
  for (const arg of args) {
    const bytes = typeof arg === 'object' ? arg : Buffer.from(String(arg))
    parts.push(Buffer.from(`$${bytes.length}\r\n`), bytes, Buffer.from('\r\n'))
  }
  return Buffer.concat(parts)
}

export function decodeStrings(reply: RawReply): Reply {
  if (Array.isArray(reply)) return reply.map(decodeStrings)
  return Buffer.isBuffer(reply) ? reply.toString() : reply
}

/** The first reply in the bytes and where it ends, or `undefined` when it is not complete yet. RESP2 only. */
export function parseReply(bytes: Buffer, from = 0): { readonly reply: RawReply; readonly end: number } | undefined {
  const lineEnd = bytes.indexOf('\r\n', from)
  if (lineEnd === -1) return undefined
  const line = bytes.subarray(from + 1, lineEnd)
  const next = lineEnd + 2
  const type = String.fromCharCode(bytes[from] ?? 0)
  switch (type) {
    case '+':
      return { reply: Buffer.from(line), end: next }
    case '-':
      return { reply: new ReplyError(line.toString()), end: next }
    case ':':
      return { reply: Number(line), end: next }
    case '$':
      return parseBulk(bytes, Number(line), next)
    case '*':
      return parseArray(bytes, Number(line), next)
    default:
      throw new Error(`not a reply of Redis: it begins with ${JSON.stringify(type)}`)
  }
}

function parseBulk(bytes: Buffer, length: number, from: number): ReturnType<typeof parseReply> {
  if (length < 0) return { reply: null, end: from }
  const end = from + length
  return bytes.length < end + 2 ? undefined : { reply: Buffer.from(bytes.subarray(from, end)), end: end + 2 }
}

function parseArray(bytes: Buffer, length: number, from: number): ReturnType<typeof parseReply> {
  if (length < 0) return { reply: null, end: from }
  const replies: RawReply[] = []
  let end = from
  for (let i = 0; i < length; i++) {
    const parsed = parseReply(bytes, end)
    if (parsed === undefined) return undefined
    replies.push(parsed.reply)
    end = parsed.end
  }
  return { reply: replies, end }
}
