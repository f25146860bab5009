import assert from 'node:assert/strict'
import { systemClock } from '@thermocline/backend'
import { HOUR_MS, type Bench } from '../bench.js'
import { bytesOf, factsOf, patterned, streamOf } from '../streams.js'
import type { Check } from './check.js'
import { expectErrorsOfTheCache } from './every-verb.js'

/** A store may remove what is damaged after it has answered. */
const REMOVED_WITHIN_MS = 2000
const SIZES = [1, 300, 100_000]

/** A store whose data is damaged, and one that fails. */
export function failureChecks(check: Check): void {
  check('a payload that was damaged in the store is a miss, and is told', async (bench) => {
    for (const bytes of SIZES) {
      const name = `of ${bytes} bytes`
      await bench.put(name, patterned(bytes))
      await damage(bench, name)
      assert.equal(await bench.get(name), undefined, `${name}: what was never stored is not served`)
    }
    assert.deepEqual(bench.failures.map(({ code }) => code), SIZES.map(() => 'corrupt'))
  }, { needs: ['damage'] })
  check('beside others that are asked for at once, a damaged payload is a miss', async (bench) => {
    for (const name of ['a', 'b', 'c']) await bench.put(name, patterned(1000))
    await damage(bench, 'b')
    const entries = await bench.getMany(['a', 'b', 'c'])
    assert.deepEqual(entries.map((entry) => entry !== undefined), [true, false, true])
  }, { needs: ['damage'] })
  check('what is damaged is removed, and does not count as present', async (bench) => {
    await bench.put('k', patterned(1000, 1))
    await damage(bench, 'k')
    await bench.get('k')
    const until = systemClock.monotonic() + REMOVED_WITHIN_MS
    while (!(await bench.put('k', patterned(1000, 2), { onlyIfAbsent: true }))) {
      assert.ok(systemClock.monotonic() < until, 'it was not removed')
      await new Promise<void>((resolve) => void systemClock.schedule(10, resolve))
    }
    assert.ok(patterned(1000, 2).equals(bench.valueOf(await bench.got('k')) as Buffer))
  }, { needs: ['damage'] })
  check('while the store fails every verb fails with an error of the cache, or answers', async (bench) => {
    await bench.put('k', 'value')
    await bench.subject.fail?.()
    const failed = await expectErrorsOfTheCache(bench, 'while the store fails')
    assert.ok(failed.includes('put'), 'a put that is not carried out is not answered as one that is')
  }, { needs: ['outage'] })
}

/** For stores with streams: a reader learns of the damage before the end. */
export function damagedStreamChecks(check: Check): void {
  check('a stream that was damaged in the store fails before its end, or is a miss', async (bench) => {
    const bytes = patterned(300_000)
    assert.equal(await bench.putStream('k', streamOf([bytes], factsOf([bytes])), { expiresAt: bench.now + HOUR_MS }), true)
    await damage(bench, 'k')
    const entry = await bench.getStream('k')
    if (entry !== undefined) await assert.rejects(bytesOf(entry.payload))
  }, { needs: ['damage'] })
}

async function damage({ subject, scope }: Bench, name: string): Promise<void> {
  await subject.damage?.(scope.tenant, name)
}
