import fs from 'node:fs'
import path from 'node:path'
import { CacheError, isCacheError, systemClock, type Coordination, type Lease, type Line, type LoggedMessage, type LogMessage, type OperationOptions, type PutOptions, type TenantScope, type ValidKey } from '@thermocline/backend'
import { asFsError, isMissing } from '../errors.js'
import { sizeOfFile } from '../file-io.js'
import { isTemporaryName } from '../layout.js'
import type { Store } from '../store.js'
import { LONGEST_CHANGE_MS } from './lines.js'
import { BEGINNING, closedError, isBefore, type Appended, type SharedLog } from './shared-log.js'

/** What decides whether a written file gets its entry's name. */
export interface NamingFence {
  /** Runs the step that gives the file its name, if that is allowed still. @returns what the step returns; false where it is not allowed */
  around(temporary: string, name: () => Promise<boolean>): Promise<boolean>
  /** Nothing is written, as another entry is there. */
  kept(): Promise<void>
}

/**
 * Processes agree over a directory: by a log that all of them append to and read.
 */
export class FileCoordination implements Coordination {
  readonly beginning = BEGINNING
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

  async announce(scope: TenantScope, key: ValidKey, { id, text }: LogMessage, options: OperationOptions): Promise<void> {
    await this.#asked(options, () => this.#append('empty', lineId(scope, key), id, text))
  }

  append({ id, text }: LogMessage, options: OperationOptions): Promise<string> {
    return this.#asked(options, async () => (await this.#append('say', id, text)).position)
  }

  async read(after: string, waitMs: number, { signal }: OperationOptions): Promise<readonly LoggedMessage[]> {
    if (this.#closed.signal.aborted) throw closedError()
    await this.#log.refresh()
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
  fenceOf(scope: TenantScope, key: ValidKey, { lease, announces }: PutOptions): NamingFence | undefined {
    const line = lineId(scope, key)
    if (lease !== undefined) return { around: (temporary, name) => this.#commit(line, lease, temporary, name), kept: () => this.#kept(line, lease) }
    if (announces === undefined) return undefined
    return { around: (temporary, name) => this.change(scope, key, announces, path.basename(temporary), name), kept: () => Promise.resolve() }
  }

  /** A change of which others are told: nobody else's value is stored until it is there, and nothing that was begun before it afterwards. */
  async change<T>(scope: TenantScope, key: ValidKey, { id, text }: LogMessage, temporary: string, step: () => Promise<T>): Promise<T> {
    const line = lineId(scope, key)
    const change = `${id}-${++this.#changes}`
    const began = systemClock.monotonic()
    try {
      await this.#append('change', line, change, temporary)
    } catch (error) {
      // a full disk has no room for a record: the log is gone then, which tells everybody as much, and a removal makes room
      if (temporary === '' && isCacheError(error) && error.code === 'storage-full') return step()
      throw error
    }
    let changed: T
    try {
      changed = await step()
    } catch (error) {
      await this.#append('abandon', line, change).catch(() => undefined) // else it is taken for abandoned in a while
      throw temporary !== '' && (await isRemoved(path.join(this.#store.layout.tmp, temporary))) ? stoodStill(key) : error
    }
    // others take a change for abandoned when they have seen it for so long: before, the end is granted
    const isOnTime = systemClock.monotonic() - began < LONGEST_CHANGE_MS / 2
    if (isOnTime) await this.#log.tell('changed', line, change, id, text)
    else if (!(await this.#isGranted('changed', line, change, id, text))) throw stoodStill(key)
    return changed
  }

  async #commit(line: string, lease: Lease, temporary: string, name: () => Promise<boolean>): Promise<boolean> {
    await this.#endAbandoned(line)
    const { token, wake: { id, text } } = lease
    if (!(await this.#isGranted('commit', line, token, path.basename(temporary)))) return lost(lease)
    let isNamed: boolean
    try {
      isNamed = await name()
    } catch (error) {
      const isGone = await isRemoved(temporary)
      await this.#append('committed', line, token, 'failed', id, text).catch(() => undefined)
      if (isGone) return lost(lease)
      throw error
    }
    await this.#log.tell('committed', line, token, isNamed ? 'stored' : 'kept', id, text)
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
    for (const name of temporaries) {
      if (!isTemporaryName(name)) continue // a removal has none
      try {
        await fs.promises.unlink(path.join(this.#store.layout.tmp, name))
      } catch (error) {
        if (!isMissing(error)) throw asFsError(error, 'coordinate', undefined)
      }
    }
  }

  /** As everything that is asked of the disk: what it costs to wait for others of ours is not the disk's. */
  #asked<T>(options: OperationOptions, work: () => Promise<T>): Promise<T> {
    return this.#store.writes.run(options, work)
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

function stoodStill(key: ValidKey): CacheError {
  return new CacheError('failed', 'this process stood still for so long that others have taken its change for abandoned', { operation: 'put', backend: 'fs', key, concerns: 'key' })
}

function lost(lease: Lease): false {
  lease.ended('lost')
  return false
}

async function isRemoved(file: string): Promise<boolean> {
  return fs.promises.lstat(file).then(() => false, isMissing)
}

function lineId({ tenant }: TenantScope, key: string): string {
  return `${tenant}\0${key}`
}
