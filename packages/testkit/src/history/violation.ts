import type { HistoryRecord } from './records.js'

/** What a history breaks: see `checkHistory`. */
export type HistoryRule = 'stale' | 'foreign' | 'corrupt' | 'invented' | 'changed' | 'expired' | 'prolonged' | 'twice' | 'rejected' | 'unanswered' | 'undead' | 'untrue' | 'split'

export interface Violation {
  readonly rule: HistoryRule
  /** In a sentence. */
  readonly message: string
  readonly tenant: string
  readonly key: string | undefined
  /** What shows it, in the order of the events. */
  readonly records: readonly HistoryRecord[]
}
