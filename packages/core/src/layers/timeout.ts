import type { Clock, Layer } from '@thermocline/backend'
import { resilience } from './resilience.js'

export interface TimeoutOptions {
  readonly clock: Clock
  /** How long, in milliseconds, an operation may go without progress. */
  readonly budgetMs: number
}

/**
 * Leaves an operation that makes no progress for its budget: the caller gets a `timeout` error, the backend's signal is
 * aborted, and `error.settled` tells when the operation has really ended. Answers without a promise pass untouched.
 */
export function timeout(options: TimeoutOptions): Layer {
  return resilience({ timeout: options })
}
