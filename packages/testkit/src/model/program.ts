import fc from 'fast-check'
import type { FaultyOperation } from '../faults.js'

/** One step of a random program. `wait`: the next step begins when this one has resolved. */
export type Step =
  | { readonly kind: 'set' | 'setStream'; readonly tenant: string; readonly key: string; readonly ttl: number | null; readonly wait: boolean }
  | { readonly kind: 'get' | 'lookup' | 'has' | 'delete' | 'getMany' | 'getStream'; readonly tenant: string; readonly key: string; readonly wait: boolean }
  | { readonly kind: 'getOrCompute' | 'getOrComputeStream'; readonly tenant: string; readonly key: string; readonly computeMs: number; readonly wait: boolean }
  | { readonly kind: 'clear'; readonly tenant: string; readonly prefix: string; readonly wait: boolean }
  | { readonly kind: 'fault'; readonly tier: number; readonly fault: 'hang' | 'hang-after' | 'refuse' | 'fail' | 'lose-answer'; readonly operations: readonly FaultyOperation[] }
  | { readonly kind: 'heal'; readonly tier: number }
  | { readonly kind: 'release'; readonly tier: number }
  | { readonly kind: 'drop'; readonly tier: number }
  | { readonly kind: 'pass'; readonly ms: number }

export const TENANTS = ['acme', 'globex'] as const
/** Few keys, so that steps meet; two share a prefix. */
export const KEYS = ['docs/a', 'docs/b', 'x'] as const

// mostly one key of one tenant: bugs live where steps meet
const tenant = fc.oneof({ weight: 5, arbitrary: fc.constant(TENANTS[0]) }, { weight: 1, arbitrary: fc.constant(TENANTS[1]) })
const key = fc.oneof({ weight: 4, arbitrary: fc.constant(KEYS[0]) }, { weight: 1, arbitrary: fc.constantFrom(...KEYS) })
const wait = fc.boolean()
const operations = fc.subarray<FaultyOperation>(['get', 'put', 'delete', 'clear'], { minLength: 1 })

const verbs = [
  { weight: 6, arbitrary: fc.record({ kind: fc.constantFrom('set' as const, 'set' as const, 'setStream' as const), tenant, key, ttl: fc.constantFrom(null, 3600, 5, 0), wait }) },
  { weight: 8, arbitrary: fc.record({ kind: fc.constantFrom('get' as const, 'lookup' as const, 'has' as const, 'getMany' as const, 'getStream' as const), tenant, key, wait }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('delete' as const), tenant, key, wait }) },
  { weight: 6, arbitrary: fc.record({ kind: fc.constantFrom('getOrCompute' as const, 'getOrCompute' as const, 'getOrComputeStream' as const), tenant, key, computeMs: fc.constantFrom(0, 20, 400), wait }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('clear' as const), tenant, prefix: fc.constantFrom('', 'docs/', 'docs/a'), wait }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('pass' as const), ms: fc.constantFrom(1, 100, 1100, 6000) }) },
]

/** Random programs. Without faults the reference model can say exactly what every read returns. */
export function programs(tiers: number, faults: boolean): fc.Arbitrary<Step[]> {
  const tier = fc.nat({ max: tiers - 1 })
  const faulty = [
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('fault' as const), tier, fault: fc.constantFrom('hang' as const, 'hang-after' as const, 'refuse' as const, 'fail' as const, 'lose-answer' as const), operations }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('heal' as const), tier }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom('release' as const, 'drop' as const), tier }) },
  ]
  return fc.array(fc.oneof(...verbs, ...(faults ? faulty : [])), { minLength: 1, maxLength: 40, size: 'max' })
}
