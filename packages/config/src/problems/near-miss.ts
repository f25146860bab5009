import { distance } from 'fastest-levenshtein'

/** The candidate that was probably meant, or `undefined` when none is close: a typo, two letters swapped, camelCase for snake_case. */
export function nearMiss(written: string, candidates: Iterable<string>): string | undefined {
  const asked = normal(written)
  let best: string | undefined
  let bestDistance = Number.POSITIVE_INFINITY
  for (const candidate of candidates) {
    if (candidate === written) continue
    const compared = normal(candidate)
    // most differ too much in length alone; a key may be as long as a document
    if (Math.abs(compared.length - asked.length) > allowed(compared)) continue
    const away = sameLetters(asked, compared) ? Math.min(1, distance(asked, compared)) : distance(asked, compared)
    if (away < bestDistance && away <= allowed(compared)) {
      best = candidate
      bestDistance = away
    }
  }
  return best
}

/** ", did you mean `x`?" or nothing. */
export function didYouMean(suggestion: string | undefined): string {
  return suggestion === undefined ? '' : `; did you mean \`${suggestion}\`?`
}

function allowed(candidate: string): number {
  return candidate.length <= 5 ? 1 : Math.floor(candidate.length / 3)
}

/** One spelling for all: camelCase and kebab-case become snake_case. */
export function normal(name: string): string {
  return name
    .replace(/([a-z0-9])([A-Z])/g, '$1_$2')
    .replaceAll('-', '_')
    .toLowerCase()
}

function sameLetters(left: string, right: string): boolean {
  return left.length > 2 && left.length === right.length && sorted(left) === sorted(right)
}

function sorted(name: string): string {
  return Array.from(name).sort().join('')
}
