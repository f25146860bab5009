import type { EpochMs } from '@thermocline/backend'
import type { Refresh } from '../state/refreshes.js'
import type { KeepsMark, Mark } from '../tiers/own-tier.js'

/**
 * What a manager notes on an entry of its first tier at the first hit: that the key's policy reads that tier first, where to
 * count, and the promise to hand out. Finding the policy again would cost half as much as the rest of the hit.
 */
export class HitNote implements KeepsMark {
  /** Whose note it is. */
  readonly engine: object
  readonly cell: number
  /** Of an early refresh; 0: none. */
  readonly beta: number
  /** Of the entry, where processes agree. */
  readonly mark: Mark | undefined
  promise: Promise<unknown> | undefined = undefined
  /** Until when it is served at once, though it is not fresh any more; known when that is first asked. */
  servedUntil: EpochMs | undefined = undefined
  /** The refresh that runs for it, waits, or rests after a failure. */
  refresh: Refresh | undefined = undefined

  constructor(engine: object, cell: number, beta: number, mark: Mark | undefined) {
    this.engine = engine
    this.cell = cell
    this.beta = beta
    this.mark = mark
  }
}
