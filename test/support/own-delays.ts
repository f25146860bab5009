import { performance } from 'node:perf_hooks'
import { afterwards } from './afterwards.js'

const TICK_MS = 5

/**
 * How long this process itself was held up, by other processes on the same processors or by its own work: a call that takes long for that reason says
 * nothing of whom it called. Counts until the end of the test.
 */
export class OwnDelays {
  #lastAt = performance.now()
  #ms = 0

  constructor() {
    const timer = setInterval(() => this.#look(), TICK_MS)
    afterwards(() => clearInterval(timer))
  }

  /** So far, in milliseconds. */
  get ms(): number {
    this.#look()
    return this.#ms
  }

  #look(): void {
    const now = performance.now()
    this.#ms += Math.max(0, now - this.#lastAt - TICK_MS)
    this.#lastAt = now
  }

  /** How long something took, without what held this process up meanwhile. */
  async timed(work: () => Promise<unknown>): Promise<number> {
    const delaysBefore = this.ms
    const startedAt = performance.now()
    await work()
    return Math.max(0, performance.now() - startedAt - (this.ms - delaysBefore))
  }
}
