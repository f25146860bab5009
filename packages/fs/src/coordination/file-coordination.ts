import path from 'node:path'
import { CacheError, isCacheError, systemClock, type CacheErrorCode, type Coordination, type Lease, type Line, type LoggedMessage, type LogMessage, type OperationOptions, type PutOptions, type TenantScope, type ValidKey } from '@thermocline/backend'
import { asFsError } from '../errors.js'
import { sizeOfFile } from '../file-io.js'
import type { Store } from '../store.js'
import { BEGINNING, isBefore } from './messages.js'
import { closedError, type Appended, type SharedLog } from './shared-log.js'

/** Of what is offered where there is no log. */
const NO_LOG = '000000000000-0'

/** What decides whether a written file gets its entry's name. */
export interface NamingFence {
  /**
   * Runs the step that gives the file its entry's name, if that is allowed still.
   *
   * @param name is given the path that the file has by then; where it does not get its name, it is removed
   * @returns what the step returns; false where it is not allowed
   */
  around(temporary: string, name: (offered: string) => Promise<boolean>): Promise<boolean>
  /** Nothing is written, as another entry is there. */
  kept(): Promise<void>
}

/**
 * Processes agree over a directory: by a log that all of them append to and read.
 */
export class FileCoordination implements Coordination {
  readonly beginning = BEGINNING
  /** They are files of their own. */
  readonly losesEntries = false
  readonly #store: Store
  readonly #log: SharedLog
  readonly #pathOf: (scope: TenantScope, key: ValidKey) => string
  readonly #closed = new AbortController()
  #changes = 0

  /** @param log which all coordinations of a backend have together @param pathOf the file of an entry */
  constructor(store: Store, log: SharedLog, pathOf: (scope: TenantScope, key: ValidKey) => string) {
    this.#store = store
    this.#log = log
    this.#pathOf = pathOf
  }

