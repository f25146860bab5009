import type { KeyHistory } from './by-key.js'
import type { Computed } from './records.js'
import type { Violation } from './violation.js'

/**
 * "One compute", of each manager by itself: two computes of a key run at once only if something was invalidating the key after the first of
 * their flights had begun (whatever became of that), or a caller left, which may have been a flight's last.
 */
export function doubleComputes({ tenant, key, computes, invalidations, reads }: KeyHistory): Violation[] {
  const violations: Violation[] = []
  const left = reads.filter(({ hasLeft }) => hasLeft)
  const running = new Map<number, Computed[]>()
  for (const next of computes) {
    const others = (running.get(next.manager) ?? []).filter(({ returnedAt }) => returnedAt > next.calledAt)
    for (const other of others) {
      const since = Math.min(other.starter.calledAt, next.starter.calledAt)
      const isSplit = invalidations.some(({ manager, calledAt, returnedAt }) => manager === next.manager && calledAt < next.calledAt && returnedAt > since)
      const isLeft = left.some(({ manager, calledAt, returnedAt }) => manager === next.manager && calledAt < next.calledAt && returnedAt > since)
      if (!isSplit && !isLeft) violations.push({ rule: 'twice', message: 'two computes of the key ran at once, and nothing had invalidated the first', tenant, key, records: [other, next] })
    }
    running.set(next.manager, [...others, next])
  }
  return violations
}
