import type { Clock } from '@thermocline/core'
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
  readonly #endings = new Set<() => void>()

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
    this.#running = Promise.all([...things].map((thing) => this.#blow(this.#faults.filter(({ on }) => on === thing))))
    this.#running.catch(() => undefined) // told by `stop`
  }

  /** Ends every fault there is, and brings no more. */
  async stop(): Promise<void> {
    this.#isOver = true
    for (const end of this.#endings) end()
    await this.#running
  }

  async #blow(faults: readonly HistoryFault[]): Promise<void> {
    while (!this.#isOver) {
      if (this.#chance() < WAITS) for (let waited = 0; !this.#isInUse() && !this.#isOver && waited < RECOVERS_WITHIN_MS; waited += LOOK_EVERY_MS) await this.#pass(LOOK_EVERY_MS)
      await this.#pass(this.#between(CALM_MS))
      if (this.#isOver) return
      const fault = faults[Math.floor(this.#chance() * faults.length)] as HistoryFault
      const lastsMs = this.#between(fault.lastsMs ?? LASTS_MS)
      const span = this.#history.fault(fault.name)
      this.#schedule.push(`+${span.calledMs.toFixed(0)} ms, for ${lastsMs.toFixed(0)} ms: ${fault.name}`)
      await fault.begin()
      await this.#pass(lastsMs)
      await fault.end()
      this.#history.ended(span)
    }
  }

  #between([least, most]: readonly [number, number]): number {
    return least + this.#chance() * (most - least)
  }

  /** Waits so long, or until the end of the weather. */
  async #pass(ms: number): Promise<void> {
    const { clock } = this.#history
    await passed(clock, ms, this.#endings)
  }
}

async function passed(clock: Clock, ms: number, endings: Set<() => void>): Promise<void> {
  let end!: () => void // set by the promise below
  const over = new Promise<void>((resolve) => (end = resolve))
  const cancel = clock.schedule(ms, end)
  endings.add(end)
  await over
  cancel()
  endings.delete(end)
}
