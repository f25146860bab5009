import type { CacheErrorCode } from '@thermocline/backend'
import type { Circuit } from '../layers/resilience-parts.js'
import type { HearingStats } from '../coordination/hearing.js'
import type { Tier } from '../tiers/tier.js'

/** How one tier is, as far as what was last asked of it tells. */
export interface TierHealth {
  /** `degraded` while it is left out for reads, writes or both. */
  readonly status: 'ok' | 'degraded'
  readonly backend: string
  /** What it is left out for, and the code of the error that was the reason. */
  readonly leftOut: Readonly<Partial<Record<Circuit, CacheErrorCode>>>
  /** Invalidations recorded for later. */
  readonly pendingInvalidations: number
  /** Keys with an operation that outlived its budget. */
  readonly keysInDoubt: number
}

/** How a cache is. It serves in any case: a tier that is degraded is left out. */
export interface CacheHealth {
  /** `degraded` while a tier is, or while other processes are not heard. */
  readonly status: 'ok' | 'degraded'
  readonly tiers: Readonly<Record<string, TierHealth>>
  /** Whether this process hears what others invalidate. `off`: they do not tell each other; `reason`: why, where they were to. */
  readonly coordination: { readonly status: 'off'; readonly reason?: string | undefined } | ({ readonly status: 'connected' | 'blind'; readonly tier: string; readonly untold: number } & HearingStats)
}

/** Asks nobody: what the circuit breakers know. */
export function healthOf(tiers: readonly Tier[], coordination: CacheHealth['coordination']): CacheHealth {
  const health = tiers.map((tier) => [tier.name, tierHealth(tier)] as const)
  return {
    status: health.every(([, { status }]) => status === 'ok') && coordination.status !== 'blind' ? 'ok' : 'degraded',
    tiers: Object.fromEntries(health),
    coordination,
  }
}

function tierHealth({ backend, breaker, queues }: Tier): TierHealth {
  const leftOut: Partial<Record<Circuit, CacheErrorCode>> = {}
  for (const circuit of ['read', 'write'] as const) {
    const error = breaker.openedBy(circuit)
    if (error !== undefined) leftOut[circuit] = error.code
  }
  return { status: Object.keys(leftOut).length === 0 ? 'ok' : 'degraded', backend: backend.name, leftOut, pendingInvalidations: queues.owed, keysInDoubt: queues.doubts }
}
