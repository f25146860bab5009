import { oncePerTurn, systemClock, type Clock } from '@thermocline/backend'
import type { Beliefs, Mark } from '../tiers/own-tier.js'

/** Marks that are so much older than now are made anew, as a part of how long what is not heard of is believed. */
const MARKS_A_WINDOW = 8

/**
 * What a process may believe of what it keeps itself. While it hears others, everything that was taken in since it began to hear without a gap. While it
 * does not, what it has taken in, or heard of others after, for at most so long.
 */
export class Trust implements Beliefs {
  /** For how long what is not heard of is believed, in milliseconds. */
  readonly maxStalenessMs: number
  readonly #now: () => number
  #generation: object = {}
  #mark: Mark
  /** Until when everything of this generation is believed, by the clock's `monotonic`. */
  #until: number

  constructor(clock: Clock, maxStalenessMs: number) {
    this.maxStalenessMs = maxStalenessMs
    this.#now = clock === systemClock ? oncePerTurn(() => clock.monotonic()) : () => clock.monotonic()
    this.#until = Number.NEGATIVE_INFINITY // nothing was heard yet
    this.#mark = { generation: this.#generation, takenAt: this.#now() }
  }

  mark(): Mark {
    const now = this.#now()
    if (now - this.#mark.takenAt > this.maxStalenessMs / MARKS_A_WINDOW) this.#mark = { generation: this.#generation, takenAt: now }
    return this.#mark
  }

  believes(mark: Mark): boolean {
    if (mark.generation !== this.#generation) return false
    const now = this.#now()
    return now < this.#until || now < mark.takenAt + this.maxStalenessMs
  }

  /** Whether others are heard. */
  get isHearing(): boolean {
    return this.#now() < this.#until
  }

  /** How long others count as heard from now on, in milliseconds. */
  get leftMs(): number {
    return Math.max(0, this.#until - this.#now())
  }

  /** Everything that others had said was heard and carried out, when it was asked for at that instant. */
  heardAt(instant: number): void {
    this.#until = Math.max(this.#until, instant + this.maxStalenessMs)
  }

  /** Something may have been missed: nothing from before is believed. */
  missed(): void {
    this.#generation = {}
    this.#mark = { generation: this.#generation, takenAt: this.#now() }
    this.#until = Number.NEGATIVE_INFINITY
  }
}
