import fc from 'fast-check'
import { FORMS, type Form } from './stamped.js'

/** Few tenants and keys, so that calls meet. Names that would meet where somebody joins them, or takes a prefix for a path. */
export const HISTORY_TENANTS = ['acme', 'globex', 'acme/docs'] as const
export const HISTORY_KEYS = ['docs/a', 'docs/b', 'a', 'x'] as const
const PREFIXES = ['', 'docs/', 'docs/a', 'x'] as const

export type HistoryVerb =
  | 'get' | 'getOrCompute' | 'getMany' | 'getStream' | 'getOrComputeStream' | 'has' | 'lookup' | 'peek' | 'list'
  | 'set' | 'setMany' | 'setStream' | 'delete' | 'deleteMany' | 'clear'

/** One call to make, as it was drawn from the seed. */
export interface PlannedCall {
  readonly verb: HistoryVerb
  readonly tenant: string
  readonly key: string
  /** For the verbs on many keys. */
  readonly keys: readonly string[]
  readonly prefix: string
  /** Which tiers the call does without. */
  readonly without: 'none' | 'slowest' | 'fastest' | 'all but the slowest'
  /** In milliseconds; `undefined`: what the cache gives. */
  readonly ttlMs: number | null | undefined
  readonly form: Form
  /** Characters of padding. */
  readonly length: number
  /** How long a compute, or a source between two chunks, takes. */
  readonly slowMs: number
  /** The client's own doing: a signal that fires soon, a source or a reader that breaks off. */
  readonly breaksOff: boolean
}

const WEIGHTS: readonly (readonly [number, HistoryVerb])[] = [
  [10, 'get'], [12, 'getOrCompute'], [3, 'getMany'], [4, 'getStream'], [4, 'getOrComputeStream'], [2, 'has'], [3, 'lookup'], [3, 'peek'], [1, 'list'],
  [11, 'set'], [2, 'setMany'], [4, 'setStream'], [7, 'delete'], [1, 'deleteMany'], [1, 'clear'],
]

function weighted<T>(pairs: readonly (readonly [number, T])[]): fc.Arbitrary<T> {
  return fc.oneof(...pairs.map(([weight, value]) => ({ weight, arbitrary: fc.constant(value) })))
}

// mostly one key of one tenant: faults live where calls meet
const CALL: fc.Arbitrary<PlannedCall> = fc.record({
  verb: weighted(WEIGHTS),
  tenant: weighted([[5, HISTORY_TENANTS[0]], [2, HISTORY_TENANTS[1]], [1, HISTORY_TENANTS[2]]]),
  key: weighted([[5, HISTORY_KEYS[0]], [2, HISTORY_KEYS[1]], [2, HISTORY_KEYS[2]], [2, HISTORY_KEYS[3]]]),
  keys: fc.subarray([...HISTORY_KEYS], { minLength: 1 }),
  prefix: fc.constantFrom(...PREFIXES),
  without: weighted([[10, 'none' as const], [1, 'slowest' as const], [2, 'fastest' as const], [2, 'all but the slowest' as const]]),
  ttlMs: weighted([[6, null], [3, undefined], [1, 5000], [1, 300], [1, 0]]),
  form: fc.constantFrom(...FORMS),
  length: weighted([[24, 60], [12, 2000], [6, 40_000], [1, 200_000]]),
  slowMs: weighted([[5, 0], [3, 4], [1, 60]]),
  breaksOff: weighted([[24, false], [1, true]]),
})

/** So many calls; the same for the same seed. */
export function plannedCalls(seed: number, count: number): PlannedCall[] {
  return fc.sample(fc.noBias(CALL), { seed, numRuns: count }) // what is drawn is the weather, not an edge to be found
}

const STEPS = 1_000_000

/** Numbers from 0 to 1, excluding it, for waits and turns; the same for the same seed. */
export function plannedChances(seed: number, count: number): number[] {
  return fc.sample(fc.noBias(fc.nat(STEPS - 1)), { seed, numRuns: count }).map((step) => step / STEPS)
}
