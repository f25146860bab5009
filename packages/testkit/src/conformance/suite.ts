import { Bench, type Subject } from '../bench.js'
import type { Check } from './check.js'
import { clockChecks } from './clock.js'
import { concurrencyChecks } from './concurrency.js'
import { lifeChecks } from './life.js'
import { listingChecks } from './listing.js'
import { manyKeysChecks } from './many-keys.js'
import { nameChecks } from './names.js'
import { oneKeyChecks } from './one-key.js'
import { onlyIfAbsentChecks } from './only-if-absent.js'
import { removingChecks } from './removing.js'
import { streamChecks } from './streams.js'

/** The two functions of a test runner that the suite needs; jest, vitest, mocha and node:test have them. */
export interface TestRunner {
  readonly describe: (name: string, body: () => void) => void
  readonly test: (name: string, body: () => Promise<void>) => void
}

export interface ConformanceOptions {
  /** The adapter's name, for the titles. */
  readonly name: string
  /** Makes a new subject for each test. */
  readonly create: () => Promise<Subject> | Subject
  /** Default: the runner's globals. */
  readonly runner?: TestRunner | undefined
  /** How many keys the checks take that try many. Default 1,000; fewer where a slow store goes through the suite again in another way. */
  readonly many?: number | undefined
}

/**
 * The conformance suite: what every backend promises its manager, whatever it stores in. An adapter's own test file is a call
 * of this, and the few things only it has. Run it again on every layer you wrap around it.
 */
export function describeBackend(options: ConformanceOptions): void {
  const runner = options.runner ?? (globalThis as unknown as TestRunner)
  if (typeof runner.describe !== 'function' || typeof runner.test !== 'function') {
    throw new TypeError('describeBackend needs a test runner: its globals describe and test, or { runner }')
  }
  const { describe, test } = runner
  const { many = 1000 } = options
  const check: Check = (title, body, clock) => {
    test(title, async () => {
      const bench = new Bench(await options.create(), clock)
      try {
        await body(bench)
      } finally {
        await bench.close()
      }
    })
  }

  describe(`${options.name} keeps the backend contract`, () => {
    describe('reading and writing', () => oneKeyChecks(check))
    describe('reading many at once', () => manyKeysChecks(check, many))
    describe('onlyIfAbsent', () => onlyIfAbsentChecks(check))
    describe('removing', () => removingChecks(check, many))
    describe('listing', () => listingChecks(check))
    describe('keys and tenants', () => nameChecks(check))
    describe('concurrency', () => concurrencyChecks(check))
    describe('streams, where the backend has them', () => {
      streamChecks((title, body) => {
        check(title, async (bench) => {
          if (bench.backend.capabilities.streams) await body(bench)
        })
      })
    })
    describe('time', () => clockChecks(check))
    describe('living and ending', () => lifeChecks(check))
  })
}
