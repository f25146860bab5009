import { onAbort } from './abort.js'
import { Waiter } from './waiting.js'

/*
 * Single flight. All callers of one (tenant, key) since the last invalidation share one flight: one walk, one compute, one
 * outcome. The flight belongs to nobody: a caller that aborts leaves alone, and only when the last one has left does the
 * compute's signal fire. A flight that was invalidated, or left by everybody, is detached: its fence is broken, it stores
 * nothing, and the next caller starts anew.
 *
 * Rejected: tying the flight to its first caller's signal (one impatient caller would fail everybody), and racing each
 * joiner against a promise of its own (a closure and a promise per caller; without a signal, joiners share one promise).
 */

/** Who keeps the flights. */
export interface FlightOwner {
  readonly tenant: string
  /** The last caller has left before the end. */
  deserted(flight: Flight): void
}

/** One running compute for one (tenant, key). */
export class Flight extends Waiter {
  readonly #owner: FlightOwner
  /** The outcome, shared by all callers. */
  #outcome: Promise<unknown> | undefined
  #controller: AbortController | undefined
  #ended: { readonly reason: unknown } | undefined
  #waiting = 0

  constructor(key: string, owner: FlightOwner) {
    super(key, owner.tenant)
    this.#owner = owner
  }

  /** Begins the work; once, and before anybody joins. */
  start(outcome: Promise<unknown>): void {
    this.#outcome = outcome
  }

  /** Lets go of the outcome, which may be large: nobody joins any more. */
  end(): void {
    this.#outcome = undefined
  }

  /** Whether callers can join. */
  get isStarted(): boolean {
    return this.#outcome !== undefined
  }

  /** Fires when the last caller has left. Made when it is first asked for: most flights find their value and ask nobody. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController()
      if (this.#ended !== undefined) this.#controller.abort(this.#ended.reason)
    }
    return this.#controller.signal
  }

  throwIfAborted(): void {
    if (this.#ended !== undefined) this.signal.throwIfAborted()
  }

  /** The outcome for one more caller; with a signal, a rejection with the signal's own reason when it fires first. */
  join(signal: AbortSignal | undefined): Promise<unknown> {
    this.#waiting++
    return signal === undefined ? (this.#outcome as Promise<unknown>) : this.#joinUntil(signal)
  }

  /** A caller does not join after all: if nobody else has, nobody is told how it fails. */
  notJoined(): void {
    this.#outcome?.catch(() => undefined)
  }

  /** Ends the compute's reason to go on. */
  abort(reason: unknown): void {
    this.#ended ??= { reason }
    this.#controller?.abort(reason)
  }

  #joinUntil(signal: AbortSignal): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const stop = onAbort(signal, () => {
        reject(signal.reason as Error)
        this.#leave(signal.reason)
      })
      ;(this.#outcome as Promise<unknown>).then(
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
    this.#owner.deserted(this)
    this.abort(reason)
  }
}
