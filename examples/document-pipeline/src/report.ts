import type { CacheStats } from '@thermocline/core'

/** Aligns rows in columns: the first to the left, the others to the right. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)))
  const lines = rows.map((row) => row.map((cell, column) => (column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0))).join('   '))
  const rule = widths.map((width) => '-'.repeat(width)).join('   ')
  return [lines[0], rule, ...lines.slice(1)].join('\n')
}

/** What several processes have counted together. */
export function inTotal(all: readonly CacheStats[]): Counted {
  const total: Record<string, Counts> = {}
  for (const { policies } of all) {
    for (const [policy, { hits, computes, coalesced, computeSeconds, savedSeconds, tiers }] of Object.entries(policies)) {
      const sum = (total[policy] ??= { hits: 0, computes: 0, coalesced: 0, computeSeconds: 0, savedSeconds: 0, tiers: {} })
      sum.hits += hits
      sum.computes += computes
      sum.coalesced += coalesced
      sum.computeSeconds += computeSeconds
      sum.savedSeconds += savedSeconds
      for (const [tier, counts] of Object.entries(tiers)) {
        const ofTier = (sum.tiers[tier] ??= { hits: 0, misses: 0 })
        ofTier.hits += counts.hits
        ofTier.misses += counts.misses
      }
    }
  }
  return { policies: total }
}

/** What the table shows of a policy. */
interface Counts {
  hits: number
  computes: number
  coalesced: number
  computeSeconds: number
  savedSeconds: number
  readonly tiers: Record<string, { hits: number; misses: number }>
}

export interface Counted {
  readonly policies: Readonly<Record<string, Counts>>
}

/** One line per policy and tier: what was found where, and what that saved. */
export function describeStats(stats: Counted): string {
  const rows = [['policy', 'tier', 'hits', 'misses', 'computed', 'computes avoided', 'time saved']]
  for (const [policy, counts] of Object.entries(stats.policies)) {
    const used = Object.entries(counts.tiers).filter(([, tier]) => tier.hits + tier.misses > 0)
    used.forEach(([tier, { hits, misses }], i) => {
      const last = i === used.length - 1
      rows.push([
        i === 0 ? policy : '',
        tier,
        String(hits),
        String(misses),
        last ? String(counts.computes) : '',
        last ? String(counts.hits + counts.coalesced) : '',
        last ? seconds(counts.savedSeconds) : '',
      ])
    })
  }
  return table(rows)
}

/** The tiers in which a policy found something, those with the most hits first. */
export function tiersByHits({ policies }: Counted, policy: string): string[] {
  const tiers = Object.entries(policies[policy]?.tiers ?? {}).filter(([, { hits }]) => hits > 0)
  return tiers.sort(([, a], [, b]) => b.hits - a.hits).map(([tier]) => tier)
}

export function seconds(value: number): string {
  return value < 1 ? `${(value * 1000).toFixed(value < 0.01 ? 1 : 0)} ms` : `${value.toFixed(2)} s`
}
