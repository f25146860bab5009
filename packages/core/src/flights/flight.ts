import type { Clock } from '@thermocline/backend'
import { onAbort } from './abort.js'
import type { Fence } from './fence.js'
import { beginWaiting, Waiter } from './waiting.js'

/*
 * Single flight. All callers of one (tenant, key) since the last invalidation share one flight: one walk, one compute, one
 * outcome, which is a value or a stream that they share. The flight belongs to nobody: a caller that aborts leaves alone, and only
 * when the last one has left does the compute's signal fire. A flight that was invalidated, or left by everybody, is detached: its fence is
 * broken, it stores nothing, and the next caller starts anew.
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

/** One running walk or compute for one (tenant, key). */
export class Flight<T = unknown> extends Waiter {
  /** What it stores is checked against it. */
  readonly fence: Fence
  /** It has found nothing, or is not to look, and makes what is wanted. */
  isMaking = false
  /** When that began, by the clock's `monotonic`. */
  beganAt = 0
  /** It goes on also when no caller waits for it. */
  isBackground = false
  /** Callers wait for it, or did: its timers keep the process up. */
  isWaitedFor = false
  /** @internal told when either of the two has changed */
  waitersChanged: (() => void) | undefined = undefined
  /** @internal told when it was given up, or nobody waits for it any more */
  gaveUp: (() => void) | undefined = undefined
  readonly #owner: FlightOwner
  /** The outcome, shared by all callers. */
  #outcome: Promise<T> | undefined
  #controller: AbortController | undefined
  #ended: { readonly reason: unknown } | undefined
  #waiting = 0
  #isOver = false

  constructor(fence: Fence, owner: FlightOwner) {
    super(fence.key, owner.tenant)
    this.fence = fence
    this.#owner = owner
  }

  /** From now on it makes what is wanted. */
  making({ monotonic }: Pick<Clock, 'monotonic'>): void {
    this.isMaking = true
    this.beganAt = monotonic()
  }

  /** It goes on without callers, and keeps no process up. The outcome is for whoever sees to that. */
  inBackground(): Promise<T> {
    this.isBackground = true
    this.isWaitedFor = false
    this.waitersChanged?.()
    this.#waiting++
    return this.#outcome as Promise<T>
  }

  /** Begins the work; once, and before anybody joins. */
  start(outcome: Promise<T>): void {
    this.#outcome = outcome
  }

  /** Lets go of the outcome, which may be large: nobody joins any more. False where that was done before. */
  end(): boolean {
    const isFirst = !this.#isOver
    this.#isOver = true
    this.#outcome = undefined
    return isFirst
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
  join(signal: AbortSignal | undefined): Promise<T> {
    this.#waiting++
    if (!this.isWaitedFor) {
      this.isWaitedFor = true
      this.waitersChanged?.()
    }
    return signal === undefined ? (this.#outcome as Promise<T>) : this.#joinUntil(signal)
  }

  /**
   * The same for a caller that may be a part of a flight's compute, which waits for this one until `left` is called.
   *
   * @throws CacheError `circular` when this one waits for the caller's already
   */
  joinFrom(caller: Waiter | undefined, signal: AbortSignal | undefined, operation: string): { readonly outcome: Promise<T>; readonly left: () => void } {
    let left: () => void
    try {
      left = beginWaiting(caller, this, operation)
    } catch (error) {
      // it does not join after all: if nobody else has, nobody is told how the flight fails
      this.#outcome?.catch(() => undefined)
      throw error
    }
    return { outcome: this.join(signal), left }
  }

  /** Ends the compute's reason to go on. */
  abort(reason: unknown): void {
    this.#ended ??= { reason }
    this.#controller?.abort(reason)
    this.gaveUp?.()
  }

  /** Ends it though callers wait: what it still makes is dropped, and the next caller starts anew. */
  giveUp(reason: unknown): void {
    this.#owner.deserted(this)
    this.abort(reason)
  }

  /** Whether it was given up, or nobody waits for it any more. */
  get isAborted(): boolean {
    return this.#ended !== undefined
  }

  /** Called when the last caller has left before the end. */
  protected deserted(_outcome: Promise<T>): void {
    // what it comes to is nobody's
  }

  #joinUntil(signal: AbortSignal): Promise<T> {
    const outcome = this.#outcome as Promise<T>
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        reject(signal.reason as Error)
        this.#leave(outcome, signal.reason)
      }
      if (signal.aborted) {
        // by the work itself, before its first wait: the signal does not fire again
        outcome.catch(() => undefined)
        return leave()
      }
      const stop = onAbort(signal, leave)
      outcome.then(
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

  #leave(outcome: Promise<T>, reason: unknown): void {
    if (--this.#waiting > 0) return
    this.#owner.deserted(this)
    this.abort(reason)
    this.deserted(outcome)
  }
}
