import { FRAME_MAGIC, type OperationOptions } from '@thermocline/core'
import type { Redis } from 'ioredis'
import type { Connection } from './connection.js'
import { isReply } from './errors.js'

/** Keys that one SCAN looks at: about a millisecond of the server's time. */
const SCAN_COUNT = 1000
/** Names in one command. */
const NAMES_AT_ONCE = 256

/** The names on one server that match, a page at a time. A name may come twice. */
export async function* namesOn(server: Redis, pattern: string, options: OperationOptions): AsyncIterable<string[]> {
  let cursor = '0'
  do {
    const [next, names] = await server.scan(cursor, 'MATCH', pattern, 'COUNT', SCAN_COUNT)
    cursor = next
    options.progress?.()
    if (names.length > 0) yield names
  } while (cursor !== '0' && options.signal?.aborted !== true)
}

/**
 * Unlinks those names that hold something of ours, and returns how many did. What does not begin with the magic of a frame
 * stays.
 *
 * @param via the client of one server, or of the whole cluster
 */
export async function unlinkOurs(connection: Connection, via: Redis, names: readonly string[], options: OperationOptions): Promise<number> {
  let removed = 0
  for (let at = 0; at < names.length; at += NAMES_AT_ONCE) {
    const part = names.slice(at, at + NAMES_AT_ONCE)
    connection.cork()
    const starts = await Promise.all(part.map((name) => via.getrangeBuffer(name, 0, FRAME_MAGIC.length - 1).catch(foreignToNothing)))
    const ours = [...new Set(part.filter((_, place) => starts[place]?.equals(FRAME_MAGIC) === true))]
    removed += await unlink(connection, via, ours)
    options.progress?.()
  }
  return removed
}

/** In a cluster the keys of one command must share a slot, so each has its own. */
async function unlink(connection: Connection, via: Redis, names: readonly string[]): Promise<number> {
  if (names.length === 0) return 0
  if (!connection.isCluster) return via.unlink(...names)
  const counts = await Promise.all(names.map((name) => connection.client.unlink(name)))
  return counts.reduce((sum, count) => sum + count, 0)
}

function foreignToNothing(error: unknown): Buffer {
  if (isReply(error, 'WRONGTYPE')) return Buffer.alloc(0)
  throw error
}
