import type { CacheStats } from '@thermocline/core'

/** One line per step: how often each tier had it, what was computed, and what the tiers saved. */
export function describeSteps({ policies, tiers }: CacheStats): string {
  const names = Object.keys(tiers)
  const rows = [['step', ...names.map((name) => `from ${name}`), 'computed', 'time spent', 'time saved']]
  for (const [policy, counts] of Object.entries(policies)) {
    if (counts.hits + counts.misses === 0) continue
    const found = names.map((name) => {
      const { hits = 0, misses = 0 } = counts.tiers[name] ?? {}
      return hits + misses === 0 ? '' : String(hits)
    })
    rows.push([policy, ...found, String(counts.computes), seconds(counts.computeSeconds), seconds(counts.savedSeconds)])
  }
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)))
  const lines = rows.map((row) => row.map((cell, column) => (column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0))).join('   '))
  return [lines[0], widths.map((width) => '-'.repeat(width)).join('   '), ...lines.slice(1)].join('\n')
}

export function seconds(value: number): string {
  return value < 1 ? `${(value * 1000).toFixed(value < 0.01 ? 1 : 0)} ms` : `${value.toFixed(2)} s`
}

export function bytes(value: number): string {
  return value < 1e6 ? `${(value / 1e3).toFixed(1)} kB` : `${(value / 1e6).toFixed(1)} MB`
}
