import type { KeyHistory } from './by-key.js'
import type { Invalidation, Origin, Read, Settled } from './records.js'
import type { Violation } from './violation.js'

/*
 * What several managers promise that agree over a shared tier.
 *
 * Take an invalidation that has resolved and that every tier has applied. A value from before it is one whose compute had begun before it was called, or whose
 * set had ended by then (or was called before by the same manager). No read that is called later returns such a value: not from a shared tier, and not from any
 * tier of the manager that has called the invalidation. Another manager may return it from its own tiers for as long as it is let believe what it does not
 * hear of; where nothing was wrong, until the message has arrived.
 *
 * What is only recorded counts from when the manager had nothing left to do. So does what a server has lost that was taken over from, as long as the manager
 * lives that has called it. Where two calls overlap that cannot be ordered, nothing is said.
 */

/** What a server had not heard of that took over: everything from an instant to another. */
export interface Loss {
  readonly fromMs: number
  readonly atMs: number
}

export interface Agreed {
  /** For how long a manager believes what it keeps itself without hearing others, in milliseconds. */
  readonly maxStalenessMs: number
  /** How long a message takes at most where nothing is wrong, in milliseconds. */
  readonly heardWithinMs: number
  readonly losses: readonly Loss[]
  /** When a manager's process stood still: an answer that arrived meanwhile it takes for new. */
  readonly stops: readonly { readonly manager: number; readonly fromMs: number; readonly toMs: number }[]
  /** Managers whose process was killed, and when: by number. */
  readonly killed: ReadonlyMap<number, number>
  /** Whether nothing was wrong then, nor so shortly before that it may have left something. */
  readonly isFair: (fromMs: number, toMs: number) => boolean
}

/** Between two readings of the clock. */
const SLACK_MS = 50

/** An instant in both countings. */
interface Instant {
  readonly at: number
  readonly ms: number
}

export function untrueReads(one: KeyHistory, byVersion: ReadonlyMap<string, Origin>, settled: readonly Settled[], agreed: Agreed): Violation[] {
  const violations: Violation[] = []
  for (const read of one.reads) {
    const { answer } = read
    const origin = answer?.is === 'version' ? byVersion.get(answer.version) : undefined
    if (origin === undefined) continue
    const by = one.invalidations.find((invalidation) => invalidation.outcome === 'resolved' && isFromBefore(origin, invalidation, settled) && !mayReturn(read, origin, invalidation, settled, agreed))
    if (by === undefined) continue
    violations.push({ rule: 'untrue', message: `${read.verb} returned ${origin.version}, from before a ${by.verb} of manager ${by.manager} that was applied`, tenant: one.tenant, key: one.key, records: [origin, by, read] })
  }
  return violations
}

/** Whether the value is older than what the invalidation leaves. */
function isFromBefore(origin: Origin, invalidation: Invalidation, settled: readonly Settled[]): boolean {
  if (origin === invalidation) return false
  if (origin.kind === 'computed') return origin.calledAt < invalidation.calledAt
  if (origin.manager === invalidation.manager) return origin.calledAt < invalidation.calledAt
  const end = origin.isApplied === true ? origin.returnedAt : settled.find(({ calledAt }) => calledAt > origin.returnedAt)?.calledAt
  return end !== undefined && end < invalidation.calledAt
}

function mayReturn(read: Read, origin: Origin, invalidation: Invalidation, settled: readonly Settled[], agreed: Agreed): boolean {
  const isOwn = read.manager === invalidation.manager
  const since = appliedAt(invalidation, isOwn, settled, agreed)
  if (since === undefined || since.at > read.calledAt) return true
  if (isOwn || !read.asksOwnTiers) return false
  const madeMs = origin.kind === 'computed' ? origin.returnedMs : 0
  const stoppedMs = agreed.stops.filter(({ manager, fromMs }) => manager === read.manager && fromMs <= read.calledMs).map(({ toMs }) => toMs)
  const isFair = agreed.isFair(Math.min(origin.calledMs, invalidation.calledMs), read.calledMs)
  return read.calledMs <= Math.max(since.ms, madeMs, ...stoppedMs) + (isFair ? agreed.heardWithinMs : agreed.maxStalenessMs) + SLACK_MS
}

