import type { KeyHistory } from './by-key.js'
import type { Computed, Invalidation } from './records.js'
import type { Violation } from './violation.js'

/** How long an invalidation may go on after its caller has left: each tier's budget once, and then some. */
const GOES_ON_MS = 15_000
/** How late a manager may hear what another one has invalidated: it was busy, or is told again what was missed. */
const HEARD_WITHIN_MS = 1000

/**
 * "One compute", of each manager by itself: two computes of a key run at once only if something was invalidating the key after the first of
 * their flights had begun (whatever became of that), here or in a manager that tells this one, or a caller left, which may have been a flight's last.
 *
 * @param isFair whether nothing was wrong from one instant to another, where that is known: else what was heard late is not
 */
export function doubleComputes({ tenant, key, computes, invalidations, reads }: KeyHistory, isFair: (fromMs: number, toMs: number) => boolean = () => true): Violation[] {
  const violations: Violation[] = []
  const left = reads.filter(({ hasLeft }) => hasLeft)
  const running = new Map<number, Computed[]>()
  for (const next of computes) {
    const others = (running.get(next.manager) ?? []).filter(({ returnedAt }) => returnedAt > next.calledAt)
    for (const other of others) {
      const since = Math.min(other.starter.calledAt, next.starter.calledAt)
      const isSplit = invalidations.some((one) => one.calledAt < next.calledAt && (one.returnedAt > since || (one.manager === next.manager ? goesOn(one, other) : isHeardLate(one, other))))
      const isLeft = left.some(({ manager, calledAt, returnedAt }) => manager === next.manager && calledAt < next.calledAt && returnedAt > since)
      if (!isSplit && !isLeft && isFair(other.starter.calledMs, next.calledMs)) violations.push({ rule: 'twice', message: 'two computes of the key ran at once, and nothing had invalidated the first', tenant, key, records: [other.starter, other, next.starter, next] })
    }
    running.set(next.manager, [...others, next])
  }
  return violations
}

function isHeardLate({ calledMs }: Invalidation, first: Computed): boolean {
  return first.starter.calledMs < calledMs + HEARD_WITHIN_MS
}

/** A caller whose signal has fired is told so at once; what it called goes on, and invalidates once more at its end. */
function goesOn({ isOwnDoing, calledMs }: Invalidation, first: Computed): boolean {
  return isOwnDoing && first.starter.calledMs < calledMs + GOES_ON_MS
}
