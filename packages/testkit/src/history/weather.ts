import type { History } from './records.js'

/** What can be wrong with a server, a network or a disk. */
export interface HistoryFault {
  readonly name: string
  /** What it happens to: one thing at a time happens to each. */
  readonly on: string
  /** The shortest and the longest it lasts, in milliseconds. Default 50 to 800. */
  readonly lastsMs?: readonly [number, number] | undefined
  readonly begin: () => unknown
  /** Afterwards all is well, as far as it concerns this fault. */
  readonly end: () => unknown
}

const LASTS_MS = [50, 800] as const
/** Good weather between two faults of one thing. */
const CALM_MS = [30, 600] as const
/** How often, of two faults, the second waits until every tier is in use again: a fault of what is left out anyhow shows little. */
const WAITS = 0.8
const RECOVERS_WITHIN_MS = 6000
const LOOK_EVERY_MS = 20

/** Faults that come and go as the seed says, while clients call. */
export class Weather {
  readonly #faults: readonly HistoryFault[]
  readonly #history: History
  readonly #chance: () => number
  readonly #schedule: string[] = []
  /** Whether every tier is in use. */
  #isInUse: () => boolean = () => true
  #isOver = true
  #running: Promise<unknown> = Promise.resolve()
  #failure: { readonly error: unknown } | undefined
  /** Ends what is waited for, by what that happens to. */
  readonly #endings = new Map<() => void, string>()
  readonly #held = new Set<string>()
  /** What something is wrong with at the moment. */
  readonly #begun = new Set<string>()

  constructor(faults: readonly HistoryFault[], history: History, chance: () => number) {
    this.#faults = faults
    this.#history = history
    this.#chance = chance
  }

  /** What happened when, in a line each. */
  get schedule(): readonly string[] {
    return this.#schedule
  }

  /** @param isInUse whether every tier is in use at the moment */
  start(isInUse: () => boolean): void {
    this.#isInUse = isInUse
    this.#isOver = false
    const things = new Set(this.#faults.map(({ on }) => on))
    this.#running = Promise.all([...things].map((thing) => this.#blow(thing, this.#faults.filter(({ on }) => on === thing))))
    this.#running.catch((error: unknown) => (this.#failure = { error })) // told by `stop` and `hold`
  }

  /** Ends every fault there is, and brings no more. */
  async stop(): Promise<void> {
    this.#isOver = true
    for (const end of this.#endings.keys()) end()
    await this.#running
  }

  /** Ends what is wrong with a thing, and brings nothing more until `release`. */
  async hold(thing: string): Promise<void> {
    this.#held.add(thing)
    for (const [end, on] of this.#endings) if (on === thing) end()
    while (this.#begun.has(thing)) {
      if (this.#failure !== undefined) throw this.#failure.error // it will not end any more
      await this.#pass(LOOK_EVERY_MS, '')
    }
  }

  release(thing: string): void {
    this.#held.delete(thing)
  }

  async #blow(thing: string, faults: readonly HistoryFault[]): Promise<void> {
    while (!this.#isOver) {
      if (this.#chance() < WAITS) for (let waited = 0; !this.#isInUse() && !this.#isOver && waited < RECOVERS_WITHIN_MS; waited += LOOK_EVERY_MS) await this.#pass(LOOK_EVERY_MS, thing)
      await this.#pass(this.#between(CALM_MS), thing)
      while (this.#held.has(thing) && !this.#isOver) await this.#pass(LOOK_EVERY_MS, '')
      if (this.#isOver) return
      const fault = faults[Math.floor(this.#chance() * faults.length)] as HistoryFault
      const lastsMs = this.#between(fault.lastsMs ?? LASTS_MS)
      const span = this.#history.fault(fault.name)
      this.#schedule.push(`+${span.calledMs.toFixed(0)} ms, for ${lastsMs.toFixed(0)} ms: ${fault.name}`)
      this.#begun.add(thing)
      await fault.begin()
      if (!this.#held.has(thing)) await this.#pass(lastsMs, thing)
      await fault.end()
      this.#begun.delete(thing)
      this.#history.ended(span)
    }
  }

  #between([least, most]: readonly [number, number]): number {
    return least + this.#chance() * (most - least)
  }

  /** Waits so long, or until the weather or what is wrong with the thing is to end. */
  async #pass(ms: number, thing: string): Promise<void> {
    let end!: () => void // set by the promise below
    const over = new Promise<void>((resolve) => (end = resolve))
    const cancel = this.#history.clock.schedule(ms, end)
    this.#endings.set(end, thing)
    await over
    cancel()
    this.#endings.delete(end)
  }
}
