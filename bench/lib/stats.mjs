/** The value below which `part` (0 to 1) of the numbers lie, interpolated. `NaN` without numbers. */
export function quantile(numbers, part) {
  const sorted = [...numbers].sort((a, b) => a - b)
  if (sorted.length === 0) return Number.NaN
  const at = (sorted.length - 1) * part
  const below = Math.floor(at)
  const above = Math.min(below + 1, sorted.length - 1)
  return sorted[below] + (sorted[above] - sorted[below]) * (at - below)
}

/** Median with the 10th and 90th percentile. */
export function spread(numbers) {
  return { median: rounded(quantile(numbers, 0.5)), p10: rounded(quantile(numbers, 0.1)), p90: rounded(quantile(numbers, 0.9)), n: numbers.length }
}

export function rounded(number) {
  return Number.isFinite(number) ? Number(number.toPrecision(4)) : null
}
