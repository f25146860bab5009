import fc from 'fast-check'
import type { PlannedCall } from '../history/plan.js'

/** What a manager has besides the shared store. */
export type Stack = 'memory' | 'memory and disk' | 'nothing'

/**
 * What goes wrong with a process, its connection or the store.
 *
 * - `silent`, `refused`, `slow`, `reset`: of its connection
 * - `stop`: the process stands still
 * - `kill`: it ends, and another one begins in its place
 * - `clock`: its clock jumps
 * - `evict`: the store forgets all lines; `trim`: the oldest messages; `flush`: everything
 * - `takeover`: another server takes over, which has not heard of what was written in the time before
 */
export type Trouble = 'silent' | 'refused' | 'slow' | 'reset' | 'stop' | 'kill' | 'clock' | 'evict' | 'trim' | 'flush' | 'takeover'

export type Step =
  | { readonly afterMs: number; readonly process: number; readonly call: PlannedCall }
  | { readonly afterMs: number; readonly process: number; readonly trouble: Trouble; readonly lastsMs: number }

/** What happens in a simulation, as it was drawn from a seed: processes, and what each is made to do when. */
export interface Schedule {
  readonly processes: number
  readonly stack: Stack
  /** Of how long messages take. */
  readonly seed: number
  readonly steps: readonly Step[]
}

function weighted<T>(pairs: readonly (readonly [number, T])[]): fc.Arbitrary<T> {
  return fc.oneof(...pairs.map(([weight, value]) => ({ weight, arbitrary: fc.constant(value) })))
}

const AFTER_MS = fc.oneof({ weight: 6, arbitrary: fc.integer({ min: 0, max: 8 }) }, { weight: 3, arbitrary: fc.integer({ min: 0, max: 80 }) }, { weight: 1, arbitrary: fc.integer({ min: 0, max: 3000 }) })
const PROCESS = fc.nat({ max: 2 })

// nearly always one key: faults live where calls meet
const CALL: fc.Arbitrary<PlannedCall> = fc.record({
  verb: weighted([[5, 'get'], [10, 'getOrCompute'], [2, 'getMany'], [1, 'lookup'], [1, 'has'], [2, 'peek'], [7, 'set'], [5, 'delete'], [1, 'clear'], [1, 'setMany']]),
  tenant: fc.constant('acme'),
  key: weighted([[6, 'a'], [1, 'b']]),
  keys: weighted([[2, ['a', 'b']], [1, ['a']]]),
  prefix: weighted([[2, ''], [1, 'a']]),
  without: weighted([[14, 'none'], [2, 'fastest'], [1, 'all but the slowest']]),
  ttlMs: weighted([[8, null], [1, 300], [1, 5000]]),
  form: fc.constant('text'),
  length: fc.constant(4),
  slowMs: weighted([[2, 0], [3, 4], [3, 30], [2, 400], [1, 2000]]),
  breaksOff: fc.constant(false),
})

const TROUBLE = weighted<Trouble>([[3, 'silent'], [3, 'refused'], [3, 'slow'], [3, 'reset'], [3, 'stop'], [3, 'kill'], [1, 'clock'], [1, 'evict'], [2, 'trim'], [1, 'flush'], [2, 'takeover']])
const LASTS_MS = fc.oneof({ weight: 3, arbitrary: fc.integer({ min: 1, max: 200 }) }, { weight: 2, arbitrary: fc.integer({ min: 200, max: 3000 }) }, { weight: 1, arbitrary: fc.integer({ min: 3000, max: 15_000 }) })

const STEP: fc.Arbitrary<Step> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ afterMs: AFTER_MS, process: PROCESS, call: CALL }) },
  { weight: 1, arbitrary: fc.record({ afterMs: AFTER_MS, process: PROCESS, trouble: TROUBLE, lastsMs: LASTS_MS }) },
)

/** Schedules, short ones among them. @param stacks which managers there are */
export function schedules(stacks: readonly Stack[]): fc.Arbitrary<Schedule> {
  return fc.record({
    processes: fc.integer({ min: 2, max: 3 }),
    stack: fc.constantFrom(...stacks),
    seed: fc.nat({ max: 1_000_000 }),
    steps: fc.array(STEP, { minLength: 3, maxLength: 40, size: 'max' }),
  })
}
