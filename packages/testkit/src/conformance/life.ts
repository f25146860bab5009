import assert from 'node:assert/strict'
import type { CacheBackend } from '@thermocline/backend'
import { Bench } from '../bench.js'
import { someOf, WEIRD_KEYS } from '../key-corpus.js'
import type { Check } from './check.js'
import { expectErrorsOfTheCache } from './every-verb.js'

/** Stats, several managers, the end, and what comes after it. */
export function lifeChecks(check: Check, many: number): void {
  const weird = someOf(WEIRD_KEYS, many)
  check('stats are numbers or unknown', async (bench) => {
    await bench.put('k', 'value')
    for (const stats of [await bench.backend.stats(), await bench.backend.stats(bench.scope)]) {
      for (const value of [stats.entries, stats.bytes]) assert.ok(value === undefined || (Number.isInteger(value) && value >= 0))
    }
  })
  check('serves two managers and ends with the last', async (bench) => {
    const detach = bench.backend.attach({ ...bench.host })
    await bench.put('k', 'value')
    detach()
    await bench.backend[Symbol.asyncDispose]()
    assert.equal(bench.valueOf(await bench.got('k')), 'value')
  })
  check('closing twice is harmless', async (bench) => {
    await bench.put('k', 'value')
    await bench.close()
    await bench.backend[Symbol.asyncDispose]()
  })
  check('after the end nothing hangs, and what fails is an error of the cache', async (bench) => {
    await bench.put('k', 'value')
    await bench.detach()
    await expectErrorsOfTheCache(bench, 'after the end')
  })
  check('a durable store is still there after reopening', async (bench) => {
    for (const name of weird) await bench.put(name, `value of ${name}`)
    await bench.detach()
    const reopened = new Bench({ backend: await (bench.subject.reopen as () => Promise<CacheBackend>)() })
    for (const name of weird) assert.equal(reopened.valueOf(await reopened.got(name)), `value of ${name}`)
    await reopened.close()
  }, { needs: ['reopening'] })
}
