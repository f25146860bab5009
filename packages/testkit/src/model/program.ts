import fc from 'fast-check'
import type { FaultyOperation } from '../faults.js'

/** Which tiers a call does without. */
export type LeftOut = 'none' | 'slowest' | 'all but the slowest'

interface OnOneKey {
  readonly tenant: string
  readonly key: string
  readonly without: LeftOut
  /** The next step begins when this one has resolved. */
  readonly wait: boolean
}

/**
 * When a call takes a value that is not fresh any more: at once, where the compute fails or is slow, where it fails or is given up, or not at
 * all. Not even what is fresh: the call has it made anew.
 */
export type TakesStale = 'never' | 'at once' | 'on error' | 'in time' | 'not even fresh'

/** One step of a random program. */
export type Step =
  | ({ readonly kind: 'set' | 'setStream'; readonly ttl: number | null } & OnOneKey)
  | ({ readonly kind: 'get' | 'lookup' | 'has' | 'delete' | 'expire' | 'getMany' | 'getStream' } & OnOneKey)
  | ({ readonly kind: 'getOrCompute' | 'getOrComputeStream'; readonly computeMs: number; readonly takesStale: TakesStale; readonly fails: boolean } & OnOneKey)
  | { readonly kind: 'clear'; readonly tenant: string; readonly prefix: string; readonly wait: boolean }
  | { readonly kind: 'fault'; readonly tier: number; readonly fault: 'hang' | 'hang-after' | 'refuse' | 'fail' | 'lose-answer'; readonly operations: readonly FaultyOperation[] }
  | { readonly kind: 'heal'; readonly tier: number }
  | { readonly kind: 'release'; readonly tier: number }
  | { readonly kind: 'drop'; readonly tier: number }
  | { readonly kind: 'pass'; readonly ms: number }
  /** The process ends and another one takes up what it left. */
  | { readonly kind: 'restart' }

export const TENANTS = ['acme', 'globex'] as const
/** Few keys, so that steps meet; two share a prefix. */
export const KEYS = ['docs/a', 'docs/b', 'x'] as const

// mostly one key of one tenant: bugs live where steps meet
const tenant = fc.oneof({ weight: 5, arbitrary: fc.constant(TENANTS[0]) }, { weight: 1, arbitrary: fc.constant(TENANTS[1]) })
const key = fc.oneof({ weight: 4, arbitrary: fc.constant(KEYS[0]) }, { weight: 1, arbitrary: fc.constantFrom(...KEYS) })
const wait = fc.boolean()
const operations = fc.subarray<FaultyOperation>(['get', 'put', 'delete', 'clear'], { minLength: 1 })

function verbs(tiers: number): { readonly weight: number; readonly arbitrary: fc.Arbitrary<Step> }[] {
  const without = tiers === 1 ? fc.constant<LeftOut>('none') : fc.oneof({ weight: 4, arbitrary: fc.constant<LeftOut>('none') }, { weight: 1, arbitrary: fc.constantFrom<LeftOut>('slowest', 'all but the slowest') })
  const onOneKey = { tenant, key, without, wait }
  const takesStale = fc.constantFrom<TakesStale>('never', 'never', 'at once', 'on error', 'in time', 'not even fresh')
  const fails = fc.oneof({ weight: 4, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) })
  return [
    { weight: 6, arbitrary: fc.record({ kind: fc.constantFrom('set' as const, 'set' as const, 'setStream' as const), ttl: fc.constantFrom(null, 3600, 5, 0), ...onOneKey }) },
    { weight: 8, arbitrary: fc.record({ kind: fc.constantFrom('get' as const, 'lookup' as const, 'has' as const, 'getMany' as const, 'getStream' as const), ...onOneKey }) },
    { weight: 3, arbitrary: fc.record({ kind: fc.constantFrom('delete' as const, 'delete' as const, 'expire' as const), ...onOneKey }) },
    { weight: 6, arbitrary: fc.record({ kind: fc.constantFrom('getOrCompute' as const, 'getOrCompute' as const, 'getOrComputeStream' as const), computeMs: fc.constantFrom(0, 20, 400), takesStale, fails, ...onOneKey }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('clear' as const), tenant, prefix: fc.constantFrom('', 'docs/', 'docs/a'), wait }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('pass' as const), ms: fc.constantFrom(1, 100, 1100, 6000) }) },
  ]
}

/** Random programs. Without faults the reference model can say exactly what every read returns. */
export function programs({ tiers, faults, restarts }: { readonly tiers: number; readonly faults: boolean; readonly restarts: boolean }): fc.Arbitrary<Step[]> {
  const tier = fc.nat({ max: tiers - 1 })
  const faulty = [
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('fault' as const), tier, fault: fc.constantFrom('hang' as const, 'hang-after' as const, 'refuse' as const, 'fail' as const, 'lose-answer' as const), operations }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('heal' as const), tier }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom('release' as const, 'drop' as const), tier }) },
  ]
  const restart = { weight: 1, arbitrary: fc.record({ kind: fc.constant('restart' as const) }) }
  return fc.array(fc.oneof(...verbs(tiers), ...(faults ? faulty : []), ...(restarts ? [restart] : [])), { minLength: 1, maxLength: 40, size: 'max' })
}
