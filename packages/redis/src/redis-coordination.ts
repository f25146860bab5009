import {
  CacheError,
  LINE_LIFE_MS,
  systemClock,
  type Coordination,
  type Lease,
  type Line,
  type LoggedMessage,
  type LogMessage,
  type OperationOptions,
  type TenantScope,
  type ValidKey,
} from '@thermocline/backend'
import type { Connection } from './connection.js'
import type { Connections } from './connections.js'
import { isRefusal, OutOfStep } from './errors.js'
import type { Names } from './names.js'
import { namesOn, unlink } from './scan.js'
import { ANNOUNCE, APPEND, COMMIT, DELETE_ANNOUNCED, ENTER, LEAVE, LOOK, PUT_ANNOUNCED, PUT_LEASED, MOST_FOREIGN, RENEW, TAKE_OVER, type Script } from './scripts.js'

/*
 * Processes agree over one server: a key's line is a list beside its entry, the log is a stream. What has to be done in one step is a script.
 */

/** Messages are kept for an hour: a process that was away for longer believes nothing of its own. */
const KEPT_MS = 3_600_000
const LIFE = String(LINE_LIFE_MS)
const MESSAGES_AT_ONCE = 1000
/** A reader without an answer for so long beyond what it asked for has a connection that is dead: a firewall may have forgotten it. */
const LATE_MS = 2000
/** What PUT_LEASED answers where another entry is there. */
const PRESENT = 2

/** Bytes of an entry as they are stored, and how. */
export interface Frame {
  readonly name: string
  readonly bytes: Buffer
  /** `undefined`: no end. */
  readonly lifeMs: number | undefined
}

export class RedisCoordination implements Coordination {
  readonly losesEntries = true
  readonly beginning = '0-0'
  /** Whether changes can be announced, as far as is known. Where that is not allowed they are made all the same: the manager learns of it from what it asks. */
  isAllowed = true
  readonly #connections: Connections
  readonly #names: Names
  /** Where it waits for messages. */
  #blocking: Connection | undefined
  #isClosed = false

  constructor(connections: Connections, names: Names) {
    this.#connections = connections
    this.#names = names
  }

