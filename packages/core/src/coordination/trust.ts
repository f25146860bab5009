import { oncePerTurn, systemClock, type Clock, type Coordination, type PutOptions } from '@thermocline/backend'
import type { Beliefs, Mark } from '../tiers/own-tier.js'
import { randomId } from './messages.js'

/** Marks that are so much older than now are made anew, as a part of how long what is not heard of is believed. */
const MARKS_A_WINDOW = 8

/** Who asks before anything was heard waits so long at most: less than a disk has time for. */
const BEGINNING_MS = 250

/** Of what no other process can change. */
const ALWAYS: Mark = { generation: {}, takenAt: Number.POSITIVE_INFINITY }
const ALWAYS_STAMP = 'always'

/** A place in a log. */
export interface Place {
  /** Which log it is. */
  readonly log: string
  readonly position: string
}

/**
 * What a process may believe of what it keeps itself. While it hears others, everything that was taken in since it began to hear without a gap. While it
 * does not, what it has taken in, or heard of others after, for at most so long.
 *
 * What lies on a disk may be from another process of the machine, or from one that has ended. Its stamp says what that one had heard when it took the
 * entry in; all that was said later this process must have heard itself.
 */
export class Trust implements Beliefs {
  /** The process, or rather the manager in it. */
  readonly by = randomId()
  /** For how long what is not heard of is believed, in milliseconds. */
  readonly maxStalenessMs: number
  readonly #clock: Clock
  readonly #madeAt: number
  readonly #now: () => number
  readonly #isBefore: Coordination['isBefore']
  #generation: object = {}
  #generations = 0
  #mark: Mark
  #passedOnMark: Mark | undefined
  /** Until when everything of this generation is believed, by the clock's `monotonic`. */
  #until = Number.NEGATIVE_INFINITY // nothing was heard yet
  /** From where on everything was heard. */
  #since: Place | undefined
  /** Up to where. */
  #upTo: Place | undefined
  /** Nobody can be heard, and nobody tells. */
  #isOff = false
  #hasBegun = false
  #beginning: Promise<void> | undefined
  #endBeginning = (): void => undefined

  constructor(clock: Clock, maxStalenessMs: number, isBefore: Coordination['isBefore']) {
    this.maxStalenessMs = maxStalenessMs
    this.#clock = clock
    this.#madeAt = clock.monotonic()
    this.#isBefore = isBefore
    this.#now = clock === systemClock ? oncePerTurn(() => clock.monotonic()) : () => clock.monotonic()
    this.#mark = { generation: this.#generation, takenAt: this.#now() }
  }

  mark(belief?: PutOptions['belief']): Mark {
    if (belief === 'always') return ALWAYS
    if (belief === 'passed-on') return this.#passedOn()
    const now = this.#now()
    if (now - this.#mark.takenAt > this.maxStalenessMs / MARKS_A_WINDOW) this.#mark = { generation: this.#generation, takenAt: now }
    return this.#mark
  }

  believes(mark: Mark): boolean {
    if (mark.generation !== this.#generation && !this.#isOff) return mark === ALWAYS
    const now = this.#now()
    return now < this.#until || now < mark.takenAt + this.maxStalenessMs
  }

  stamp(belief?: PutOptions['belief']): string {
    if (belief === 'always') return ALWAYS_STAMP
    const { log = '', position = '' } = this.#upTo ?? {}
    const takenAt = belief === 'passed-on' ? this.#passedOn().takenAt : this.#now()
    return [this.by, this.#generations, Math.floor(takenAt), log, position].join(' ')
  }

  believesStamp(stamp: string): boolean {
    if (this.#isOff) return true
    const [by, generation, takenAt, log, position = ''] = stamp.split(' ')
    if (by === ALWAYS_STAMP) return true
    if (by === this.by) return Number(generation) === this.#generations && (this.isHearing || this.#now() < Number(takenAt) + this.maxStalenessMs)
    return this.isHearing && this.#since !== undefined && log === this.#since.log && position !== '' && !this.#isBefore(position, this.#since.position)
  }

  isOfOthers(stamp: string): boolean {
    return stamp !== ALWAYS_STAMP && !stamp.startsWith(`${this.by} `)
  }

  /** What was here already is as old as what was heard last. */
  #passedOn(): Mark {
    const takenAt = this.#until - this.maxStalenessMs
    if (this.#passedOnMark?.takenAt !== takenAt || this.#passedOnMark.generation !== this.#generation) this.#passedOnMark = { generation: this.#generation, takenAt }
    return this.#passedOnMark
  }

  /** For how long there has been something to believe, in milliseconds. */
  get ageMs(): number {
    return this.#clock.monotonic() - this.#madeAt
  }

  /** Whether others are heard. */
  get isHearing(): boolean {
    return this.#now() < this.#until
  }

  /** How long others count as heard from now on, in milliseconds. */
  get leftMs(): number {
    return Math.max(0, this.#until - this.#now())
  }

  /** What stands there was heard, and all before it since {@link missed}. */
  heard(place: Place): void {
    this.#since ??= place
    this.#upTo = place
  }

  /** Resolves when others are heard for the first time, or it shows that they cannot be, or after a moment; `undefined`: that was before. */
  get beginning(): Promise<void> | undefined {
    if (this.#hasBegun) return undefined
    return (this.#beginning ??= new Promise((resolve) => {
      this.#endBeginning = resolve
      this.#clock.schedule(BEGINNING_MS, () => this.begun(), { background: true })
    }))
  }

  /** Whoever waits to hear others for the first time need not wait any more. */
  begun(): void {
    this.#hasBegun = true
    this.#endBeginning()
  }

  /** Everything that others had said was heard and carried out, when it was asked for at that instant. */
  heardAt(instant: number): void {
    this.begun()
    this.#until = Math.max(this.#until, instant + this.maxStalenessMs)
  }

  /** As without coordination: what lies on a disk is believed, and what is in memory for as long as that may differ from what is shared. */
  giveUp(): void {
    this.#isOff = true
    this.#until = Number.NEGATIVE_INFINITY
    this.begun()
  }

  /** Something may have been missed: nothing from before is believed. */
  missed(): void {
    this.#generation = {}
    this.#generations++
    this.#mark = { generation: this.#generation, takenAt: this.#now() }
    this.#until = Number.NEGATIVE_INFINITY
    this.#since = this.#upTo = undefined
  }
}
