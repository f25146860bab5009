import assert from 'node:assert/strict'
import { Bench, type Subject } from '../bench.js'
import type { Check, Feature } from './check.js'
import { clockChecks } from './clock.js'
import { concurrencyChecks } from './concurrency.js'
import { damagedStreamChecks, failureChecks } from './failures.js'
import { FEATURES } from './features.js'
import { lifeChecks } from './life.js'
import { listingChecks } from './listing.js'
import { manyKeysChecks } from './many-keys.js'
import { nameChecks } from './names.js'
import { oneKeyChecks } from './one-key.js'
import { onlyIfAbsentChecks } from './only-if-absent.js'
import { removingChecks } from './removing.js'
import { spaceChecks } from './space.js'
import { streamChecks } from './streams.js'

/** The two functions of a test runner that the suite needs; jest, vitest, mocha and node:test have them. */
export interface TestRunner {
  readonly describe: (name: string, body: () => void) => void
  readonly test: ((name: string, body: () => Promise<void>) => void) & {
    /** For what does not apply: with {@link ConformanceOptions.without}. */
    readonly skip?: (name: string, body: () => Promise<void>) => void
  }
}

export interface ConformanceOptions {
  /** The adapter's name, for the titles. */
  readonly name: string
  /** Makes a new subject for each test. */
  readonly create: () => Promise<Subject> | Subject
  /** Default: the runner's globals. */
  readonly runner?: TestRunner | undefined
  /** How many keys and tenants the checks take that try many. Default 1,000, and all of the corpus; fewer where a slow store goes through the suite again in another way. */
  readonly many?: number | undefined
  /**
   * What this backend does not have, or this test cannot bring about: the checks of it are shown as skipped. What is not there has to stand here, and
   * what is there must not. Without a list, a check that does not apply passes.
   */
  readonly without?: readonly Feature[] | undefined
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
  const { many = 1000, without = [] } = options
  if (without.length > 0 && test.skip === undefined) throw new TypeError('describeBackend needs a runner whose test has skip, to show what does not apply')
  const check: Check = (title, body, { clock, needs = [] } = {}) => {
    const missing = needs.find((feature) => without.includes(feature))
    if (missing !== undefined) return test.skip?.(`${title} [does not apply: without ${missing}]`, () => Promise.resolve())
    test(title, async () => {
      const bench = new Bench(await options.create(), clock)
      try {
        for (const feature of needs) {
          if (await FEATURES[feature](bench)) continue
          assert.equal(options.without, undefined, `this needs ${feature}, which the subject does not have: if that is as it should be, add it to without`)
          return
        }
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
    describe('listing', () => listingChecks(check, many))
    describe('keys and tenants', () => nameChecks(check, many))
    describe('concurrency', () => concurrencyChecks(check))
    describe('streams, where the backend has them', () => {
      const ofStreams: Check = (title, body, { needs = [], ...given } = {}) => check(title, body, { ...given, needs: ['streams', ...needs] })
      streamChecks(ofStreams)
      damagedStreamChecks(ofStreams)
    })
    describe('room', () => spaceChecks(check))
    describe('damage and outages', () => failureChecks(check))
    describe('time', () => clockChecks(check))
    describe('living and ending', () => lifeChecks(check, many))
    if (without.length > 0) {
      check('is without what it says it is without', async (bench) => {
        const there: Feature[] = []
        for (const feature of without) if (await FEATURES[feature](bench)) there.push(feature)
        assert.deepEqual(there, [])
      })
    }
  })
}
