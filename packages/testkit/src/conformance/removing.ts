import assert from 'node:assert/strict'
import { someOf, WEIRD_KEYS } from '../key-corpus.js'
import type { Check } from './check.js'

/** `delete` and `clear`. */
export function removingChecks(check: Check, many: number): void {
  check('delete removes and counts what was there', async (bench) => {
    await bench.put('a', 1)
    await bench.put('b', 2)
    const deleted = await bench.remove('a', 'b', 'c')
    assert.ok(deleted === 2 || deleted === undefined, `2 or unknown, not ${deleted}`)
    assert.equal(await bench.get('a'), undefined)
    assert.equal(await bench.get('b'), undefined)
  })
  check('delete does not count what was over', async (bench) => {
    await bench.put('a', 1, { keepUntil: bench.now - 1 })
    const deleted = await bench.remove('a')
    assert.ok(deleted === 0 || deleted === undefined, `0 or unknown, not ${deleted}`)
  })
  check('delete takes no keys, the same key twice, and many', async (bench) => {
    assert.ok([0, undefined].includes(await bench.remove()))
    await bench.put('twice', 1)
    assert.ok([1, undefined].includes(await bench.remove('twice', 'twice')))
    const names = Array.from({ length: many }, (_, i) => `many/${i}`)
    await Promise.all(names.map((name) => bench.put(name, 1)))
    assert.ok([many, undefined].includes(await bench.remove(...names)))
    assert.deepEqual(await bench.keys(''), [])
  })
  check('clear takes a plain string prefix', async (bench) => {
    const inside = ['docs/a', 'docs/b/c', 'docs-1', 'docs*', 'docs?', 'docs\u{10FFFF}', 'docs\u{10FFFF}x', 'docs\uffff']
    const outside = ['doc', 'Docs/a', 'a/docs/', 'dokcs/a']
    for (const name of [...inside, ...outside]) await bench.put(name, name)
    const cleared = await bench.backend.clear(bench.scope, 'docs', {})
    assert.ok(cleared === inside.length || cleared === undefined, `${inside.length} or unknown, not ${cleared}`)
    for (const name of inside) assert.equal(await bench.get(name), undefined, name)
    for (const name of outside) assert.equal(bench.valueOf(await bench.got(name)), name)
  })
  check('clear leaves what is not among those that are to go', async (bench) => {
    const long = `docs/${'x'.repeat(900)}`
    for (const name of ['docs/a/1', 'docs/b/1', 'docs/c', long, 'a/1']) await bench.put(name, name)
    await bench.backend.clear(bench.scope, 'docs/', { only: (key) => key.startsWith('docs/a/') || key === long })
    assert.deepEqual((await bench.keys('')).sort(), ['a/1', 'docs/b/1', 'docs/c'])
    await bench.backend.clear(bench.scope, '', { only: (key) => key.endsWith('1') })
    assert.deepEqual(await bench.keys(''), ['docs/c'])
  })
  check('clear takes no prefix for a pattern', async (bench) => {
    for (const name of ['*', 'a*b', 'axb', '[a]', 'a', '?', '{a}']) await bench.put(name, name)
    await bench.backend.clear(bench.scope, 'a*', {})
    assert.deepEqual((await bench.keys('')).sort(), ['*', '[a]', 'a', 'axb', '?', '{a}'].sort())
  })
  check('clear without a prefix removes everything, weird keys included', async (bench) => {
    for (const name of someOf(WEIRD_KEYS, many)) await bench.put(name, name)
    await bench.backend.clear(bench.scope, '', {})
    assert.deepEqual(await bench.keys(''), [])
  })
}
