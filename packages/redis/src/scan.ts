import type { OperationOptions } from '@thermocline/backend'
import type { Redis } from 'ioredis'
import type { Connection } from './connection.js'
import { OutOfStep } from './errors.js'

/** Keys that one SCAN looks at: about a millisecond of the server's time. */
const SCAN_COUNT = 1000
/** Names in one command. */
const NAMES_AT_ONCE = 256

/** More pages than any server has: 2^33 places for keys. */
const MOST_PAGES = 10_000_000
/** So many pages in a row, a thousand million keys, that show none of ours are no database. */
const MOST_EMPTY_PAGES = 1_000_000

/**
 * The names on one server that match, a page at a time; a page may be empty, and a name may come twice.
 *
 * A server says with a cursor where to go on, and 0 at the end. One that never says 0 is left: when a cursor comes again (Brent's way to find a cycle, which
 * keeps one cursor only), after 10 million pages, or after a million in a row without a name.
 */
export async function* namesOn(connection: Connection, server: Redis, pattern: string, options: OperationOptions): AsyncIterable<string[]> {
  let cursor = '0'
  let pages = 0
  let empty = 0
  let kept = cursor
  let keptFor = 1
  do {
    // another scan's page could pass for this one's
    const [page] = (await Promise.all([server.scan(cursor, 'MATCH', pattern, 'COUNT', SCAN_COUNT), connection.inStep([server])])) as unknown[]
    if (!isPage(page)) throw new OutOfStep()
    const [next, names] = page
    cursor = next
    empty = names.length === 0 ? empty + 1 : 0
    if (cursor === kept || ++pages > MOST_PAGES || empty > MOST_EMPTY_PAGES) {
      if (cursor !== '0') throw new OutOfStep('a scan that does not end')
    } else if (pages === keptFor) {
      kept = cursor
      keptFor *= 2
    }
    options.progress?.()
    yield names
  } while (cursor !== '0' && options.signal?.aborted !== true)
}

/**
 * Unlinks names and returns how many there were, whatever they hold: they are ours alone, and what a newer release wrote under
 * one must go as well when it is invalidated.
 */
export async function unlink(connection: Connection, names: readonly string[], options: OperationOptions): Promise<number> {
  let removed = 0
  for (let at = 0; at < names.length; at += NAMES_AT_ONCE) {
    const part = names.slice(at, at + NAMES_AT_ONCE)
    // in a cluster the keys of one command must share a slot, so each has its own
    const counts: unknown[] = await Promise.all(connection.isCluster ? part.map((name) => connection.client.unlink(name)) : [connection.client.unlink(...part)])
    for (const count of counts) {
      const number = typeof count === 'string' && count !== '' ? Number(count) : count // a client of the user's may give numbers as text
      if (typeof number !== 'number' || !Number.isInteger(number)) throw new OutOfStep()
      removed += number
    }
    options.progress?.()
  }
  return removed
}

function isPage(reply: unknown): reply is [string, string[]] {
  return Array.isArray(reply) && reply.length === 2 && typeof reply[0] === 'string' && Array.isArray(reply[1])
}
