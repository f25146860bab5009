import { onAbort } from './abort.js'

/*
 * Single flight. All callers of one (tenant, key) since the last invalidation share one flight: one walk, one compute, one
 * outcome. The flight belongs to nobody: a caller that aborts leaves alone, and only when the last one has left does the
 * compute's signal fire. A flight that was invalidated, or left by everybody, is detached: its fence is broken, it stores
 * nothing, and the next caller starts anew.
 *
 * Rejected: tying the flight to its first caller's signal (one impatient caller would fail everybody), and racing each
 * joiner against a promise of its own (a closure and a promise per caller; without a signal, joiners share one promise).
 */

/** One running compute for one (tenant, key). */
export class Flight {
  /** The outcome, shared by all callers. */
  readonly outcome: Promise<unknown>
  readonly #controller: AbortController
  readonly #onDeserted: () => void
  #waiting = 0

  /**
   * @param run does the work; its signal fires when the last caller has left
   * @param onDeserted called when the last caller has left before the end
   */
  constructor(run: (signal: AbortSignal) => Promise<unknown>, onDeserted: () => void) {
    this.#controller = new AbortController()
    this.#onDeserted = onDeserted
    this.outcome = run(this.#controller.signal)
    this.outcome.catch(() => undefined) // every caller may have left by the time it fails
  }

  /** The outcome for one more caller; with a signal, a rejection with the signal's own reason when it fires first. */
  join(signal: AbortSignal | undefined): Promise<unknown> {
    this.#waiting++
    return signal === undefined ? this.outcome : this.#joinUntil(signal)
  }

  /** Ends the compute's reason to go on. */
  abort(reason: unknown): void {
    this.#controller.abort(reason)
  }

  #joinUntil(signal: AbortSignal): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const stop = onAbort(signal, () => {
        reject(signal.reason as Error)
        this.#leave(signal.reason)
      })
      this.outcome.then(
        (value) => {
          stop()
          resolve(value)
        },
        (error: unknown) => {
          stop()
          reject(error)
        },
      )
    })
  }

  #leave(reason: unknown): void {
    if (--this.#waiting > 0) return
    this.#onDeserted()
    this.#controller.abort(reason)
  }
}
