import type { CacheErrorCode } from '@thermocline/backend'
import type { Circuit } from '../layers/resilience-parts.js'
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
  /** `degraded` while a tier is. */
  readonly status: 'ok' | 'degraded'
  readonly tiers: Readonly<Record<string, TierHealth>>
  /** Whether this process hears of others. `off`: processes do not tell each other of anything yet. */
  readonly coordination: { readonly status: 'off' }
}

/** Asks nobody: what the circuit breakers know. */
export function healthOf(tiers: readonly Tier[]): CacheHealth {
  const health = tiers.map((tier) => [tier.name, tierHealth(tier)] as const)
  return {
    status: health.every(([, { status }]) => status === 'ok') ? 'ok' : 'degraded',
    tiers: Object.fromEntries(health),
    coordination: { status: 'off' },
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
