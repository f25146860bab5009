import type { CacheError, Clock } from '@thermocline/backend'
import type { Gate } from './gate.js'

/** What {@link resilience} is made of; each part may be left out. */
export interface ResilienceParts {
  readonly guard?: Guard | undefined
  /** Needs `timeout`. */
  readonly gates?: Gates | undefined
  readonly timeout?: { readonly clock: Clock; readonly budgetMs: number } | undefined
  readonly retry?: { readonly clock: Clock; readonly attempts: number; readonly baseDelayMs: number; readonly random?: (() => number) | undefined } | undefined
}

/** How many operations a store is given at once. */
export interface Gates {
  readonly read: Gate
  readonly write: Gate
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
