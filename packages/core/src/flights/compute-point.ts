import type { CacheError, TenantScope, ValidKey } from '@thermocline/backend'
import type { Flight } from './flight.js'
import type { LinePlace } from './line-place.js'

/*
 * The one place where a compute begins, of a value and of a stream alike: a flight comes here when it has found nothing. What is to be put around every
 * compute is put here: a lock that other processes hold, a time limit. The callers of the flight notice nothing of it.
 */

/** The call that a flight was begun for, as far as it is the business of other processes too. */
export interface AgreedCall {
  readonly scope: TenantScope
  readonly key: ValidKey
  /** Its place in the key's line. */
  line: LinePlace | undefined
  /** It makes a new value, whatever others do. */
  readonly isForced: boolean
  /** Whether a tier is to have the value from which other processes read. */
  readonly isKeptForOthers: boolean
  /** For how long another process that makes the same is waited for; 0: not at all. */
  readonly lockWaitMs: number
}

/** What a flight has come to do. */
export interface ComputeStep<T> {
  readonly flight: Flight
  readonly call: AgreedCall
  /** The name of the policy that the call follows. */
  readonly policy: string
  /** After so many milliseconds the compute is given up; `undefined`: never. */
  readonly hardTimeoutMs: number | undefined
  /** It was given up after that time. */
  timedOut(error: CacheError): void
  /** Computes. What it resolves with has been stored by then; of a stream {@link stored} tells. */
  make(): Promise<T>
  /** Looks once more for what somebody else may have stored meanwhile, and is fresh. */
  look(): Promise<T | undefined>
  /** Resolves when all of what was made is stored, or is not to be. */
  stored(made: T): Promise<unknown>
}

/** Answers for a flight that has found nothing: by `step.make()`, at once or later, or by what `step.look()` has found. */
export type AroundCompute = <T>(step: ComputeStep<T>) => Promise<T>

export class ComputePoint {
  readonly #around: AroundCompute[] = []

  /** Puts something around every compute; what is put later is called first. */
  wrap(around: AroundCompute): void {
    this.#around.unshift(around)
  }

  run<T>(step: ComputeStep<T>, at = 0): Promise<T> {
    const around = this.#around[at]
    if (around === undefined) return step.make()
    return around({ ...step, make: () => this.run(step, at + 1) })
  }
}
