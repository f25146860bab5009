import assert from 'node:assert/strict'
import { HOUR_MS } from '../bench.js'
import type { Check } from './check.js'

/** A put that must not touch what is there. */
export function onlyIfAbsentChecks(check: Check): void {
  check('stores where nothing is', async (bench) => {
    assert.equal(await bench.put('k', 'new', { onlyIfAbsent: true }), true)
    assert.equal(bench.valueOf(await bench.got('k')), 'new')
  })
  check('does not touch what is there', async (bench) => {
    await bench.put('k', 'old')
    assert.equal(await bench.put('k', 'new', { onlyIfAbsent: true }), false)
    assert.equal(bench.valueOf(await bench.got('k')), 'old')
  })
  check('replaces what may no longer be served', async (bench) => {
    await bench.put('k', 'old', { keepUntil: bench.now - 1 })
    assert.equal(await bench.put('k', 'new', { onlyIfAbsent: true }), true)
    assert.equal(bench.valueOf(await bench.got('k')), 'new')
  })
  check('replaces what is stale, at once or the next time', async (bench) => {
    await bench.put('k', 'old', { expiresAt: bench.now + HOUR_MS, details: { staleMs: 2 * HOUR_MS } })
    const isStored = await bench.put('k', 'new', { onlyIfAbsent: true })
    if (!isStored) assert.equal(await bench.put('k', 'new', { onlyIfAbsent: true }), true)
    assert.equal(bench.valueOf(await bench.got('k')), 'new')
  })
  check('does not touch what is still fresh before its stale window', async (bench) => {
    await bench.put('k', 'old', { expiresAt: bench.now + 2 * HOUR_MS, details: { staleMs: HOUR_MS } })
    assert.equal(await bench.put('k', 'new', { onlyIfAbsent: true }), false)
    assert.equal(bench.valueOf(await bench.got('k')), 'old')
  })
  check('leaves what is there also when the new entry is over already', async (bench) => {
    await bench.put('k', 'old')
    assert.equal(await bench.put('k', 'over', { onlyIfAbsent: true, keepUntil: bench.now - 1 }), false)
    assert.equal(bench.valueOf(await bench.got('k')), 'old')
    await bench.put('nothing', 'over', { onlyIfAbsent: true, keepUntil: bench.now - 1 }) // stored or not
    const entry = await bench.get('nothing')
    assert.ok(entry === undefined || entry.keepUntil < bench.now)
  })
  check('has one winner among many', async (bench) => {
    const outcomes = await Promise.all(Array.from({ length: 20 }, (_, i) => bench.put('k', `value ${i}`, { onlyIfAbsent: true })))
    assert.equal(outcomes.filter(Boolean).length, 1)
    assert.equal(bench.valueOf(await bench.got('k')), `value ${outcomes.indexOf(true)}`)
  })
}
