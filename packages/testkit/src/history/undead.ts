import type { KeyHistory } from './by-key.js'
import type { Invalidation, Origin, Settled } from './records.js'
import type { Violation } from './violation.js'

/*
 * What several managers that do not hear of each other still promise. A set, delete or clear of one of them is not applied in the memory of
 * another; what began before it elsewhere may still store what it makes; and while it is only recorded, others find what it is to remove. So
 * nothing can be said of what overlaps it.
 *
 * But take an invalidation that is alone: every manager had settled before it, nothing else concerned the key meanwhile, and its manager has
 * settled since, so that it is applied in every shared tier. What was called before it cannot come back into a shared tier, because nothing is left
 * that could bring it: a promotion writes only where nothing is, and takes what it writes from a slower tier. It is left in
 * tiers that other managers have for themselves above a shared one, and these serve it for their `maxTtl` at most.
 */

/** A moment after which a value from before another one is dead, but for the own tiers of other managers. */
interface Grave {
  readonly before: Settled
  readonly by: Invalidation
  readonly after: Settled
}

/** Between the reading of the clock for a copy's end and our note of the moment. */
const SLACK_MS = 50

export function undeadReads(one: KeyHistory, byVersion: ReadonlyMap<string, Origin>, settled: readonly Settled[], maxTtlMs: number): Violation[] {
  const violations: Violation[] = []
  const graves = gravesOf(one, settled)
  let next = 0
  let last: Grave | undefined
  let longAgo: Grave | undefined
  for (const read of one.reads) {
    for (; next < graves.length && (graves[next] as Grave).after.calledAt < read.calledAt; next++) last = graves[next]
    const { answer } = read
    const origin = answer?.is === 'version' ? byVersion.get(answer.version) : undefined
    if (origin === undefined || last === undefined) continue
    if (longAgo === undefined || read.calledMs > last.after.calledMs + maxTtlMs + SLACK_MS) {
      longAgo = graves.slice(0, next).findLast(({ after }) => read.calledMs > after.calledMs + maxTtlMs + SLACK_MS)
    }
    const grave = !read.asksOwnTiers || read.manager === last.by.manager ? last : longAgo
    if (grave === undefined || origin.calledAt > grave.before.calledAt) continue
    const message = `${read.verb} returned ${origin.version}, after a ${grave.by.verb} that no other call overlapped and that was applied everywhere`
    violations.push({ rule: 'undead', message, tenant: one.tenant, key: one.key, records: [origin, grave.before, grave.by, grave.after, read] })
  }
  return violations
}

function gravesOf(one: KeyHistory, settled: readonly Settled[]): Grave[] {
  const graves: Grave[] = []
  const all = [...one.origins, ...one.invalidations, ...one.reads]
  for (const [at, after] of settled.entries()) {
    const before = settled[at - 1]
    if (before === undefined) continue
    const meanwhile = new Set(all.filter(({ calledAt, returnedAt }) => calledAt < after.calledAt && returnedAt > before.calledAt))
    const [by] = meanwhile
    if (meanwhile.size === 1 && by !== undefined && by.kind !== 'read' && by.kind !== 'computed' && by.outcome === 'resolved') graves.push({ before, by, after })
  }
  return graves
}
