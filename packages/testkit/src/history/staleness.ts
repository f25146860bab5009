import type { KeyHistory } from './by-key.js'
import type { Invalidation, Origin, Read } from './records.js'
import type { Violation } from './violation.js'

/*
 * "Invalidation wins", of one manager: after a set, delete or clear has resolved, no read that is called later returns what began before that
 * set, delete or clear was called.
 *
 * Sound where two calls overlap: a value is only objected to if it began before the invalidation's place in the order of calls, and
 * whichever of two calls came first is known, as the manager takes their places in the order in which they are called. What takes its place
 * later counts as late as possible as a value, and as early as possible as an invalidation: a stream, when its source has ended; a compute, whose caller may
 * have waited for another one first, in vain. A call that rejected or has no answer invalidates nothing, and its value may be there or not: until a later
 * invalidation has resolved, then no more. A miss is always allowed.
 */

/** When a value began at the latest. */
export function beganBy(origin: Origin): number {
  return origin.kind === 'write' && origin.verb === 'setStream' ? origin.returnedAt : origin.calledAt
}

/** The reads of a key, in the order of the calls, each with the invalidation that wins over what began before its place. */
export function* floors({ invalidations, reads }: KeyHistory): Generator<readonly [Read, Invalidation | undefined]> {
  const resolved = invalidations.filter(({ outcome }) => outcome === 'resolved').sort((a, b) => a.returnedAt - b.returnedAt)
  let next = 0
  let floor: Invalidation | undefined
  for (const read of reads) {
    for (; next < resolved.length && (resolved[next] as Invalidation).returnedAt < read.calledAt; next++) {
      const one = resolved[next] as Invalidation
      if (floor === undefined || placeOf(one) > placeOf(floor)) floor = one
    }
    yield [read, floor]
  }
}

function placeOf(invalidation: Invalidation): number {
  return invalidation.kind === 'write' ? invalidation.placedAt : invalidation.calledAt
}

/** Whether the read may not return a value of that origin, because of that invalidation. */
function isOver(origin: Origin, floor: Invalidation | undefined): boolean {
  return floor !== undefined && origin !== floor && beganBy(origin) < placeOf(floor)
}

export function staleReads(one: KeyHistory, byVersion: ReadonlyMap<string, Origin>): Violation[] {
  const violations: Violation[] = []
  const origins = [...one.origins].sort((a, b) => beganBy(a) - beganBy(b))
  for (const [read, floor] of floors(one)) {
    const { answer } = read
    if (answer?.is === 'version') {
      const origin = byVersion.get(answer.version)
      if (origin !== undefined && isOver(origin, floor)) {
        violations.push({ rule: 'stale', message: `${read.verb} returned ${answer.version}, which began before a ${floor?.verb} that had resolved before the read was called`, tenant: one.tenant, key: one.key, records: [origin, floor as Invalidation, read] })
      }
    }
    if (answer?.is === 'present' && !origins.some((origin) => mayBeThere(origin, read, floor))) {
      const before = origins.findLast(({ calledAt }) => calledAt < read.returnedAt)
      violations.push({ rule: 'stale', message: `${read.verb} said that something is there, and nothing can be`, tenant: one.tenant, key: one.key, records: [before, floor, read].filter((record) => record !== undefined) })
    }
  }
  return violations
}

/** Whether a read that tells no version may have spoken of that one. Of a listing the end of a life is not known: stores may list what is over. */
function mayBeThere(origin: Origin, read: Read, floor: Invalidation | undefined): boolean {
  if (origin.calledAt > read.returnedAt || isOver(origin, floor) || (origin.kind === 'write' && origin.isBroken)) return false
  return read.verb === 'list' || read.recentMs < origin.bornBy + BORN_LATER_MS + origin.ttlMs
}

/** Between the end of a compute and the beginning of its value's life: microtasks, and whatever interrupts them. */
export const BORN_LATER_MS = 1000
