import type { CacheError, JournalSlot, ValidKey } from '@thermocline/backend'
import { Fence } from '../flights/fence.js'
import type { Backoff } from '../layers/backoff.js'
import type { Tier } from '../tiers/tier.js'
import type { TenantState } from '../state/tenant-state.js'
import type { TimedJournal } from './timed-journal.js'

/** One entry for one tier. */
export interface Upload {
  readonly id: string
  readonly journal: TimedJournal
  readonly slot: JournalSlot
  readonly tier: Tier
  readonly state: TenantState
  readonly key: ValidKey
  /** Broken by whatever invalidates the key after the upload was queued. */
  readonly fence: Fence
  /** Resolves when the removal of its copy was tried; with what went wrong, if it is still there. */
  readonly tried: Promise<CacheError | undefined>
  readonly leave: (error: CacheError | undefined) => void
  /**
   * Its place in the order of calls, which decides what is older. The sequence in the journal is another: a stream's is drawn when it begins, and its place in
   * the order of calls comes when it has ended.
   */
  rank: number
  /** Whether its put has ended: from then on it may be removed. */
  entered: boolean
  /** Sets and deletes under way that will remove its copy when they are carried out: until then a crash needs it. */
  holders: number
  /** One of them is carried out: it goes as soon as it may. */
  isDue: boolean
  /** When it is tried again. */
  readonly retries: Backoff
  /** Ends a streamed put of it that has not come to its turn. */
  stop: (() => void) | undefined
}

/** What an earlier process left is older than all that is called in this one. */
const LEFT_BEFORE = -(2 ** 52)

export function newUpload(retries: Backoff, journal: TimedJournal, slot: JournalSlot, tier: Tier, state: TenantState, key: ValidKey): Upload {
  let leave!: Upload['leave'] // set by the constructor below
  const tried = new Promise<CacheError | undefined>((resolve) => (leave = resolve))
  return { id: idOf(tier, state, key), journal, slot, tier, state, key, fence: new Fence(key), tried, leave, rank: slot.sequence + LEFT_BEFORE, entered: false, holders: 0, isDue: false, retries, stop: undefined }
}

/** By tier, tenant and key. */
export function idOf(tier: Tier, state: TenantState, key: string): string {
  return `${tier.name}\0${state.tenant}\0${key}`
}