/** From when on it holds; `undefined`: never. @param isOwn for whoever has called it */
function appliedAt(invalidation: Invalidation, isOwn: boolean, settled: readonly Settled[], { losses, killed }: Agreed): Instant | undefined {
  const { calledMs, returnedMs, returnedAt, isApplied, manager } = invalidation
  let since: Instant = { at: returnedAt, ms: returnedMs }
  if (isApplied !== true && !isOwn) {
    const later = laterThan(since, settled, killed.get(manager))
    if (later === undefined) return undefined
    since = later
  }
  for (const { fromMs, atMs } of losses) {
    if ((isApplied === true && returnedMs < fromMs) || calledMs > atMs) continue // what is owed is carried out later
    const later = laterThan({ at: 0, ms: Math.max(atMs, since.ms) }, settled, killed.get(manager))
    if (later === undefined) return undefined
    since = later
  }
  return since
}

/** When everything was in order for the next time, unless the manager had ended by then. */
function laterThan({ at, ms }: Instant, settled: readonly Settled[], killedMs = Number.POSITIVE_INFINITY): Instant | undefined {
  const next = settled.find(({ calledAt, calledMs }) => calledAt > at && calledMs >= ms)
  return next === undefined || next.calledMs > killedMs ? undefined : { at: next.calledAt, ms: next.calledMs }
}

/**
 * After the last change of a key, and when everything was in order again, all managers return one value of it, or none. Unless one has computed it for itself,
 * or has ended before all tiers had applied what it had called.
 */
export function splitReads(one: KeyHistory, settled: readonly Settled[], agreed: Agreed): Violation[] {
  const { isFair, killed } = agreed
  const last = settled.at(-1)
  if (last === undefined || one.origins.some(({ kind, calledMs, returnedMs }) => kind === 'computed' && !isFair(calledMs, returnedMs))) return []
  if ( [...one.origins, ...one.invalidations].some(({ calledAt }) => calledAt > last.calledAt)) return []
  if (one.invalidations.some((invalidation) => killed.has(invalidation.manager) && appliedAt(invalidation, false, settled, agreed) === undefined)) return []
  const found = one.reads.filter(({ calledAt, answer }) => calledAt > last.calledAt && answer?.is === 'version')
  const [first] = found
  const other = found.find(({ answer }) => answer?.is === 'version' && first?.answer?.is === 'version' && answer.version !== first.answer.version)
  if (first === undefined || other === undefined) return []
  return [{ rule: 'split', message: 'two reads returned different values when nothing had changed any more', tenant: one.tenant, key: one.key, records: [last, first, other] }]
}

/**
 * Where nothing was wrong, one compute of a key runs at a time in all managers. But for an invalidation; and those who wait for a compute of which nothing is
 * stored compute at once when it has ended.
 */
export function computedTwice({ tenant, key, computes, invalidations }: KeyHistory, agreed: Agreed): Violation[] {
  const violations: Violation[] = []
  for (const [at, next] of computes.entries()) {
    for (const other of computes.slice(0, at)) {
      if (other.manager === next.manager || other.returnedAt < next.calledAt || [other, next].some(({ starter }) => (starter.without?.length ?? 0) > 0)) continue
      const since = Math.min(other.starter.calledAt, next.starter.calledAt)
      if (computes.some(({ returnedAt }) => returnedAt > since && returnedAt < next.calledAt)) continue
      if (invalidations.some(({ calledAt, returnedAt }) => calledAt < next.calledAt && returnedAt > since)) continue
      if (!agreed.isFair(Math.min(other.starter.calledMs, next.starter.calledMs), next.calledMs)) continue
      violations.push({ rule: 'twice', message: 'two managers computed the key at once, and nothing was wrong', tenant, key, records: [other.starter, other, next.starter, next] })
    }
  }
  return violations
}
