import assert from 'node:assert/strict'
import type { EvictionReason } from '@thermocline/backend'
import type { Bench } from '../bench.js'
import type { Check } from './check.js'
import { roomOf } from './features.js'

/** What happens when there is no more room. */
export function spaceChecks(check: Check): void {
  check('what leaves for space is told, once each, and nothing else is', async (bench) => {
    const { payloads, bytes } = (await roomOf(bench)) as NonNullable<Awaited<ReturnType<typeof roomOf>>>
    const names = Array.from({ length: 2 * payloads }, (_, i) => `k${i}`)
    const stored: string[] = []
    for (const name of names) if (await bench.put(name, Buffer.alloc(bytes, name))) stored.push(name)
    const gone: string[] = []
    for (const name of stored) if ((await bench.get(name)) === undefined) gone.push(name)
    assert.ok(gone.length > 0, 'twice as much as there is room for does not fit')
    assert.deepEqual(told(bench, 'space', 'quota').sort(), gone.sort())
    const { entries, maxEntries, bytes: occupied, maxBytes } = await bench.backend.stats()
    if (maxEntries !== undefined && entries !== undefined) assert.ok(entries <= maxEntries, `${entries} entries where ${maxEntries} are the limit`)
    if (maxBytes !== undefined && occupied !== undefined) assert.ok(occupied <= maxBytes, `${occupied} bytes where ${maxBytes} are the limit`)
  }, { needs: ['room'] })
  check('what is deleted, cleared or replaced is not told as evicted', async (bench) => {
    for (const name of ['a', 'b', 'c']) await bench.put(name, name)
    await bench.put('a', 'another')
    await bench.remove('b')
    await bench.backend.clear(bench.scope, '', {})
    assert.deepEqual(bench.evictions, [])
  })
}

function told({ evictions }: Bench, ...reasons: readonly EvictionReason[]): string[] {
  return evictions.filter(({ reason }) => reasons.includes(reason)).map(({ key }) => key)
}
