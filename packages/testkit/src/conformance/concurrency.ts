import assert from 'node:assert/strict'
import type { Check } from './check.js'

/** Much at the same time. */
export function concurrencyChecks(check: Check): void {
  check('a reader sees one whole value or another', async (bench) => {
    const values = Array.from({ length: 8 }, (_, i) => Buffer.alloc(60_000 + i, i))
    const writing = Promise.all(Array.from({ length: 40 }, (_, i) => bench.put('k', values[i % 8])))
    for (let i = 0; i < 40; i++) {
      const entry = await bench.get('k')
      if (entry === undefined) continue
      const seen = bench.valueOf(entry) as Buffer
      assert.ok(values.some((value) => value.equals(seen)), `a value of ${seen.length} bytes that nobody wrote`)
    }
    await writing
    assert.deepEqual(bench.failures, [])
  })
  check('many keys at once do not disturb each other', async (bench) => {
    const names = Array.from({ length: 200 }, (_, i) => `key-${i}`)
    await Promise.all(names.map((name) => bench.put(name, name)))
    const entries = await Promise.all(names.map((name) => bench.got(name)))
    assert.deepEqual(entries.map((entry) => bench.valueOf(entry)), names)
  })
}
