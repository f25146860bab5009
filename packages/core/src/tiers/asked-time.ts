import type { Deadlines } from '../layers/deadlines.js'
import type { Gate } from '../layers/gate.js'

/**
 * The time that a tier's store has had for what waits in the tier: as budgets count it (see deadlines.ts), and without the time in which
 * more operations waited for their turn than the store is given at once (see gate.ts).
 */
export class AskedTime {
  readonly #deadlines: Deadlines
  readonly #gate: Gate | undefined

  constructor(deadlines: Deadlines, gate: Gate | undefined) {
    this.#deadlines = deadlines
    this.#gate = gate
  }

  /** The present instant. */
  now(): number {
    return this.#deadlines.now()
  }

  /** Milliseconds since an instant. */
  since(instant: number): number {
    return this.#deadlines.now() - Math.max(instant, this.#gate?.congestedUntil ?? instant)
  }

  /** Calls back when so much time has passed. Returns how to cancel. */
  schedule(ms: number, callback: () => void): () => void {
    let cancel: () => void
    const wait = (leftMs: number): void => {
      cancel = this.#deadlines.schedule(leftMs, () => {
        const stillMs = ms - this.since(startedAt)
        if (stillMs > 0) wait(stillMs)
        else callback()
      })
    }
    const startedAt = this.#deadlines.after(0)
    wait(ms)
    return () => cancel()
  }
}
