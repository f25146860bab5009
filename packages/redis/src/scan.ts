import { decodeFrameHeader, FRAME_MAGIC, FRAME_PREAMBLE_BYTES, type OperationOptions } from '@thermocline/core'
import type { Redis } from 'ioredis'
import type { Connection } from './connection.js'
import { isReply, OutOfStep } from './errors.js'

/** Keys that one SCAN looks at: about a millisecond of the server's time. */
const SCAN_COUNT = 1000
/** Names in one command. */
const NAMES_AT_ONCE = 256

/** The names on one server that match, a page at a time. A name may come twice. */
export async function* namesOn(connection: Connection, server: Redis, pattern: string, options: OperationOptions): AsyncIterable<string[]> {
  let cursor = '0'
  do {
    // another scan's page could pass for this one's
    const [page] = (await Promise.all([server.scan(cursor, 'MATCH', pattern, 'COUNT', SCAN_COUNT), connection.inStep([server])])) as unknown[]
    if (!isPage(page)) throw new OutOfStep()
    const [next, names] = page
    cursor = next
    options.progress?.()
    if (names.length > 0) yield names
  } while (cursor !== '0' && options.signal?.aborted !== true)
}

/**
 * Unlinks names, but for those under which something is stored that does not begin as a frame does that is known here. Returns
 * how many there were.
 */
export async function unlinkOurs(connection: Connection, names: readonly string[], options: OperationOptions): Promise<number> {
  let removed = 0
  for (let at = 0; at < names.length; at += NAMES_AT_ONCE) {
    const part = [...new Set(names.slice(at, at + NAMES_AT_ONCE))]
    connection.cork()
    const foreign = await Promise.all(part.map((name) => isForeign(connection.client, name)))
    if (foreign.includes(true)) await connection.inStep()
    removed += await unlink(connection, part.filter((_, place) => !foreign[place]))
    options.progress?.()
  }
  return removed
}

/** In a cluster the keys of one command must share a slot, so each has its own. */
async function unlink({ client, isCluster }: Connection, names: readonly string[]): Promise<number> {
  if (names.length === 0) return 0
  const counts: unknown[] = await Promise.all(isCluster ? names.map((name) => client.unlink(name)) : [client.unlink(...names)])
  return counts.reduce<number>((sum, count) => {
    if (typeof count !== 'number') throw new OutOfStep()
    return sum + count
  }, 0)
}

/** What is absent counts as ours: were the reply another request's, nothing would be left that ought to go. */
async function isForeign(client: Redis, name: string): Promise<boolean> {
  try {
    const start = (await client.getrangeBuffer(name, 0, FRAME_PREAMBLE_BYTES - 1)) as unknown
    if (!Buffer.isBuffer(start) || start.byteLength > FRAME_PREAMBLE_BYTES) throw new OutOfStep()
    return start.byteLength > 0 && (start.byteLength < FRAME_MAGIC.length || decodeFrameHeader(start).status === 'foreign')
  } catch (error) {
    if (isReply(error, 'WRONGTYPE')) return true
    throw error
  }
}

function isPage(reply: unknown): reply is [string, string[]] {
  return Array.isArray(reply) && reply.length === 2 && typeof reply[0] === 'string' && Array.isArray(reply[1])
}
