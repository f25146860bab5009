import type { FaultSpan, History, HistoryRecord, Note, Read } from './records.js'
import type { Violation } from './violation.js'

/** Other changes of the key that are shown between those that matter. */
const OTHERS_AT_MOST = 12
const NOTES_AT_MOST = 30

/** What a person needs to see of a violation: its records marked, what else changed the key meanwhile, and what was wrong with servers then. */
export function excerptOf(history: History, { rule, message, tenant, key, records }: Violation): string {
  const from = Math.min(...records.map(({ calledAt }) => calledAt))
  const to = Math.max(...records.map(endOf))
  const overlaps = (record: HistoryRecord): boolean => record.calledAt <= to && endOf(record) >= from
  const concerns = (record: HistoryRecord): boolean => {
    if (record.kind === 'fault' || record.kind === 'settled' || record.kind === 'note' || record.kind === 'read') return false
    if (record.tenant !== tenant || key === undefined) return false
    return record.kind === 'removal' && record.key === undefined ? key.startsWith(record.prefix ?? '') : record.key === key
  }
  const others = history.records.filter((record) => !records.includes(record) && concerns(record) && overlaps(record))
  const faults = history.records.filter((record): record is FaultSpan => record.kind === 'fault' && overlaps(record))
  const notes = history.records.filter((record): record is Note => record.kind === 'note' && overlaps(record) && (record.tenant ?? tenant) === tenant && (record.key ?? key) === key)
  const shown = [...records, ...faults, ...notes.slice(-NOTES_AT_MOST), ...others.slice(-OTHERS_AT_MOST)].sort((a, b) => a.calledAt - b.calledAt)
  const lines = shown.map((record) => `  ${records.includes(record) ? '>' : ' '} ${lineOf(record)}`)
  const left = others.length - OTHERS_AT_MOST
  return [`${rule}: ${message}`, `  tenant ${JSON.stringify(tenant)}, key ${JSON.stringify(key)}`, ...(left > 0 ? [`    (${left} earlier changes of the key are left out)`] : []), ...lines].join('\n')
}

function endOf(record: HistoryRecord): number {
  return 'returnedAt' in record && Number.isFinite(record.returnedAt) ? record.returnedAt : record.calledAt
}

function lineOf(record: HistoryRecord): string {
  if (record.kind === 'settled') return `${at(record)} everything has settled`
  if (record.kind === 'note') return `${at(record)} ${record.text}`
  const span = `${at(record)} .. ${Number.isFinite(record.returnedAt) ? `#${record.returnedAt} +${record.returnedMs.toFixed(1)} ms` : 'no end'}`
  if (record.kind === 'fault') return `${span}  ${record.name}`
  const end = record.outcome === 'resolved' ? '' : `, ${record.outcome}${record.error === undefined ? '' : `: ${record.error instanceof Error ? record.error.message : typeof record.error}`}`
  const left = record.without === undefined || record.without.length === 0 ? '' : ` without ${record.without.join(' and ')}`
  return `${span}  manager ${record.manager}, client ${record.client}: ${record.verb}${left} ${whatOf(record)}${end}`
}

function at({ calledAt, calledMs }: { readonly calledAt: number; readonly calledMs: number }): string {
  return `#${calledAt} +${calledMs.toFixed(1)} ms`
}

function whatOf(record: Exclude<HistoryRecord, { kind: 'fault' | 'settled' | 'note' }>): string {
  if (record.kind === 'removal') return record.key === undefined ? `of prefix ${JSON.stringify(record.prefix ?? '')}` : ''
  if (record.kind === 'read') return `-> ${answerOf(record)}`
  return `${record.version}${Number.isFinite(record.ttlMs) ? ` for ${record.ttlMs} ms` : ''}`
}

function answerOf({ answer }: Read): string {
  if (answer === undefined) return 'nothing'
  return answer.is === 'version' ? answer.version : answer.is === 'wrong' ? answer.what : answer.is
}
