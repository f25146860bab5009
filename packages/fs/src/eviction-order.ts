import type { EpochMs } from '@thermocline/backend'

/*
 * In which order files leave when there is no room. This is decided here and nowhere else: another order is another `leavesLater`.
 *
 * It is found without an index in memory: a scan lists the entries that were not used for the longest time, a quarter of
 * them where there are many, and evictions take from that list, each checked against the file's present times. An entry used since then is
 * skipped, and entries written since then are younger than everything on the list, so the order is exactly "least recently
 * used first". The next scan comes when the list is used up: at most four stats for one eviction.
 *
 * Rejected: an index of all entries in memory (150 MB for a million files, and blind to other processes).
 */

const LISTED_PART = 0.25
/** Below so many entries all are listed: one stat for one eviction, and less than a megabyte. */
const LEAST_LISTED = 4096
const MOST_LISTED = 50_000

/** A file that may have to leave. */
export interface Candidate {
  readonly path: string
  readonly bytes: number
  readonly usedAt: EpochMs
  /** `Infinity` also where only the file's header knows. */
  readonly keepUntil: EpochMs
}

interface Listed extends Candidate {
  /** Whether its turn has come. */
  wasTried: boolean
}

/** Those of a scan that leave first. */
export class EvictionOrder {
  /** The next to leave last. */
  #order: Listed[] = []
  /** The same ones, those whose life ends first last. */
  #ending: Listed[] = []

  /** Begins anew with what a scan has found, and sorts that. */
  list(found: Candidate[], now: EpochMs): void {
    const listed = Math.min(MOST_LISTED, Math.max(LEAST_LISTED, Math.ceil(found.length * LISTED_PART)))
    found.sort((a, b) => leavesLater(b, now) - leavesLater(a, now))
    this.#order = found.slice(-listed).map((file) => ({ ...file, wasTried: false }))
    this.#ending = this.#order.filter(({ keepUntil }) => keepUntil !== Number.POSITIVE_INFINITY).sort((a, b) => b.keepUntil - a.keepUntil)
  }

  get isUsedUp(): boolean {
    while (this.#order.at(-1)?.wasTried === true) this.#order.pop()
    return this.#order.length === 0
  }

  /** The next to leave: one whose life is over, else the first in the order. Not to be called when the list is used up. */
  next(now: EpochMs): Candidate {
    while (this.#ending.at(-1)?.wasTried === true) this.#ending.pop()
    const isOver = (this.#ending.at(-1)?.keepUntil ?? Number.POSITIVE_INFINITY) <= now
    const next = (isOver ? this.#ending : this.#order).pop() as Listed
    next.wasTried = true
    return next
  }
}

/** The smaller, the sooner. */
function leavesLater({ keepUntil, usedAt }: Candidate, now: EpochMs): number {
  return keepUntil <= now ? 0 : usedAt
}
