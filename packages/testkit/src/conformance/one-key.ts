import assert from 'node:assert/strict'
import { inspect } from 'node:util'
import { HOUR_MS, key, plain } from '../bench.js'
import { EXACT_VALUES, sameValue } from '../values.js'
import type { Check } from './check.js'

/** One entry: what was put is what is found. */
export function oneKeyChecks(check: Check): void {
  check('a miss is undefined', async (bench) => {
    assert.equal(await bench.get('nothing'), undefined)
  })
  check('what was put is found, with its instants, tags and metadata', async (bench) => {
    const createdAt = bench.now
    const expiresAt = createdAt + HOUR_MS
    const details = { tags: ['red', 'grün'], metadata: { source: 'käse', empty: '' }, staleMs: 1000, fence: 7 }
    assert.equal(await bench.put('k', { a: 1 }, { createdAt, expiresAt, details, computeMicros: 1500 }), true)
    const entry = await bench.get('k')
    assert.ok(entry !== undefined)
    assert.deepEqual(bench.valueOf(entry), { a: 1 })
    assert.equal(entry.createdAt, createdAt)
    assert.equal(entry.expiresAt, expiresAt)
    assert.equal(entry.keepUntil, expiresAt)
    assert.equal(entry.computeMicros, 1500)
    assert.deepEqual(plain(entry.details), details)
  })
  check('an entry without an end keeps having none', async (bench) => {
    await bench.put('k', 1, { expiresAt: Number.POSITIVE_INFINITY })
    assert.equal((await bench.get('k'))?.expiresAt, Number.POSITIVE_INFINITY)
  })
  check('a keepUntil before the end is kept beside it and clamps nothing else', async (bench) => {
    const expiresAt = bench.now + HOUR_MS
    await bench.put('k', 1, { expiresAt, keepUntil: bench.now + 1000 })
    const entry = await bench.get('k')
    assert.equal(entry?.expiresAt, expiresAt)
    assert.equal(entry.keepUntil, bench.now + 1000)
  })
  check('a later put replaces the entry whole', async (bench) => {
    await bench.put('k', 'a much longer first value', { details: { metadata: { a: 'b' } } })
    await bench.put('k', 'second')
    const entry = await bench.get('k')
    assert.equal(entry === undefined ? undefined : bench.valueOf(entry), 'second')
    assert.equal(entry?.details?.metadata, undefined)
  })
  check('a put of what is over leaves nothing to be served', async (bench) => {
    await bench.put('k', 'old')
    assert.equal(await bench.put('k', 'over', { keepUntil: bench.now - 1 }), true)
    const entry = await bench.get('k')
    assert.ok(entry === undefined || entry.keepUntil < bench.now)
  })
  check('a head has the instants and metadata', async (bench) => {
    await bench.put('k', 'x'.repeat(100_000), { details: { metadata: { a: 'b' } } })
    const head = await bench.backend.get(bench.scope, key('k'), { want: 'head', touch: false })
    assert.deepEqual(plain(head?.details), { metadata: { a: 'b' } })
    assert.equal(head?.expiresAt, bench.now + HOUR_MS)
    if (bench.backend.capabilities.keeps === 'bytes') assert.equal(head?.encoded, undefined, 'the payload was not read')
  })
  for (const [name, make] of EXACT_VALUES) {
    check(`${name} comes back as it went in`, async (bench) => {
      await bench.put('k', make())
      const entry = await bench.get('k')
      assert.ok(entry !== undefined, 'stored, so not a miss')
      assert.ok(sameValue(bench.valueOf(entry), make()), `got ${inspect(bench.valueOf(entry))} instead of ${inspect(make())}`)
    })
  }
  check('payloads of many sizes come back to the byte', async (bench) => {
    for (const size of [0, 1, 4095, 4096, 16_000, 16_384, 65_536, 3_000_001]) {
      const bytes = Buffer.alloc(size, size % 251)
      if (size > 0) bytes[size - 1] = 255
      if (await bench.put(`size-${size}`, bytes)) assert.ok(bytes.equals(bench.valueOf(await bench.got(`size-${size}`)) as Buffer), `${size} bytes`)
    }
  })
  check('a payload above the stated limit is refused and leaves nothing', async (bench) => {
    const limit = bench.backend.capabilities.maxPayloadBytes as number
    assert.equal(await bench.put('k', Buffer.alloc(limit + 1)), false)
    assert.equal(await bench.get('k'), undefined)
  }, { needs: ['payload limit'] })
}
