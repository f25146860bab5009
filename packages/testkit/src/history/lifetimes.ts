import type { KeyHistory } from './by-key.js'
import type { Origin, Read } from './records.js'
import { BORN_LATER_MS } from './staleness.js'
import type { Violation } from './violation.js'

/** Verbs that may share what another call has found or is making, whose life may have ended since. */
const SHARING: ReadonlySet<string> = new Set(['getOrCompute', 'getOrComputeStream', 'getStream'])

/**
 * "Promotion never lengthens a life": what was over when the read was called is not returned, and no `lookup` tells a later end than the
 * value was given. Its life began at `bornBy` at the latest. A caller who shares another one's compute or download gets that.
 */
export function overstayed({ tenant, key, reads }: KeyHistory, byVersion: ReadonlyMap<string, Origin>): Violation[] {
  const violations: Violation[] = []
  const running: Read[] = []
  for (const read of reads) {
    const sharesNothing = !SHARING.has(read.verb) || !running.some(({ returnedAt, manager }) => returnedAt > read.calledAt && manager === read.manager)
    if (SHARING.has(read.verb)) {
      for (let at = running.length - 1; at >= 0; at--) if ((running[at] as Read).returnedAt < read.calledAt) running.splice(at, 1)
      running.push(read)
    }
    const { answer } = read
    const origin = answer?.is === 'version' ? byVersion.get(answer.version) : undefined
    if (origin === undefined || answer?.is !== 'version') continue
    const diesBy = origin.ttlMs === 0 ? Number.NEGATIVE_INFINITY : origin.bornBy + origin.ttlMs + (origin.kind === 'computed' ? BORN_LATER_MS : 0)
    const isShared = origin.kind === 'computed' && origin.starter.returnedAt > read.calledAt
    if (sharesNothing && !isShared && read.recentMs >= diesBy) {
      violations.push({ rule: 'expired', message: `${read.verb} returned ${answer.version}, whose life was over before the read was called`, tenant, key, records: [origin, read] })
    }
    if (origin.ttlMs > 0 && answer.expiresAt !== undefined && answer.expiresAt > diesBy) {
      violations.push({ rule: 'prolonged', message: `${read.verb} says that ${answer.version} ends ${Math.round(answer.expiresAt - diesBy)} ms later than it may`, tenant, key, records: [origin, read] })
    }
  }
  return violations
}
