import type { CacheBackend, Clock } from '@thermocline/backend'
import type { TieredCacheManager } from '@thermocline/core'
import { checkHistory } from '../history/check.js'
import { Client, type InUse } from '../history/client.js'
import type { PlannedCall } from '../history/plan.js'
import { History } from '../history/records.js'
import type { Loss } from '../history/truth.js'
import type { Violation } from '../history/violation.js'
import { SharedStore } from '../shared-store.js'
import { chances } from './chance.js'
import { Connection } from './network.js'
import type { Schedule, Stack, Step, Trouble } from './schedule.js'
import { SimulatedTime, type TimedProcess } from './time.js'

/*
 * Several managers in one process, each as a process of its own: on simulated time, over a shared store that is reached by simulated connections. What happens
 * is drawn from a seed, and the same each time. Every call is recorded and judged as in a history on real servers.
 */

/** How long after the last step everything may take to be in order: a lease, the time of a breaker, and then some. */
const SETTLES_WITHIN_MS = 40_000
/** When all are in order, what they have not heard of is believed no more after so long. */
const AFTERWARDS_MS = 1000
/** So long a process waits until it takes what it has said for lost, and a beat. */
const SAID_AGAIN_MS = 8000
/** What was wrong so long before may still show: a lease that runs out, a breaker that has not closed. */
const LINGERS_MS = 15_000
/** A message takes two ways, and whoever reads it may just have asked. */
const HEARD_WITHIN_MS = 100
const JUMPS_MS = 86_400_000

/** The tiers of a manager, fastest first. */
export interface SimulatedTiers {
  readonly stack: Stack
  readonly shared: CacheBackend
  /** Of its own, and lasting. */
  readonly disk: CacheBackend | undefined
}

export interface SimulationOptions {
  /** Opens a manager of the tiers, with that clock; `shared` is the one over which they agree. */
  readonly open: (tiers: SimulatedTiers, clock: Clock) => TieredCacheManager
  /** The names of tiers that a manager has for itself, by stack. */
  readonly ownTiers: (stack: Stack) => readonly string[]
  /** For how long a manager of theirs believes what it does not hear of, in milliseconds. */
  readonly maxStalenessMs: number
  /** Default: one that keeps what it promises. */
  readonly store?: (() => SharedStore) | undefined
}

export interface Simulated {
  readonly history: History
  readonly violations: readonly Violation[]
  /** How much happened: timers, and what arrived. */
  readonly events: number
}

export async function simulate(schedule: Schedule, options: SimulationOptions): Promise<Simulated> {
  const simulation = new Simulation(schedule, options)
  const random = Math.random
  Math.random = chances(schedule.seed + 1)
  try {
    await simulation.run()
  } finally {
    Math.random = random
  }
  return { history: simulation.history, violations: simulation.violations(), events: simulation.time.happened }
}

/** One process: what is left of it when it has ended. */
class SimulatedProcess implements TimedProcess {
  hasEnded = false
  stoppedUntil = 0
  aheadMs = 0
  readonly number: number
  readonly clock: Clock
  readonly connection: Connection
  readonly cache: TieredCacheManager
  readonly client: Client
  readonly inUse: InUse
  endedMs = Number.POSITIVE_INFINITY
  /** How many calls have no answer yet. */
  underWay = 0

