import { CacheError } from '@thermocline/backend'
import type { KeyHistory } from './by-key.js'
import type { History, HistoryRecord, Origin, Read } from './records.js'
import type { Violation } from './violation.js'

/**
 * What every read must keep by itself: a value that is this tenant's and this key's, whole, that somebody made before, and in the form in
 * which it was given.
 */
export function wrongAnswers({ tenant, key, reads }: KeyHistory, byVersion: ReadonlyMap<string, Origin>): Violation[] {
  const violations: Violation[] = []
  for (const read of reads) {
    const { answer, verb } = read
    if (answer?.is === 'wrong') violations.push({ rule: answer.rule, message: `${verb} returned ${answer.what}`, tenant, key, records: [read] })
    if (answer?.is !== 'version') continue
    const origin = byVersion.get(answer.version)
    if (origin === undefined || origin.calledAt > read.returnedAt) {
      violations.push({ rule: 'invented', message: `${verb} returned ${answer.version}, which nobody had made`, tenant, key, records: [...(origin === undefined ? [] : [origin]), read] })
    } else if (isBroken(origin)) {
      violations.push({ rule: 'invented', message: `${verb} returned ${answer.version}, whose source had failed`, tenant, key, records: [origin, read] })
    } else if (answer.form !== undefined && answer.form !== origin.form) {
      violations.push({ rule: 'changed', message: `${verb} returned ${answer.version} as ${answer.form}, and it was given as ${origin.form}`, tenant, key, records: [origin, read] })
    }
  }
  return violations
}

function isBroken(origin: Origin): boolean {
  return origin.kind === 'write' ? origin.isBroken : origin.outcome === 'rejected'
}

/**
 * "No verb rejects because a tier is down": only `not-recorded` of what invalidates, and what the client itself brought about. A stream that
 * has begun may break off. And every call has an answer in the end.
 */
export function wrongEnds({ records }: History): Violation[] {
  const violations: Violation[] = []
  const add = (rule: 'rejected' | 'unanswered', message: string, record: Exclude<HistoryRecord, { kind: 'fault' | 'settled' | 'note' }>): void => {
    violations.push({ rule, message, tenant: record.tenant, key: record.key, records: [record] })
  }
  for (const record of records) {
    if (record.kind === 'fault' || record.kind === 'settled' || record.kind === 'note' || record.kind === 'computed') continue
    if (record.outcome === 'unanswered') add('unanswered', `${record.verb} has had no answer`, record)
    if (record.outcome === 'rejected' && !record.isOwnDoing && !mayReject(record)) add('rejected', `${record.verb} rejected with ${record.error instanceof Error ? record.error.message : typeof record.error}`, record)
  }
  return violations
}

function mayReject(record: Exclude<HistoryRecord, { kind: 'fault' | 'settled' | 'note' | 'computed' }>): boolean {
  if (record.kind === 'read') return isStreamRead(record) && record.error instanceof CacheError
  const errors: readonly unknown[] = record.error instanceof AggregateError ? record.error.errors : [record.error]
  return errors.every((error) => error instanceof CacheError && error.code === 'not-recorded')
}

function isStreamRead({ verb }: Read): boolean {
  return verb === 'getStream' || verb === 'getOrComputeStream'
}
