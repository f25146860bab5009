import type { Awaitable } from '../contract/backend.js'
import type { TenantScope } from '../contract/scope.js'
import { CacheError } from '../errors/cache-error.js'
import type { ValidKey } from '../keys/key.js'
import type { Prefixes } from './prefixes.js'

/** One step for a lane. */
export interface Work<T> {
  readonly operation: string
  readonly run: (budgetMs: number | undefined) => Awaitable<T>
  /** Looked at in the moment of applying; `true`: it is dropped. */
  readonly isDropped?: (() => boolean) | undefined
  /** Whether the key must be deleted later if this cannot be carried out: a set or delete that somebody called. */
  readonly invalidates: boolean
  /** In the order of debts, what success pays: everything owed until then. */
  readonly pays: 'until-called' | 'until-run' | 'nothing'
}

export interface Ticket {
  readonly work: Work<unknown>
  /** See {@link Debts.now}. */
  readonly calledAt: number
  /** Tells the caller; `outcome` has then resolved. */
  readonly settle: (outcome: unknown) => void
  readonly outcome: Promise<unknown>
  /** Since when its budget counts (see {@link AskedTime}); unknown while it waits for what goes first in other tiers or in a clear. */
  countsFrom: number | undefined
  cancelTimer: () => void
}

export interface Lane {
  readonly id: string
  readonly scope: TenantScope
  readonly key: ValidKey
  readonly queue: Ticket[]
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
export function laneId(scope: TenantScope, key: string): string {
  return `${scope.tenant}\0${key}`
}

/** The outcomes of everything that was called on the lane so far. */
export function outcomesOf(lane: Lane): Promise<unknown>[] {
  return [...(lane.running === undefined ? [] : [lane.running]), ...lane.queue].map(({ outcome }) => outcome)
}

export function isUnder(lane: Lane, clear: RunningClear): boolean {
  return lane.scope.tenant === clear.scope.tenant && clear.prefixes.covers(lane.key)
}

function aboutLane(code: 'in-doubt' | 'timeout', backend: string, operation: string, lane: Lane, why: string): CacheError {
  return new CacheError(code, `${operation} on ${backend} was not started: ${why}`, { operation, backend, tenant: lane.scope.tenant, key: lane.key })
}

export function inDoubt(backend: string, operation: string, lane: Lane): CacheError {
  return aboutLane('in-doubt', backend, operation, lane, 'an earlier operation on the key has outlived its budget and may still land')
}

export function underOwedClear(backend: string, operation: string, lane: Lane): CacheError {
  return aboutLane('in-doubt', backend, operation, lane, 'a clear that covers the key is still to be carried out')
}

export function waitedTooLong(backend: string, operation: string, lane: Lane): CacheError {
  return aboutLane('timeout', backend, operation, lane, 'it waited for its budget behind earlier operations on the key')
}

export function unrecordedDoubt(backend: string, lane: Lane): CacheError {
  return aboutLane('in-doubt', backend, 'clear', lane, 'an operation on a key under it may still land, and no more can be recorded')
}
