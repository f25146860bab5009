import type { Clock, Layer } from '@thermocline/backend'
import { resilience } from './resilience.js'

export interface RetryOptions {
  readonly clock: Clock
  /** Attempts in all, the first included. */
  readonly attempts: number
  /** The longest wait before the second attempt, in milliseconds; it doubles with each further one. */
  readonly baseDelayMs: number
  /** For tests; `Math.random` otherwise. */
  readonly random?: (() => number) | undefined
}

/**
 * Tries again what the adapter called `retryable`, after a random wait of up to `baseDelayMs * 2^n` ("full jitter", M.
 * Brooker, AWS Architecture Blog, 2015). It belongs inside `timeout`, which bounds all attempts together: outside of
 * it, a hanging store would be given its budget several times.
 */
export function retry(options: RetryOptions): Layer {
  return resilience({ retry: options })
}
