import type { BackendStats } from '@thermocline/backend'
import type { Policy } from '../policies/policy.js'
import type { Tier } from '../tiers/tier.js'
import type { Counters } from '../state/counters.js'
import type { WriteBackStats } from '../write-back/write-back.js'

export interface TierStats {
  readonly backend: string
  /** Reads this tier answered. */
  readonly hits: number
  /** Reads it answered with a value that was not fresh any more. */
  readonly staleHits: number
  /** Reads it was asked for and could not answer. */
  readonly misses: number
  readonly hitRate: number
  readonly promotions: number
  readonly evictions: number
  /** Entries it got from a tier above that had no space for them. */
  readonly demotions: number
  readonly errors: number
  /** `degraded` while a circuit is open. */
  readonly state: 'ok' | 'degraded'
  /** Invalidations recorded for later. */
  readonly pendingInvalidations: number
  /** Keys with an operation that outlived its budget. */
  readonly keysInDoubt: number
  /** `undefined` where counting needs a scan. */
  readonly entries?: number | undefined
  readonly bytes?: number | undefined
  readonly maxEntries?: number | undefined
  readonly maxBytes?: number | undefined
  /** What the store says of itself, where it is one of several users: not only of this cache. */
  readonly server?: Readonly<Record<string, number | string>> | undefined
}

export interface PolicyStats {
  readonly hits: number
  /** Reads answered with a value that was not fresh any more: neither hits nor misses. */
  readonly staleHits: number
  readonly misses: number
  readonly hitRate: number
  readonly computes: number
  /** Callers that shared another caller's compute or read. */
  readonly coalesced: number
  /** Values that were made anew in the background. */
  readonly refreshes: number
  /** Refreshes in the background that failed, or were not begun. */
  readonly refreshesGivenUp: number
  /** Times that callers got a stale value because the compute took longer than `softTimeout`; those who share a flight are one. */
  readonly softTimeouts: number
  /** Computes that were ended by `hardTimeout`. */
  readonly hardTimeouts: number
  /** Seconds spent computing. */
  readonly computeSeconds: number
  /** Seconds of computing that hits made unnecessary: the sum of what each hit entry once cost. */
  readonly savedSeconds: number
  /** Hits by tier. */
  readonly tiers: Readonly<Record<string, { readonly hits: number; readonly misses: number }>>
}

/** A summary for one tenant, inside the manager's stats. */
export interface TenantStats {
  readonly hits: number
  readonly misses: number
  readonly hitRate: number
}

export interface CacheStats {
  /** Verbs that found the key in some tier. */
  readonly hits: number
  /** Verbs that got a value that was not fresh any more: neither hits nor misses. */
  readonly staleHits: number
  /** Verbs that found it in none. */
  readonly misses: number
  /** Hits of hits and misses, 0 to 1; 0 before the first read. */
  readonly hitRate: number
  readonly errors: number
  readonly evictions: number
  /** Background writes that are running. */
  readonly pendingWrites: number
  /** Refreshes in the background that run or wait for their turn; of all tenants. */
  readonly pendingRefreshes: number
  /** Entries that slow tiers do not have yet; of all tenants. */
  readonly writeBack: WriteBackStats
  readonly tiers: Readonly<Record<string, TierStats>>
  readonly policies: Readonly<Record<string, PolicyStats>>
  /** In the manager's stats: the tenants it remembers. */
  readonly tenants?: Readonly<Record<string, TenantStats>> | undefined
}

export interface StatsSources {
  readonly counters: Counters
  readonly policies: readonly Policy[]
  readonly tiers: readonly Tier[]
  readonly backends: readonly BackendStats[]
  readonly pendingWrites: number
  readonly pendingRefreshes: number
  readonly writeBack: WriteBackStats
}

/** Builds the public numbers from the counted cells. */
export function composeStats(sources: StatsSources): CacheStats {
  const { counters, policies, tiers } = sources
  const hits = sum(counters.hits)
  const misses = sum(counters.misses)
  return {
    hits,
    staleHits: sum(counters.staleHits),
    misses,
    hitRate: rate(hits, misses),
    errors: sum(counters.errors),
    evictions: sum(counters.evictions),
    pendingWrites: sources.pendingWrites,
    pendingRefreshes: sources.pendingRefreshes,
    writeBack: sources.writeBack,
    tiers: byName(tiers, (tier) => tierStats(tier, sources)),
    policies: byName(policies, (policy) => policyStats(policy, sources)),
  }
}

export function tenantSummary(counters: Counters): TenantStats {
  const hits = sum(counters.hits)
  const misses = sum(counters.misses)
  return { hits, misses, hitRate: rate(hits, misses) }
}

function tierStats(tier: Tier, { counters, policies, tiers, backends }: StatsSources): TierStats {
  const cells = policies.map((policy) => policy.index * tiers.length + tier.index)
  const hits = sumOf(counters.hits, cells)
  const misses = sumOf(counters.tierMisses, cells)
  const degraded = tier.breaker.isOpen('read') || tier.breaker.isOpen('write')
  return {
    backend: tier.backend.name,
    hits,
    staleHits: sumOf(counters.staleHits, cells),
    misses,
    hitRate: rate(hits, misses),
    promotions: sumOf(counters.promotions, cells),
    evictions: sumOf(counters.evictions, cells),
    demotions: sumOf(counters.demotions, cells),
    errors: counters.errors[tier.index] ?? 0,
    state: degraded ? 'degraded' : 'ok',
    pendingInvalidations: tier.queues.owed,
    keysInDoubt: tier.queues.doubts,
    ...backends[tier.index],
  }
}

function policyStats(policy: Policy, { counters, tiers }: StatsSources): PolicyStats {
  const cell = (tier: Tier): number => policy.index * tiers.length + tier.index
  const hits = sumOf(counters.hits, tiers.map(cell))
  const misses = counters.misses[policy.index] ?? 0
  return {
    hits,
    staleHits: sumOf(counters.staleHits, tiers.map(cell)),
    misses,
    hitRate: rate(hits, misses),
    computes: counters.computes[policy.index] ?? 0,
    coalesced: counters.coalesced[policy.index] ?? 0,
    refreshes: counters.refreshes[policy.index] ?? 0,
    refreshesGivenUp: counters.refreshesGivenUp[policy.index] ?? 0,
    softTimeouts: counters.softTimeouts[policy.index] ?? 0,
    hardTimeouts: counters.hardTimeouts[policy.index] ?? 0,
    computeSeconds: (counters.computeMicros[policy.index] ?? 0) / 1e6,
    savedSeconds: sumOf(counters.savedMicros, tiers.map(cell)) / 1e6,
    tiers: byName(tiers, (tier) => ({ hits: counters.hits[cell(tier)] ?? 0, misses: counters.tierMisses[cell(tier)] ?? 0 })),
  }
}

function byName<I extends { readonly name: string }, O>(items: readonly I[], describe: (item: I) => O): Record<string, O> {
  // an object made this way may hold any name, __proto__ included
  return Object.fromEntries(items.map((item) => [item.name, describe(item)]))
}

function sum(cells: readonly number[]): number {
  return cells.reduce((total, value) => total + value, 0)
}

function sumOf(cells: readonly number[], indexes: readonly number[]): number {
  return indexes.reduce((total, index) => total + (cells[index] ?? 0), 0)
}

function rate(hits: number, misses: number): number {
  return hits + misses === 0 ? 0 : hits / (hits + misses)
}
