import assert from 'node:assert/strict'
import { HOUR_MS } from '../bench.js'
import { someOf, WEIRD_KEYS } from '../key-corpus.js'
import type { Check } from './check.js'

/** `list`. */
export function listingChecks(check: Check, many: number): void {
  const weird = someOf(WEIRD_KEYS, many)
  check('lists each key under the prefix once', async (bench) => {
    for (let i = 0; i < 300; i++) await bench.put(`${i % 3 === 0 ? 'in' : 'out'}/${i}`, i)
    const keys = await bench.keys('in/')
    assert.equal(keys.length, 100)
    assert.equal(new Set(keys).size, 100)
    assert.ok(keys.every((name) => name.startsWith('in/')))
  })
  check('tells size and end with detail', async (bench) => {
    await bench.put('k', Buffer.alloc(1000), { expiresAt: bench.now + HOUR_MS })
    await bench.put('for ever', Buffer.alloc(1000), { expiresAt: Number.POSITIVE_INFINITY })
    const infos = await bench.list('', 'info')
    assert.ok(infos.every(({ size }) => size !== undefined && size >= 1000))
    assert.equal(infos.find((info) => info.key === 'k')?.expiresAt, bench.now + HOUR_MS)
    assert.equal(infos.find((info) => info.key === 'for ever')?.expiresAt, Number.POSITIVE_INFINITY)
  })
  check('may be left early', async (bench) => {
    for (let i = 0; i < 100; i++) await bench.put(`k${i}`, i)
    let seen = 0
    for await (const _ of bench.backend.list(bench.scope, '', { detail: 'keys' })) if (++seen === 3) break
    assert.equal((await bench.keys('')).length, 100)
  })
  check('lists weird keys as they are', async (bench) => {
    for (const name of weird) await bench.put(name, 1)
    assert.deepEqual((await bench.keys('')).sort(), [...weird].sort())
  })
}