  async enter(scope: TenantScope, key: ValidKey, token: string, options: OperationOptions): Promise<Line> {
    return lineOf(await this.#ask('enter', key, ENTER, this.#ofKey(scope, key, false), [token, LIFE], options))
  }

  async look(scope: TenantScope, key: ValidKey, token: string, options: OperationOptions): Promise<Line> {
    return lineOf(await this.#ask('look', key, LOOK, this.#ofKey(scope, key, false), [token], options))
  }

  async renew(scope: TenantScope, key: ValidKey, token: string, times: number, options: OperationOptions): Promise<boolean> {
    return (await this.#ask('renew', key, RENEW, [this.#lineOf(scope, key)], [token, String(times), LIFE], options)) === 1
  }

  async takeOver(scope: TenantScope, key: ValidKey, token: string, first: string, options: OperationOptions): Promise<boolean> {
    return (await this.#ask('takeOver', key, TAKE_OVER, [this.#lineOf(scope, key)], [token, first, LIFE], options)) === 1
  }

  async leave(scope: TenantScope, key: ValidKey, token: string, wake: LogMessage, options: OperationOptions): Promise<void> {
    await this.#ask('leave', key, LEAVE, [this.#lineOf(scope, key), this.#names.log], [token, wake.id, wake.text], options)
  }

  async commit(scope: TenantScope, key: ValidKey, token: string, wake: LogMessage, options: OperationOptions): Promise<boolean> {
    return (await this.#ask('commit', key, COMMIT, [this.#lineOf(scope, key), this.#names.log], [token, wake.id, wake.text], options)) === 1
  }

  async empty(scope: TenantScope, keys: readonly ValidKey[], options: OperationOptions): Promise<void> {
    await this.#with('empty', keys[0], options, (main) => unlink(main, keys.map((key) => this.#lineOf(scope, key)), options))
  }

  async emptyUnder(scope: TenantScope, prefix: string, options: OperationOptions): Promise<void> {
    await this.#with('empty', undefined, options, async (main) => {
      for (const server of main.masters()) {
        for await (const lines of namesOn(main, server, this.#names.linePattern(scope, prefix), options)) await unlink(main, lines, options)
      }
    })
  }

  async announce(scope: TenantScope, key: ValidKey, message: LogMessage, options: OperationOptions): Promise<void> {
    await this.#ask('announce', key, ANNOUNCE, [this.#lineOf(scope, key), this.#names.log], [message.id, message.text], options)
  }

  async append(message: LogMessage, options: OperationOptions): Promise<string> {
    return text(await this.#ask('append', undefined, APPEND, [this.#names.log], [message.id, message.text, String(KEPT_MS)], options))
  }

  async read(after: string, waitMs: number, options: OperationOptions): Promise<readonly LoggedMessage[]> {
    if (this.#isClosed) throw new CacheError('closed', 'coordination is closed', { operation: 'read', backend: 'redis' })
    // without the main connection there is nothing to hear, and no other one is tried
    const first = this.#connections.main.ready(options)
    if (first !== undefined) await first
    const connection = (this.#blocking ??= this.#connections.blocking())
    try {
      const waiting = connection.ready(options)
      if (waiting !== undefined) await waiting
      const wait: [] | ['BLOCK', number] = waitMs > 0 ? ['BLOCK', waitMs] : []
      const reading = connection.client.call('xread', 'COUNT', MESSAGES_AT_ONCE, ...wait, 'STREAMS', this.#names.log, after) as Promise<[string, RawMessage[]][] | null>
      const found = await answered(reading, connection, waitMs + LATE_MS)
      return (found?.[0]?.[1] ?? []).map(messageOf)
    } catch (error) {
      const failure = failed(connection, error, 'read', undefined)
      this.#leave(connection)
      throw failure
    }
  }

  async end(options: OperationOptions): Promise<LoggedMessage | undefined> {
    const found = await this.#with('end', undefined, options, ({ client }) => client.xrevrange(this.#names.log, '+', '-', 'COUNT', MOST_FOREIGN))
    return found.map(messageOf).find(({ id }) => id !== '')
  }

  before(position: string, ms: number): string {
    return `${Math.max(0, Math.floor(numbersOf(position)[0] - ms))}-0` // the server's own milliseconds
  }

  isBefore(position: string, other: string): boolean {
    const [ms, order] = numbersOf(position)
    const [otherMs, otherOrder] = numbersOf(other)
    return ms < otherMs || (ms === otherMs && order < otherOrder)
  }

  close(): Promise<void> {
    this.#isClosed = true
    if (this.#blocking !== undefined) this.#leave(this.#blocking)
    return Promise.resolve()
  }

  /** Stores an entry and tells of it. @returns false where that is not allowed */
  async putAnnounced({ name, bytes, lifeMs }: Frame, { id, text: said }: LogMessage, { client }: Connection): Promise<boolean> {
    const args = [id, said, lifeMs === undefined ? '' : String(lifeMs), bytes]
    return this.#ifAllowed(async () => {
      if ((await PUT_ANNOUNCED.run(client, [name, this.#names.line(name), this.#names.log], args)) !== 1) throw new OutOfStep()
      return true
    }, false)
  }

  /** Stores an entry, if its lease still stands in the line, and answers as SET does; `refused`: it does not stand there. */
  async putLeased({ name, bytes, lifeMs }: Frame, lease: Lease, onlyIfAbsent: boolean, { client }: Connection): Promise<'OK' | 'refused' | null> {
    const names = [name, this.#names.line(name), this.#names.log]
    const life = lifeMs === undefined ? '' : String(lifeMs)
    const answer = await PUT_LEASED.run(client, names, [lease.token, lease.wake.id, lease.wake.text, life, onlyIfAbsent ? '1' : '0', bytes])
    if (answer === PRESENT) {
      lease.ended('kept')
      return null
    }
    if (answer !== 1 && answer !== 0) throw new OutOfStep()
    lease.ended(answer === 1 ? 'stored' : 'lost')
    return answer === 1 ? 'OK' : 'refused'
  }

  /** Removes an entry, and tells of it. @returns how many there were; `undefined`: it is not allowed */
  async deleteAnnounced(scope: TenantScope, key: ValidKey, message: LogMessage, { client }: Connection): Promise<number | undefined> {
    return this.#ifAllowed(async () => {
      const removed = await DELETE_ANNOUNCED.run(client, this.#ofKey(scope, key, true), [message.id, message.text])
      if (removed !== 0 && removed !== 1) throw new OutOfStep()
      return removed
    }, undefined)
  }

  async #ifAllowed<T>(run: () => Promise<T>, otherwise: T): Promise<T> {
    try {
      return await run()
    } catch (error) {
      if (!isRefusal(error)) throw error
      this.isAllowed = false
      return otherwise
    }
  }

  /** The next read has another one. */
  #leave(connection: Connection): void {
    this.#connections.end(connection)
    if (this.#blocking === connection) this.#blocking = undefined
  }

  #lineOf(scope: TenantScope, key: ValidKey): string {
    return this.#names.line(this.#names.of(scope, key))
  }

  #ofKey(scope: TenantScope, key: ValidKey, withLog: boolean): string[] {
    const name = this.#names.of(scope, key)
    return withLog ? [name, this.#names.line(name), this.#names.log] : [name, this.#names.line(name)]
  }

  #ask(operation: string, key: ValidKey | undefined, script: Script, keys: readonly string[], args: readonly string[], options: OperationOptions): Promise<unknown> {
    return this.#with(operation, key, options, (main) => {
      main.cork()
      return script.run(main.client, keys, args)
    })
  }

  async #with<T>(operation: string, key: ValidKey | undefined, options: OperationOptions, run: (main: Connection) => Promise<T>): Promise<T> {
    const { main } = this.#connections
    const waiting = this.#connections.ready(main, options)
    if (waiting !== undefined) await waiting
    try {
      return await run(main)
    } catch (error) {
      throw failed(main, error, operation, key)
    }
  }
}

type RawMessage = [id: string, fields: string[]]

/** The answer, unless there is none in time: then the connection is left. Answers that have come in and were not read yet, as this process was busy, are read first. */
async function answered<T>(answer: Promise<T>, connection: Connection, withinMs: number): Promise<T> {
  const cancel = systemClock.schedule(withinMs, () => setImmediate(() => setImmediate(() => isOver || connection.leave(new Error('connection was left: no reply in time')))), { background: true })
  let isOver = false
  try {
    return await answer
  } finally {
    isOver = true
    cancel()
  }
}

/** @returns a `misconfigured` one where the server does not allow it at all */
function failed(connection: Connection, error: unknown, operation: string, key: ValidKey | undefined): CacheError {
  const failure = connection.failed(error, operation, key)
  return isRefusal(error) ? new CacheError('misconfigured', `${failure.message}; coordination needs more rights: docs/processes.md lists them`, { operation, backend: 'redis', key, cause: failure.cause }) : failure
}

/** What is no message of ours has an id and a text that say nothing. */
function messageOf([position, fields]: RawMessage): LoggedMessage {
  const [i, id = '', p, previous = '', g, log = '', m, said = ''] = fields
  return i === 'i' && p === 'p' && g === 'g' && m === 'm' ? { position, id, previous, log, text: said } : { position, id: '', previous: '', log: '', text: '' }
}

/** An id of a stream: milliseconds, and a number among those of the same. */
function numbersOf(position: string): readonly [ms: number, order: number] {
  const [ms, order] = position.split('-')
  return [Number(ms), Number(order)]
}

function lineOf(reply: unknown): Line {
  if (!Array.isArray(reply) || reply.length !== 4) throw new OutOfStep()
  const [first, isFirst, isListed, isStored] = reply as unknown[]
  return { first: text(first) === '' ? undefined : text(first), isFirst: isFirst === 1, isListed: isListed === 1, isStored: isStored === 1 }
}

function text(reply: unknown): string {
  if (typeof reply !== 'string') throw new OutOfStep()
  return reply
}
