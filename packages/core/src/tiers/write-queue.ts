import { CacheError, type Awaitable, type TenantScope, type ValidKey } from '@thermocline/backend'
import type { Prefixes } from './prefixes.js'

/** One step for a queue. */
export interface Work<T> {
  readonly operation: string
  readonly run: (budgetMs: number | undefined) => Awaitable<T>
  /** Looked at in the moment of applying; `true`: it is dropped. */
  readonly isDropped?: (() => boolean) | undefined
  /**
   * It waits for something that may take long, such as an upload: while it does, whatever is called later and sets or deletes the key takes its place, and this is called.
   */
  readonly superseded?: (() => void) | undefined
  /** Whether the key must be deleted later if this cannot be carried out: a set or delete that somebody called. */
  readonly invalidates: boolean
  /** In the order in which things came to be owed, what success pays: everything owed until then. */
  readonly pays: 'until-called' | 'until-run' | 'nothing'
}

export interface Ticket {
  readonly work: Work<unknown>
  /** See {@link OwedInvalidations.now}. */
  readonly calledAt: number
  /** Tells the caller; `outcome` has then resolved. */
  readonly settle: (outcome: unknown) => void
  readonly outcome: Promise<unknown>
  /** Since when its budget counts (see {@link AskedTime}); unknown while it waits for what goes first in other tiers or in a clear. */
  countsFrom: number | undefined
  cancelTimer: () => void
}

export interface WriteQueue {
  readonly id: string
  readonly scope: TenantScope
  readonly key: ValidKey
  readonly waiting: Ticket[]
  running: Ticket | undefined
  /** An operation has outlived its budget and may still land. */
  inDoubt: boolean
}

export interface RunningClear {
  readonly scope: TenantScope
  /** What it removes begins with one of them. */
  readonly prefixes: Prefixes
  readonly ended: Promise<void>
}

/** NUL stands in no tenant and no key, so no two pairs share an id. */
export function queueId(scope: TenantScope, key: string): string {
  return `${scope.tenant}\0${key}`
}

/** The outcomes of everything that was called on the queue so far. */
export function outcomesOf(queue: WriteQueue): Promise<unknown>[] {
  return [...(queue.running === undefined ? [] : [queue.running]), ...queue.waiting].map(({ outcome }) => outcome)
}

export function isUnder(queue: WriteQueue, clear: RunningClear): boolean {
  return queue.scope.tenant === clear.scope.tenant && clear.prefixes.covers(queue.key)
}

function aboutQueue(code: 'in-doubt' | 'timeout', backend: string, operation: string, queue: WriteQueue, why: string): CacheError {
  return new CacheError(code, `${operation} on ${backend} was not started: ${why}`, { operation, backend, tenant: queue.scope.tenant, key: queue.key })
}

export function inDoubt(backend: string, operation: string, queue: WriteQueue): CacheError {
  return aboutQueue('in-doubt', backend, operation, queue, 'an earlier operation on the key has outlived its budget and may still land')
}

export function underOwedClear(backend: string, operation: string, queue: WriteQueue): CacheError {
  return aboutQueue('in-doubt', backend, operation, queue, 'a clear that covers the key is still to be carried out')
}

export function waitedTooLong(backend: string, operation: string, queue: WriteQueue): CacheError {
  return aboutQueue('timeout', backend, operation, queue, 'it waited for its budget behind earlier operations on the key')
}

export function unrecordedDoubt(backend: string, queue: WriteQueue): CacheError {
  return aboutQueue('in-doubt', backend, 'clear', queue, 'an operation on a key under it may still land, and no more can be recorded')
}
