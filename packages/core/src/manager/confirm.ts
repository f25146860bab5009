import { CacheError, type Invalidation } from '@thermocline/backend'
import { abortable } from '../flights/abort.js'
import type { Tier } from '../tiers/tier.js'
import type { Engine } from './engine.js'
import type { TenantState } from '../state/tenant-state.js'

/** How long a confirmed verb waits for tiers that are away. */
export const LONGEST_CONFIRMATION_MS = 30_000

/**
 * Resolves when no tier owes anything any more of what was invalidated, and nothing of it waits to be written back: it is done everywhere, not
 * only recorded.
 *
 * @throws CacheError `not-confirmed` when that takes longer than half a minute; what was recorded stays so
 */
export async function confirm(engine: Engine, state: TenantState, operation: string, invalidation: Invalidation, signal: AbortSignal | undefined): Promise<void> {
  const owing = (tier: Tier): boolean => tier.queues.owes(state.scope, invalidation)
  const isDone = (): boolean => !engine.tiers.some(owing) && !engine.writeBack.hasQueued(state, invalidation)
  if (isDone()) return
  for (const tier of engine.tiers) if (owing(tier)) tier.queues.payNow()
  engine.writeBack.kick()
  if (await abortable(until(engine, isDone, LONGEST_CONFIRMATION_MS), signal)) return
  const left = engine.tiers.filter(owing).map(({ name }) => name)
  const where = left.length === 0 ? 'a slow tier still waits for what is to be written back to it' : `these tiers still owe it: ${left.join(', ')}`
  throw new CacheError('not-confirmed', `${operation} was recorded and is not done everywhere after ${LONGEST_CONFIRMATION_MS / 1000} s: ${where}. It is tried again in the background`, {
    operation,
    tenant: state.tenant,
    key: invalidation.key,
  })
}

/** Whether something has become true in time. It is looked at whenever a tier has paid something or an upload has ended. */
export async function until(engine: Engine, isDone: () => boolean, withinMs: number): Promise<boolean> {
  if (isDone()) return true
  return new Promise((resolve) => {
    const end = (done: boolean): void => {
      cancel()
      stop()
      resolve(done)
    }
    const cancel = engine.clock.schedule(withinMs, () => end(isDone()))
    const stop = engine.onProgress(() => {
      if (isDone()) end(true)
    })
  })
}
