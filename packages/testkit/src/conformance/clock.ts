import assert from 'node:assert/strict'
import { systemClock, type Clock } from '@thermocline/backend'
import { HOUR_MS } from '../bench.js'
import type { Check } from './check.js'

const DAY_MS = 24 * HOUR_MS

/** Whether a life is over is judged by the host's clock: the machine's may be another, as in a test with a fake clock. */
export function clockChecks(check: Check): void {
  for (const [where, ms] of [['ahead of', DAY_MS], ['behind', -DAY_MS]] as const) {
    const clock = shifted(ms)
    check(`a host's clock a day ${where} the machine's decides what is over`, async (bench) => {
      await bench.put('live', 1, { keepUntil: bench.now + HOUR_MS })
      await bench.put('over', 1, { keepUntil: bench.now - HOUR_MS })
      assert.equal((await bench.got('live')).keepUntil, bench.now + HOUR_MS)
      const over = await bench.get('over')
      assert.ok(over === undefined || over.keepUntil < bench.now)
      assert.ok((await bench.keys('')).includes('live'))
      const deleted = await bench.remove('live', 'over')
      assert.ok(deleted === 1 || deleted === undefined, `1 or unknown, not ${deleted}`)
    }, { clock })
    check(`a host's clock a day ${where} the machine's decides what is absent`, async (bench) => {
      await bench.put('live', 'old', { keepUntil: bench.now + HOUR_MS })
      await bench.put('over', 'old', { keepUntil: bench.now - HOUR_MS })
      assert.equal(await bench.put('live', 'new', { onlyIfAbsent: true }), false)
      assert.equal(await bench.put('over', 'new', { onlyIfAbsent: true }), true)
      assert.deepEqual(await Promise.all(['live', 'over'].map(async (name) => bench.valueOf(await bench.got(name)))), ['old', 'new'])
    }, { clock })
  }
}

function shifted(ms: number): Clock {
  return {
    now: () => systemClock.now() + ms,
    recent: () => systemClock.recent() + ms,
    monotonic: () => systemClock.monotonic(),
    schedule: (after, callback, options) => systemClock.schedule(after, callback, options),
    afterPendingIo: (callback) => systemClock.afterPendingIo(callback),
  }
}