  /** @param ownDisk what it finds there */
  constructor(number: number, ownDisk: SharedStore, { time, store, history, chance, schedule: { stack }, options }: World) {
    this.number = number
    this.clock = time.clockOf(this)
    this.connection = new Connection(time, this, chance)
    const disk = stack === 'memory and disk' ? ownDisk.backend(new Connection(time, this, chance), { shared: false, durable: true }) : undefined
    this.cache = options.open({ stack, shared: store.backend(this.connection), disk }, this.clock)
    this.client = new Client(number, history)
    const ownTiers = options.ownTiers(stack)
    this.inUse = { cache: this.cache, number, ownTiers, tiers: [...ownTiers, 'shared'], hasApplied: () => this.#hasApplied(), isClosing: false, hasEnded: false }
  }

  /** Whether nothing is owed or in doubt, and others are heard. */
  async isInOrder(): Promise<boolean> {
    const { coordination } = await this.cache.health()
    return coordination.status === 'connected' && coordination.untold === 0 && (await this.#hasApplied())
  }

  async #hasApplied(): Promise<boolean> {
    const { tiers, pendingWrites } = await this.cache.stats()
    return pendingWrites === 0 && Object.values(tiers).every(({ pendingInvalidations, keysInDoubt }) => pendingInvalidations + keysInDoubt === 0)
  }
}

/** What all processes have together. */
interface World {
  readonly time: SimulatedTime
  readonly store: SharedStore
  readonly history: History
  readonly chance: () => number
  readonly schedule: Schedule
  readonly options: SimulationOptions
}

class Simulation implements World {
  readonly time = new SimulatedTime()
  readonly history = new History(this.time.clockOf({ hasEnded: false, stoppedUntil: 0, aheadMs: 0 }))
  readonly schedule: Schedule
  readonly options: SimulationOptions
  readonly store: SharedStore
  readonly chance: () => number
  /** One for each place where a process runs: the next one there finds it as it is. */
  readonly #disks: readonly SharedStore[]
  readonly #processes: SimulatedProcess[] = []
  readonly #ended: SimulatedProcess[] = []
  readonly #wrong: { readonly fromMs: number; toMs: number }[] = []
  readonly #losses: Loss[] = []
  readonly #stops: { readonly manager: number; readonly fromMs: number; readonly toMs: number }[] = []
  #opened = 0

