import assert from 'node:assert/strict'
import { isCacheError, systemClock } from '@thermocline/backend'
import { Bench, key } from '../bench.js'
import { WEIRD_KEYS } from '../key-corpus.js'
import type { Check } from './check.js'

/** Longer than any budget. */
const HANGS_MS = 15_000

/** Stats, several managers, the end, and what comes after it. */
export function lifeChecks(check: Check): void {
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
    const { backend, scope } = bench
    const read = { want: 'payload', touch: true } as const
    const uses: Readonly<Record<string, () => unknown>> = {
      get: () => backend.get(scope, key('k'), read),
      getMany: () => backend.getMany(scope, [key('k'), key('other')], read),
      put: () => bench.put('k', 'later'),
      delete: () => backend.delete(scope, [key('k')], {}),
      clear: () => backend.clear(scope, '', {}),
      list: () => bench.keys(''),
      stats: () => backend.stats(),
    }
    for (const [name, use] of Object.entries(uses)) {
      let cancel = (): void => undefined
      const late = new Promise<never>((_, reject) => (cancel = systemClock.schedule(HANGS_MS, () => reject(new assert.AssertionError({ message: `${name} hangs after the end` })))))
      try {
        await Promise.race([(async () => use())(), late])
      } catch (error) {
        assert.ok(isCacheError(error), `${name} fails after the end with ${String(error)}`)
      } finally {
        cancel()
      }
    }
  })
  check('a durable store is still there after reopening', async (bench) => {
    if (!bench.backend.capabilities.durable || bench.subject.reopen === undefined) return
    for (const name of WEIRD_KEYS) await bench.put(name, `value of ${name}`)
    await bench.detach()
    const reopened = new Bench({ backend: await bench.subject.reopen() })
    for (const name of WEIRD_KEYS) assert.equal(reopened.valueOf(await reopened.got(name)), `value of ${name}`)
    await reopened.close()
  })
}
