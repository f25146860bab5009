import type { CacheStats, TieredCacheManager } from '@thermocline/core'
import { Client, type InUse } from './client.js'
import { HISTORY_KEYS, HISTORY_TENANTS, type PlannedCall } from './plan.js'
import type { History } from './records.js'
import type { HistorySubject } from './subject.js'
import type { Weather } from './weather.js'

export interface CrewOptions {
  readonly managers: number
  readonly clients: number
  readonly pace: number
  readonly restartsWith: string | undefined
  readonly patienceMs: number
}

/** Calls that are let go at once: so many at most, by turns of a short table, so that some meet and some are alone in a fault. */
const GUSTS = [1, 16, 3, 8, 2, 24, 5, 1, 12] as const
/** Calls between two moments in which several managers settle. */
const ROUND = 120
/** Calls between two restarts of a manager. */
const WATCH = 300
/** How long everything may take to be in order again after the last fault; five seconds are promised to a tier, others may wait for it. */
const SETTLES_WITHIN_MS = 30_000
const LOOK_EVERY_MS = 20
/** How long stats() and close() may take. */
const ENDS_WITHIN_MS = 60_000
const LAST_WORDS = 30
/** The same for what costs stores a question. */
const ASK_EVERY_MS = 150

const QUIET: Omit<PlannedCall, 'verb' | 'tenant' | 'key'> = { keys: [], prefix: '', without: 'none', ttlMs: null, form: 'object', length: 60, slowMs: 0, breaksOff: false }

/** The clients and their managers. */
export class Crew {
  readonly #subject: HistorySubject
  readonly #history: History
  readonly #options: CrewOptions
  readonly #clients: readonly Client[]
  #managers: InUse[] = []
  #opened = 0
  #degradations = 0
  /** Tiers that managers leave out at the moment. */
  readonly #leftOut = new Set<string>()

  constructor(subject: HistorySubject, history: History, options: CrewOptions) {
    this.#subject = subject
    this.#history = history
    this.#options = options
    this.#clients = Array.from({ length: options.managers * options.clients }, (_, number) => new Client(number, history))
    for (let i = 0; i < options.managers; i++) this.#managers.push(this.#open())
  }

  /** How often managers left a tier out. */
  get degradations(): number {
    return this.#degradations
  }

