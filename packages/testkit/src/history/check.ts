import { wrongAnswers, wrongEnds } from './answers.js'
import { indexed } from './by-key.js'
import { doubleComputes } from './computes.js'
import { overstayed } from './lifetimes.js'
import type { History } from './records.js'
import { staleReads } from './staleness.js'
import { computedTwice, splitReads, untrueReads, type Agreed } from './truth.js'
import { undeadReads } from './undead.js'
import type { Violation } from './violation.js'

export interface HistoryCheckOptions {
  /** Whether one manager alone used the stores, or several. */
  readonly managers: 'one' | 'several'
  /** For several that agree over one of the stores: what was the matter while they did. */
  readonly agreed?: Agreed | undefined
  /** For several: the longest that a tier of a manager's own serves an entry, in milliseconds. Default one minute, as for a memory above a shared tier. */
  readonly maxTtlMs?: number | undefined
}

const DEFAULT_MAX_TTL_MS = 60_000

/**
 * Judges a history by the promises of the guarantees. What it objects to is wrong: where calls overlap and either could have come first,
 * both are right, and a miss always is. What it checks, with one manager and with several:
 *
 * - `foreign`: every value, and every listed key, is one of the tenant and the key that was asked for
 * - `corrupt`: every value is whole: stamp and padding are as they were made
 * - `invented`: somebody made it before the read ended, and its source did not fail
 * - `changed`: it comes back in the form in which it was given
 * - `expired`: its life was not over when the read was called, unless the caller shared another one's compute or download
 * - `prolonged`: `lookup` tells no later end of life than the value was given
 * - `twice`: one compute of a key at a time in each manager, since the last invalidation that it has heard of
 * - `rejected`: reads do not reject (a stream that has begun may), and what changes something only as `not-recorded`
 * - `unanswered`: every call has an answer
 *
 * With one manager, also:
 *
 * - `stale`: after a set, delete or clear has resolved, no read that is called later returns what began before that was called, nor do
 *   `has` and `list` tell of it. A set or compute that rejected or timed out may have happened until then, and not after
 *
 * With several, in its place, as their invalidations do not reach each other and their computes may store late:
 *
 * - `undead`: what was called before an invalidation that no other call overlapped, between two moments in which every manager had settled,
 *   is not returned after the second: not from a shared tier, not by the manager that invalidated, and by others after `maxTtlMs` no more
 *
 * With several that agree, in its place:
 *
 * - `untrue`: after an invalidation that was applied, what is older is not returned from a shared tier, nor by the manager that has called it, and by others from
 *   their own tiers no longer than they are let
 * - `split`: when nothing changes any more, all return the same
 * - `twice`: of all of them one computes a key at a time, where nothing was wrong
 */
export function checkHistory(history: History, options: HistoryCheckOptions): Violation[] {
  const { keys, byVersion, settled } = indexed(history)
  const violations = wrongEnds(history)
  for (const one of keys) {
    violations.push(...wrongAnswers(one, byVersion), ...overstayed(one, byVersion), ...doubleComputes(one, options.agreed?.isFair))
    if (options.agreed !== undefined) violations.push(...untrueReads(one, byVersion, settled, options.agreed), ...splitReads(one, settled, options.agreed), ...computedTwice(one, options.agreed))
    else if (options.managers === 'one') violations.push(...staleReads(one, byVersion))
    else violations.push(...undeadReads(one, byVersion, settled, options.maxTtlMs ?? DEFAULT_MAX_TTL_MS))
  }
  return violations.sort((a, b) => endOf(a) - endOf(b))
}

function endOf({ records }: Violation): number {
  return Math.max(...records.map((record) => ('returnedAt' in record && record.returnedAt !== Number.POSITIVE_INFINITY ? record.returnedAt : record.calledAt)))
}
