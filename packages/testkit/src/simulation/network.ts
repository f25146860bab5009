import { CacheError } from '@thermocline/backend'
import type { Link } from '../shared-store.js'
import type { SimulatedTime, TimedProcess } from './time.js'

/** What becomes of what is sent. `silent`: nothing arrives. `refused`: that is told at once. `slow`: it takes much longer than a caller waits. */
export type Weather = 'fair' | 'silent' | 'refused' | 'slow'

/** From here to there takes so long, in milliseconds: at least, and at most. */
const FAIR_MS = [0.2, 3] as const
const SLOW_MS = [100, 700] as const
/** A connection on which nothing is answered is given up after so long. */
const LOST_AFTER_MS = 1000

/** The connection of one process to the shared store: what is sent first arrives first. */
export class Connection implements Link {
  weather: Weather = 'fair'
  readonly #time: SimulatedTime
  readonly #process: TimedProcess
  readonly #chance: () => number
  #arrivesAt = 0
  #answersAt = 0
  /** Those who wait for an answer. */
  readonly #waiting = new Set<(error: CacheError) => void>()

  constructor(time: SimulatedTime, process: TimedProcess, chance: () => number) {
    this.#time = time
    this.#process = process
    this.#chance = chance
  }

  async request(operation: string): Promise<void> {
    if (this.#process.hasEnded || this.#process.stoppedUntil > this.#time.now) await new Promise<void>((resolve) => void this.#time.schedule(0, resolve, this.#process))
    if (this.weather === 'refused') return Promise.reject(unreachable(operation))
    this.#arrivesAt = Math.max(this.#arrivesAt, this.#time.now + this.#travelMs())
    return this.#travel(operation, this.#arrivesAt, undefined) // on its way it is nobody's any more
  }

  answer(operation: string): Promise<void> {
    this.#answersAt = Math.max(this.#answersAt, this.#time.now + this.#travelMs())
    return this.#travel(operation, this.#answersAt, this.#process)
  }

  /** It is cut and made anew: what was sent and has not been answered is lost, or its answer is. */
  reset(): void {
    for (const lose of [...this.#waiting]) lose(unreachable('any'))
    this.#arrivesAt = this.#answersAt = this.#time.now
  }

  #travel(operation: string, at: number, process: TimedProcess | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const isLost = this.weather === 'silent' || this.weather === 'refused'
      let cancel = (): void => undefined
      const lose = (error: CacheError): void => {
        cancel()
        this.#waiting.delete(lose)
        reject(error)
      }
      const arrive = (): void => {
        this.#waiting.delete(lose)
        resolve()
      }
      this.#waiting.add(lose)
      cancel = isLost ? this.#time.schedule(LOST_AFTER_MS, () => lose(unreachable(operation)), this.#process) : this.#time.schedule(at - this.#time.now, arrive, process)
    })
  }

  #travelMs(): number {
    const [least, most] = this.weather === 'slow' ? SLOW_MS : FAIR_MS
    return least + this.#chance() * (most - least)
  }
}

function unreachable(operation: string): CacheError {
  return new CacheError('unavailable', 'the shared store cannot be reached', { operation, backend: 'shared' })
}