  constructor(schedule: Schedule, options: SimulationOptions) {
    this.schedule = schedule
    this.options = options
    this.store = options.store?.() ?? new SharedStore()
    this.chance = chances(schedule.seed)
    this.#disks = Array.from({ length: schedule.processes }, () => new SharedStore())
    for (const disk of this.#disks) this.#processes.push(this.#open(disk))
  }

  async run(): Promise<void> {
    await this.time.run(100)
    for (const step of this.schedule.steps) {
      await this.time.run(step.afterMs)
      if ('call' in step) this.#call(step.process, step.call)
      else this.#trouble(step)
    }
    await this.time.run(SETTLES_WITHIN_MS, () => this.#isIdle && this.#wrong.every(({ toMs }) => toMs <= this.time.now))
    await this.#settle()
    await this.time.run(this.options.maxStalenessMs + (this.#losses.length > 0 ? SAID_AGAIN_MS : AFTERWARDS_MS))
    await this.#settle()
    for (const process of this.#processes.keys()) {
      for (const without of ['none', 'fastest'] as const) {
        for (const key of ['a', 'b']) {
          this.#call(process, { verb: 'get', tenant: 'acme', key, keys: [], prefix: '', without, ttlMs: null, form: 'text', length: 4, slowMs: 0, breaksOff: false })
          await this.time.run(1000, () => this.#isIdle)
        }
      }
    }
    await this.#close()
  }

  violations(): Violation[] {
    const { maxStalenessMs } = this.options
    const killed = new Map(this.#ended.map(({ number, endedMs }) => [number, endedMs]))
    const isFair = (fromMs: number, toMs: number): boolean => !this.#wrong.some((one) => one.fromMs <= toMs && one.toMs + LINGERS_MS >= fromMs)
    const violations = checkHistory(this.history, { managers: 'several', agreed: { maxStalenessMs, heardWithinMs: HEARD_WITHIN_MS, losses: this.#losses, stops: this.#stops, killed, isFair } })
    const jumps = this.schedule.steps.some((step) => 'trouble' in step && step.trouble === 'clock')
    return violations.filter(({ rule, records: [record] }) => {
      if (rule === 'expired' || rule === 'prolonged') return !jumps // ends of life are the clocks' business
      return rule !== 'unanswered' || record === undefined || !('manager' in record) || !killed.has(record.manager)
    })
  }

  get #isIdle(): boolean {
    return this.#processes.every(({ underWay }) => underWay === 0)
  }

  #open(disk: SharedStore): SimulatedProcess {
    const process = new SimulatedProcess(this.#opened++, disk, this)
    const { cache, number } = process
    const note = (text: string): void => {
      if (!process.hasEnded) this.history.note(`manager ${number}: ${text}`)
    }
    cache.on('degraded', ({ tier }) => note(`${tier} is left out`))
    cache.on('recovered', ({ tier }) => note(`${tier} is in use again`))
    cache.on('blind', () => note('hears nobody'))
    cache.on('connected', () => note('hears others'))
    cache.on('invalidated', ({ key, prefix }) => note(`has heard that ${key ?? `${prefix ?? ''}*`} was invalidated`))
    return process
  }

  /** As soon as the process runs. */
  #call(at: number, call: PlannedCall): void {
    const process = this.#processes[at % this.#processes.length] as SimulatedProcess
    process.underWay++
    this.time.schedule(0, () => void process.client.make(call, process.inUse).finally(() => process.underWay--), process)
  }

  #trouble({ process: at, trouble, lastsMs }: Extract<Step, { trouble: Trouble }>): void {
    const place = at % this.#processes.length
    const process = this.#processes[place] as SimulatedProcess
    const { connection } = process
    const span = this.history.fault(`${trouble}, manager ${process.number}`)
    const wrong = { fromMs: this.time.now, toMs: this.time.now + lastsMs }
    this.#wrong.push(wrong)
    const over = (): void => {
      this.history.ended(span)
      wrong.toMs = this.time.now
    }
    switch (trouble) {
      case 'silent':
      case 'refused':
      case 'slow':
        connection.weather = trouble
        this.time.schedule(lastsMs, () => {
          connection.weather = 'fair'
          over()
        })
        return
      case 'stop':
        process.stoppedUntil = Math.max(process.stoppedUntil, this.time.now + lastsMs)
        this.#stops.push({ manager: process.number, ...wrong })
        this.time.schedule(lastsMs, over)
        return
      case 'takeover': {
        const takeOver = this.store.copy()
        const fromMs = this.time.now
        this.time.schedule(lastsMs, () => {
          takeOver()
          for (const { connection: each } of this.#processes) each.reset()
          this.#losses.push({ fromMs, atMs: this.time.now })
          over()
        })
        return
      }
      case 'kill':
        this.#kill(place)
        break
      case 'reset':
        connection.reset()
        break
      case 'clock':
        process.aheadMs += (this.chance() - 0.5) * JUMPS_MS
        break
      case 'evict':
        this.store.lines.clear()
        break
      case 'trim':
        this.store.trim(Math.floor(this.chance() * 4))
        break
      case 'flush':
        this.store.flush()
        break
    }
    over()
  }

  #kill(place: number): void {
    const process = this.#processes[place] as SimulatedProcess
    process.hasEnded = true
    process.inUse.hasEnded = true
    process.endedMs = this.time.now
    this.#ended.push(process)
    this.#processes[place] = this.#open(this.#disks[place] as SharedStore)
  }

  async #settle(): Promise<void> {
    for (let waited = 0; waited < SETTLES_WITHIN_MS; waited += 1000) {
      const inOrder = await Promise.all(this.#processes.map((process) => process.isInOrder()))
      if (inOrder.every(Boolean)) break
      await this.time.run(1000)
    }
    this.history.settled()
  }

  async #close(): Promise<void> {
    let isClosed = false
    void Promise.all(this.#processes.map(({ cache }) => cache.close())).finally(() => (isClosed = true))
    await this.time.run(SETTLES_WITHIN_MS, () => isClosed)
    if (!isClosed) throw new Error(`close() had not ended after ${SETTLES_WITHIN_MS} ms`)
    for (const process of this.#processes) process.hasEnded = true
  }
}