  enter(scope: TenantScope, key: ValidKey, token: string, options: OperationOptions): Promise<Line> {
    return this.#asked(options, async () => {
      await this.#append('enter', lineId(scope, key), token)
      return this.#lineOf(scope, key, token)
    })
  }

  look(scope: TenantScope, key: ValidKey, token: string, options: OperationOptions): Promise<Line> {
    return this.#asked(options, async () => {
      await this.#log.refresh()
      return this.#lineOf(scope, key, token)
    })
  }

  renew(scope: TenantScope, key: ValidKey, token: string, times: number, options: OperationOptions): Promise<boolean> {
    return this.#asked(options, () => this.#isGranted('renew', lineId(scope, key), token, String(times)))
  }

  takeOver(scope: TenantScope, key: ValidKey, token: string, first: string, options: OperationOptions): Promise<boolean> {
    return this.#asked(options, () => this.#isGranted('take-over', lineId(scope, key), token, first))
  }

  async leave(scope: TenantScope, key: ValidKey, token: string, { id, text }: LogMessage, options: OperationOptions): Promise<void> {
    await this.#asked(options, () => this.#append('leave', lineId(scope, key), token, id, text))
  }

  commit(scope: TenantScope, key: ValidKey, token: string, { id, text }: LogMessage, options: OperationOptions): Promise<boolean> {
    return this.#asked(options, async () => {
      await this.#endAbandoned(lineId(scope, key))
      return this.#isGranted('use', lineId(scope, key), token, id, text)
    })
  }

  async empty(scope: TenantScope, keys: readonly ValidKey[], options: OperationOptions): Promise<void> {
    await this.#asked(options, () => Promise.all(keys.map((key) => this.#append('empty', lineId(scope, key)))))
  }

  async emptyUnder(scope: TenantScope, prefix: string, options: OperationOptions): Promise<void> {
    await this.#asked(options, () => this.#append('empty-under', lineId(scope, prefix)))
  }

  async announce(scope: TenantScope, key: ValidKey, message: LogMessage, options: OperationOptions): Promise<void> {
    await this.#asked(options, () => this.#empty(lineId(scope, key), message))
  }

  append({ id, text }: LogMessage, options: OperationOptions): Promise<string> {
    return this.#asked(options, async () => (await this.#append('say', id, text)).position)
  }

  async read(after: string, waitMs: number, { signal }: OperationOptions): Promise<readonly LoggedMessage[]> {
    if (this.#closed.signal.aborted) throw closedError()
    await this.#log.refresh()
    for (const line of this.#log.lines.abandonedLines()) await this.#endAbandoned(line).catch(() => undefined) // so that others are told of it
    if (waitMs > 0 && this.#log.messagesAfter(after).length === 0) {
      await this.#nextMessage(waitMs, signal)
      if (this.#log.messagesAfter(after).length === 0) await this.#log.refresh() // whether the log is still there
    }
    return this.#log.messagesAfter(after)
  }

  async end(): Promise<LoggedMessage | undefined> {
    await this.#log.refresh()
    return this.#log.end
  }

  before(position: string, ms: number): string {
    return this.#log.before(position, ms)
  }

  isBefore(position: string, other: string): boolean {
    return isBefore(position, other)
  }

  close(): Promise<void> {
    this.#closed.abort()
    return Promise.resolve()
  }

  /** What decides whether what a put writes gets its name; `undefined`: it always does. */
  fenceOf(scope: TenantScope, key: ValidKey, options: PutOptions): NamingFence | undefined {
    const line = lineId(scope, key)
    const { lease, announces } = options
    const offering = (temporary: string, ask: (offered: string) => Promise<boolean>): Promise<boolean> => this.#waiting(options, () => this.#offer(temporary, ask))
    if (lease !== undefined) return { around: (temporary, name) => offering(temporary, (offered) => this.#commit(line, lease, path.basename(offered), () => name(offered))), kept: () => this.#kept(line, lease) }
    if (announces === undefined) return undefined
    return { around: (temporary, name) => offering(temporary, (offered) => this.#change(scope, key, announces, path.basename(offered), () => name(offered))), kept: () => Promise.resolve() }
  }

  /** Carries out a removal of which others are told: nothing that was begun before it is stored afterwards. */
  removal<T>(scope: TenantScope, key: ValidKey, message: LogMessage, options: OperationOptions, step: () => Promise<T>): Promise<T> {
    return this.#waiting(options, () => this.#change(scope, key, message, '', step))
  }

  /**
   * A change of which others are told: nobody else's value is stored until it is there, and nothing that was begun before it afterwards.
   *
   * @param temporary the name of the file that is to get the entry's; empty: it is a removal
   */
  async #change<T>(scope: TenantScope, key: ValidKey, message: LogMessage, temporary: string, step: () => Promise<T>): Promise<T> {
    const line = lineId(scope, key)
    const change = `${message.id}-${++this.#changes}`
    let begun: Appended
    try {
      begun = await this.#log.append('change', line, change, temporary, message.id, message.text)
    } catch (error) {
      if (isOf(error, 'misconfigured')) return step() // others cannot be told of anything here
      if (temporary === '' && isOf(error, 'storage-full')) return this.#removeWithoutRoom(line, message, step)
      throw error
    }
    let changed: T
    try {
      await this.#remove(begun.victims)
      changed = await step()
    } catch (error) {
      await this.#append('abandon', line, change).catch(() => this.#log.remove().catch(() => undefined)) // else it is taken for abandoned in a while
      throw temporary !== '' && (await this.#store.temporaries.isRemoved(temporary)) ? stoodStill(key) : error
    }
    try {
      // where it is refused, it was taken for abandoned, or the log was lost: others hear of it all the same
      if (!(await this.#isGranted('changed', line, change))) await this.#empty(line, message)
    } catch {
      await this.#log.remove() // they cannot be told: they find that the log was lost
    }
    return changed
  }

  /** Once there is a log, the file is shown to others; where it does not get its name it goes. */
  async #offer(temporary: string, ask: (offered: string) => Promise<boolean>): Promise<boolean> {
    if (this.#log.ready === undefined) await this.#log.refresh().catch(() => undefined) // who asks is told
    const { temporaries } = this.#store
    const offered = await temporaries.offer(temporary, this.#log.ready ?? NO_LOG)
    let isNamed = false
    try {
      isNamed = await ask(offered)
      return isNamed
    } finally {
      if (!isNamed) await temporaries.remove([path.basename(offered)]).catch(() => undefined) // the sweep finds it
    }
  }

  /** A full disk has no room for a record, and a removal makes room. Instead of being told, others find that the log was lost. */
  async #removeWithoutRoom<T>(line: string, message: LogMessage, step: () => Promise<T>): Promise<T> {
    await this.#log.remove()
    await this.#store.temporaries.removeOffered('').catch((error: unknown) => {
      throw asFsError(error, 'coordinate', undefined)
    })
    const changed = await step()
    try {
      await this.#empty(line, message)
      await step() // somebody may have begun another log before, and stored what is older
    } catch {
      await this.#log.remove()
    }
    return changed
  }

  async #commit(line: string, lease: Lease, temporary: string, name: () => Promise<boolean>): Promise<boolean> {
    const { token, wake: { id, text } } = lease
    const { temporaries } = this.#store
    try {
      await this.#endAbandoned(line)
      if (!(await this.#isGranted('commit', line, token, temporary, id, text))) return lost(lease)
    } catch (error) {
      if (isOf(error, 'misconfigured')) return lost(lease)
      throw error
    }
    const tell = (outcome: string): void => void this.#append('committed', line, token, outcome, id, text).catch(() => undefined) // else it is taken for abandoned in a while
    let isNamed: boolean
    try {
      isNamed = await name()
    } catch (error) {
      tell('failed')
      if (await temporaries.isRemoved(temporary)) return lost(lease)
      throw error
    }
    tell(isNamed ? 'stored' : 'kept')
    lease.ended(isNamed ? 'stored' : 'kept')
    return isNamed
  }

  async #kept(line: string, lease: Lease): Promise<void> {
    const { token, wake: { id, text } } = lease
    await this.#append('leave', line, token, id, text)
    lease.ended('kept')
  }

  /** What another process has begun and not ended for so long is not waited for; its file does not get the name any more. */
  async #endAbandoned(line: string): Promise<void> {
    for (let abandoned = this.#log.lines.abandoned(line); abandoned !== undefined; abandoned = this.#log.lines.abandoned(line)) {
      await this.#remove([abandoned.temporary])
      await this.#append('abandon', line, abandoned.mark)
    }
  }

  async #empty(line: string, { id, text }: LogMessage): Promise<void> {
    await this.#append('empty', line, id, text)
  }

  async #lineOf(scope: TenantScope, key: ValidKey, token: string): Promise<Line> {
    const seen = this.#log.lines.seen(lineId(scope, key), token) // first: what is stored by then is seen
    return { ...seen, isStored: (await sizeOfFile(this.#pathOf(scope, key))) > 0 }
  }

  /** Appends a record, and sees to it that what it ends has ended. */
  async #append(kind: string, ...rest: readonly string[]): Promise<Appended> {
    const outcome = await this.#log.append(kind, ...rest)
    await this.#remove(outcome.victims)
    return outcome
  }

  async #remove(temporaries: readonly string[]): Promise<void> {
    try {
      await this.#store.temporaries.remove(temporaries)
    } catch (error) {
      throw asFsError(error, 'coordinate', undefined)
    }
  }

  /** As everything that is asked of the disk: what it costs to wait for others of ours is not the disk's. */
  #asked<T>(options: OperationOptions, work: () => Promise<T>): Promise<T> {
    return this.#store.writes.run(options, () => this.#waiting(options, work))
  }

  /** Each step of the log is progress for who waits for it. */
  async #waiting<T>(options: OperationOptions, work: () => Promise<T>): Promise<T> {
    if (options.progress === undefined) return work()
    const step = (): void => options.progress?.() // one for each asker
    const stop = this.#log.onStep(step)
    try {
      return await work()
    } finally {
      stop()
    }
  }

  async #isGranted(kind: string, ...rest: readonly string[]): Promise<boolean> {
    return (await this.#append(kind, ...rest)).isGranted
  }

  #nextMessage(waitMs: number, signal: AbortSignal | undefined): Promise<void> {
    const signals = signal === undefined ? [this.#closed.signal] : [this.#closed.signal, signal]
    return new Promise((resolve) => {
      const done = (): void => {
        cancel()
        stop()
        for (const each of signals) each.removeEventListener('abort', done)
        resolve()
      }
      const cancel = systemClock.schedule(waitMs, done, { background: true })
      const stop = this.#log.onMessage(done)
      for (const each of signals) each.addEventListener('abort', done)
      if (signals.some(({ aborted }) => aborted)) done()
    })
  }
}

function isOf(error: unknown, code: CacheErrorCode): boolean {
  return isCacheError(error) && error.code === code
}

/** Nothing has been stored, and nothing will be: it can be tried again. */
function stoodStill(key: ValidKey): CacheError {
  return new CacheError('failed', 'others have taken this change for abandoned: the process stood still for long, or the log of the processes was lost', { operation: 'put', backend: 'fs', key, concerns: 'key', retryable: true })
}

function lost(lease: Lease): false {
  lease.ended('lost')
  return false
}

function lineId({ tenant }: TenantScope, key: string): string {
  return `${tenant}\0${key}`
}
