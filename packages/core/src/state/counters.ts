/**
 * What is counted for one tenant, in plain arrays by cell: `policy.index * tiers + tier.index` for what happens in a
 * tier, `policy.index` for what happens to a verb. A hit is two additions; totals, stats and metrics are read from here.
 */
export class Counters {
  readonly hits: number[]
  /** Reads answered with a value that was not fresh any more: neither hits nor misses. */
  readonly staleHits: number[]
  /** Times a tier was asked and had nothing fresh. */
  readonly tierMisses: number[]
  /** Microseconds of compute that hits made unnecessary. */
  readonly savedMicros: number[]
  readonly promotions: number[]
  readonly evictions: number[]
  /** What a tier got from one above that had no space for it. */
  readonly demotions: number[]
  readonly errors: number[]
  /** Verbs that found nothing in any tier. */
  readonly misses: number[]
  readonly computes: number[]
  readonly computeMicros: number[]
  /** Callers that shared another caller's flight. */
  readonly coalesced: number[]

  /** Values that were made anew in the background. */
  readonly refreshes: number[]
  /** Refreshes that failed, or were not begun. */
  readonly refreshesGivenUp: number[]
  /** Times that callers got a stale value because the compute took longer than `softTimeout`; those who share a flight are one. */
  readonly softTimeouts: number[]
  /** Computes that were ended by `hardTimeout`. */
  readonly hardTimeouts: number[]

  constructor(policies: number, tiers: number) {
    const cells = policies * tiers
    this.hits = zeros(cells)
    this.staleHits = zeros(cells)
    this.tierMisses = zeros(cells)
    this.savedMicros = zeros(cells)
    this.promotions = zeros(cells)
    this.evictions = zeros(cells)
    this.demotions = zeros(cells)
    this.errors = zeros(tiers + 1)
    this.misses = zeros(policies)
    this.computes = zeros(policies)
    this.computeMicros = zeros(policies)
    this.coalesced = zeros(policies)
    this.refreshes = zeros(policies)
    this.refreshesGivenUp = zeros(policies)
    this.softTimeouts = zeros(policies)
    this.hardTimeouts = zeros(policies)
  }

  /** Adds another tenant's counts to these. */
  add(other: Counters): void {
    for (const name of COUNTED) {
      const own = this[name]
      const others = other[name]
      for (let i = 0; i < own.length; i++) own[i] = (own[i] ?? 0) + (others[i] ?? 0)
    }
  }
}

const COUNTED = [
  'hits',
  'staleHits',
  'tierMisses',
  'savedMicros',
  'promotions',
  'evictions',
  'demotions',
  'errors',
  'misses',
  'computes',
  'computeMicros',
  'coalesced',
  'refreshes',
  'refreshesGivenUp',
  'softTimeouts',
  'hardTimeouts',
] as const

function zeros(length: number): number[] {
  return Array.from({ length }, () => 0)
}

/** Adds to one cell. */
export function count(cells: number[], index: number, by = 1): void {
  cells[index] = (cells[index] ?? 0) + by
}
