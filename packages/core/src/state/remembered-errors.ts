import type { EpochMs, Invalidation } from '@thermocline/backend'

/** The most keys of a tenant whose errors are remembered; beyond, the oldest is forgotten. */
const MOST = 1000

/** An error of a compute. */
interface Remembered {
  readonly error: unknown
  readonly until: EpochMs
}

/** Errors of computes that are thrown again for a while, of one tenant. Only in the process. */
export class RememberedErrors {
  readonly #errors = new Map<string, Remembered>()

  /** The error that is to be thrown again. */
  of(key: string, now: EpochMs): Remembered | undefined {
    if (this.#errors.size === 0) return undefined
    const remembered = this.#errors.get(key)
    if (remembered === undefined || now < remembered.until) return remembered
    this.#errors.delete(key)
    return undefined
  }

  remember(key: string, error: unknown, until: EpochMs): void {
    this.#errors.delete(key)
    this.#errors.set(key, { error, until })
    if (this.#errors.size <= MOST) return
    const [oldest] = this.#errors.keys()
    if (oldest !== undefined) this.#errors.delete(oldest)
  }

  /** What is invalidated is computed anew. */
  forget(invalidation: Invalidation): void {
    if (this.#errors.size === 0) return
    if (invalidation.key !== undefined) this.forgetKey(invalidation.key)
    else for (const key of this.#errors.keys()) if (invalidation.covers(key)) this.#errors.delete(key)
  }

  forgetKey(key: string): void {
    this.#errors.delete(key)
  }
}