  /** Makes the calls, and settles at the end. */
  async work(calls: readonly PlannedCall[], weather: Weather): Promise<void> {
    await this.#rememberTiers()
    const alone = this.#options.managers === 1
    const length = alone ? (this.#options.restartsWith === undefined ? calls.length : WATCH) : ROUND
    if (alone) weather.start(() => this.#leftOut.size === 0)
    for (let at = 0; at < calls.length; at += length) {
      if (!alone) weather.start(() => this.#leftOut.size === 0)
      // a signal that fires leaves work behind that settling does not see, and a source that breaks off changes nothing
      const round = calls.slice(at, at + length).map((call) => (alone ? call : { ...call, breaksOff: false }))
      const isLast = at + length >= calls.length
      await this.#makeAll(round, alone && this.#options.restartsWith !== undefined && !isLast ? () => this.#restart(weather) : undefined)
      if (!alone) {
        await weather.stop()
        await this.#settle()
        await this.#invalidateAlone(at / length)
        await this.#lookEverywhere()
      }
    }
    if (!alone) return
    await weather.stop()
    await this.#settle()
    await this.#lookEverywhere()
  }

  async close(): Promise<void> {
    await this.#inTime('close()', Promise.all(this.#managers.map(({ cache }) => cache.close())))
  }

  #open(): InUse {
    const cache = this.#subject.open()
    const number = this.#opened++
    cache.on('degraded', ({ tier }) => {
      this.#degradations++
      this.#leftOut.add(`${number} ${tier}`)
    })
    cache.on('recovered', ({ tier }) => this.#leftOut.delete(`${number} ${tier}`))
    this.#takeNotes(cache, number)
    return { cache, number, ownTiers: this.#subject.ownTiers, tiers: this.#managers[0]?.tiers ?? [], isClosing: false, hasEnded: false }
  }

  /** Not of hits, whose listeners close the short way of a hit. */
  #takeNotes(cache: TieredCacheManager, number: number): void {
    const note = (text: string, tenant?: string, key?: string): void => void this.#history.note(`manager ${number}: ${text}`, tenant, key)
    note('is opened')
    cache.on('degraded', ({ tier, circuit }) => note(`${tier} is left out (${circuit})`))
    cache.on('recovered', ({ tier }) => note(`${tier} is in use again`))
    cache.on('error', ({ error, tier, tenant, key }) => note(`${tier ?? ''}: ${error.code}: ${error.message}`, tenant, key))
    cache.on('promote', ({ from, to, tenant, key }) => note(`promoted from ${from} to ${to}`, tenant, key))
    cache.on('writeBack', ({ tier, tenant, key }) => note(`written back to ${tier}`, tenant, key))
  }

  async #rememberTiers(): Promise<void> {
    this.#managers = await Promise.all(this.#managers.map(async (manager) => ({ ...manager, tiers: Object.keys((await manager.cache.stats()).tiers) })))
  }

  /** All clients make calls until there are none left, in gusts; in the middle of them `meanwhile` happens. */
  async #makeAll(calls: readonly PlannedCall[], meanwhile: (() => Promise<void>) | undefined): Promise<void> {
    let next = 0
    let admitted = 0
    const wake: (() => void)[] = []
    let disturbance: Promise<void> | undefined
    let failure: { readonly error: unknown } | undefined
    const work = this.#clients.map(async (client, number) => {
      for (;;) {
        while (next >= admitted && next < calls.length) await new Promise<void>((resolve) => wake.push(resolve))
        const manager = this.#managers[number % this.#options.managers] as InUse
        if (manager.isClosing) {
          if (failure !== undefined) throw failure.error // there will be no other manager
          await this.#pause(LOOK_EVERY_MS)
          continue
        }
        const call = calls[next++]
        if (call === undefined) return
        await this.#make(client, call, manager)
      }
    })
    const done = Promise.all(work)
    done.catch(() => undefined) // told below
    for (let turn = 0; admitted < calls.length && failure === undefined; turn++) {
      const gust = GUSTS[turn % GUSTS.length] as number
      admitted = Math.min(calls.length, admitted + gust)
      for (const resume of wake.splice(0)) resume()
      if (admitted > calls.length / 2) disturbance ??= meanwhile?.().catch((error: unknown) => void (failure = { error }))
      await this.#pause((gust / this.#options.pace) * 1000)
    }
    if (failure === undefined) await done
    await disturbance
    if (failure !== undefined) throw failure.error
  }

  /** Makes a call, and waits for its end; one that has no answer after all that time is found in the history. */
  async #make(client: Client, call: PlannedCall, manager: InUse): Promise<void> {
    let cancel!: () => void // set by the promise below
    const late = new Promise<void>((resolve) => (cancel = this.#history.clock.schedule(this.#options.patienceMs, resolve)))
    await Promise.race([client.make(call, manager), late])
    cancel()
  }

  /** The process ends and another one begins. Calls go to the new one as soon as it is there. */
  async #restart(weather: Weather): Promise<void> {
    const [old] = this.#managers
    const { restartsWith: keeper } = this.#options
    if (old === undefined || keeper === undefined) return
    await weather.hold(keeper)
    for (let waited = 0; waited < SETTLES_WITHIN_MS; waited += ASK_EVERY_MS) {
      const { tiers } = await this.#inTime('stats()', old.cache.stats())
      const { state, pendingInvalidations = 0, keysInDoubt = 0 } = tiers[keeper] ?? {}
      if (state === 'ok' && pendingInvalidations + keysInDoubt === 0) break
      await this.#pause(ASK_EVERY_MS)
    }
    old.isClosing = true
    this.#history.note(`manager ${old.number} is closed`)
    await this.#inTime('close()', old.cache.close())
    old.hasEnded = true
    weather.release(keeper)
    this.#leftOut.clear()
    this.#managers[0] = this.#open()
  }

  /** Waits until nothing is owed, in doubt, in the background or left out any more. */
  async #settle(): Promise<void> {
    let stats = await this.#stats()
    for (let waited = 0; !stats.every(isInOrder); waited += ASK_EVERY_MS) {
      if (waited > SETTLES_WITHIN_MS) throw new Error(`not in order ${SETTLES_WITHIN_MS / 1000} s after the last fault: ${JSON.stringify(stats.filter((one) => !isInOrder(one)))}`)
      await this.#pause(ASK_EVERY_MS)
      stats = await this.#stats()
    }
    this.#history.settled()
  }

  #stats(): Promise<CacheStats[]> {
    return this.#inTime('stats()', Promise.all(this.#managers.map(({ cache }) => cache.stats())))
  }

  /** What a caller would wait for in vain is told of, instead of ending the history by its time. */
  async #inTime<T>(what: string, work: Promise<T>): Promise<T> {
    let cancel!: () => void // set by the promise below
    const late = new Promise<never>((_, reject) => {
      cancel = this.#history.clock.schedule(ENDS_WITHIN_MS, () => reject(new Error(`${what} had not ended after ${ENDS_WITHIN_MS / 1000} s. What was last:\n${this.#lastWords()}`)))
    })
    return Promise.race([work, late]).finally(cancel)
  }

  /** One manager sets or deletes every key, and nobody else does anything. */
  async #invalidateAlone(round: number): Promise<void> {
    const manager = this.#managers[round % this.#managers.length] as InUse
    const [client] = this.#clients as readonly [Client]
    for (const [number, tenant] of HISTORY_TENANTS.entries()) {
      const turn = round + number
      if (turn % 4 === 3) await this.#make(client, { ...QUIET, verb: 'clear', tenant, key: '' }, manager)
      else for (const [at, key] of HISTORY_KEYS.entries()) await this.#make(client, { ...QUIET, verb: (turn + at) % 2 === 0 ? 'set' : 'delete', tenant, key }, manager)
    }
    await this.#settle()
  }

  /** Every key is read once more, from all tiers and from the slowest alone. */
  async #lookEverywhere(): Promise<void> {
    for (const manager of this.#managers) {
      for (const tenant of HISTORY_TENANTS) {
        for (const key of HISTORY_KEYS) {
          const [client] = this.#clients as readonly [Client]
          await this.#make(client, { ...QUIET, verb: 'get', tenant, key, without: 'all but the slowest' }, manager)
          await this.#make(client, { ...QUIET, verb: 'get', tenant, key }, manager)
        }
      }
    }
  }

  #lastWords(): string {
    const words = this.#history.records.flatMap((record) => (record.kind === 'note' ? [record.text] : record.kind === 'fault' ? [`fault: ${record.name}${record.returnedMs === Infinity ? '' : ' (over)'}`] : []))
    return words.slice(-LAST_WORDS).join('\n')
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => void this.#history.clock.schedule(ms, resolve))
  }
}

function isInOrder({ tiers, pendingWrites, writeBack }: CacheStats): boolean {
  if (pendingWrites + writeBack.pending + writeBack.removalsOwed > 0) return false
  return Object.values(tiers).every(({ state, pendingInvalidations, keysInDoubt }) => state === 'ok' && pendingInvalidations === 0 && keysInDoubt === 0)
}
