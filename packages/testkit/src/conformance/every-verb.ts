import assert from 'node:assert/strict'
import { isCacheError, systemClock } from '@thermocline/backend'
import { type Bench, key } from '../bench.js'

/** Longer than any budget. */
const HANGS_MS = 15_000

/**
 * Calls every verb: none may hang, and what fails has to be a `CacheError`.
 *
 * @param when for the messages
 * @returns the verbs that failed
 */
export async function expectErrorsOfTheCache(bench: Bench, when: string): Promise<readonly string[]> {
  const { backend, scope } = bench
  const read = { want: 'payload', touch: true } as const
  const verbs: Readonly<Record<string, () => unknown>> = {
    get: () => backend.get(scope, key('k'), read),
    getMany: () => backend.getMany(scope, [key('k'), key('other')], read),
    put: () => bench.put('k', 'later'),
    delete: () => backend.delete(scope, [key('k')], {}),
    clear: () => backend.clear(scope, '', {}),
    list: () => bench.keys(''),
    stats: () => backend.stats(),
  }
  const failed: string[] = []
  for (const [name, verb] of Object.entries(verbs)) {
    let cancel = (): void => undefined
    const late = new Promise<never>((_, reject) => (cancel = systemClock.schedule(HANGS_MS, () => reject(new assert.AssertionError({ message: `${name} hangs ${when}` })))))
    try {
      await Promise.race([(async () => verb())(), late])
    } catch (error) {
      assert.ok(isCacheError(error), `${name} fails ${when} with ${String(error)}`)
      failed.push(name)
    } finally {
      cancel()
    }
  }
  return failed
}
