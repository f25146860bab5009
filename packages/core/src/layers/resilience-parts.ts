import type { Clock } from '../clock/clock.js'
import type { CacheError } from '../errors/cache-error.js'

/** What {@link resilience} is made of; each part may be left out. */
export interface ResilienceParts {
  readonly guard?: Guard | undefined
  readonly timeout?: { readonly clock: Clock; readonly budgetMs: number } | undefined
  readonly retry?: { readonly clock: Clock; readonly attempts: number; readonly baseDelayMs: number; readonly random?: (() => number) | undefined } | undefined
}

/** Which of a tier's two circuits an operation belongs to. */
export type Circuit = 'read' | 'write'

/** Says what may be asked now, and is told how it went. */
export interface Guard {
  isOpen(circuit: Circuit): boolean
  /** Whether deletes are let through though writes are not. */
  readonly deletesPass: boolean
  refusal(circuit: Circuit): CacheError
  succeeded(circuit: Circuit): void
  failed(circuit: Circuit, error: unknown, bytes: number): void
}
