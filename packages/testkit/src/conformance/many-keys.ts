import assert from 'node:assert/strict'
import type { CacheEntry } from '@thermocline/backend'
import { plain } from '../bench.js'
import { someOf, WEIRD_KEYS } from '../key-corpus.js'
import type { Check } from './check.js'

/** Several keys asked for at once. */
export function manyKeysChecks(check: Check, many: number): void {
  check('answers in the order of the keys, misses included', async (bench) => {
    for (const name of ['a', 'b', 'd']) await bench.put(name, `value of ${name}`)
    const entries = await bench.getMany(['d', 'c', 'a', 'b', 'a'])
    assert.deepEqual(entries.map((entry) => (entry === undefined ? undefined : bench.valueOf(entry))), ['value of d', undefined, 'value of a', 'value of b', 'value of a'])
    assert.deepEqual(await bench.getMany([]), [])
  })
  check('takes hundreds of keys, weird ones, and small beside large', async (bench) => {
    const names = [...someOf(WEIRD_KEYS, many), ...Array.from({ length: Math.min(300, many) }, (_, i) => `key-${i}`)]
    await Promise.all(names.map((name) => bench.put(name, name)))
    const large = Buffer.alloc(600_000, 7)
    await bench.put('large', large)
    for (let round = 0; round < 2; round++) {
      const entries = await bench.getMany([...names, 'large'])
      assert.deepEqual(entries.slice(0, -1).map((entry) => entry && bench.valueOf(entry)), names)
      assert.ok(large.equals(bench.valueOf(entries.at(-1) as CacheEntry) as Buffer))
    }
  })
  check('reads heads without payloads', async (bench) => {
    await bench.put('k', 'x'.repeat(50_000), { details: { metadata: { a: 'b' } } })
    const [head, miss] = await bench.getMany(['k', 'nothing'], 'head')
    assert.deepEqual(plain(head?.details), { metadata: { a: 'b' } })
    assert.equal(miss, undefined)
    if (bench.backend.capabilities.keeps === 'bytes') assert.equal(head?.encoded, undefined, 'the payload was not read')
  })
}
