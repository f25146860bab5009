import { pbkdf2 } from 'node:crypto'
import { promisify } from 'node:util'
import { expect, test } from '@jest/globals'
import { TieredCacheManager } from '@thermocline/core'
import { FileSystemBackend } from '@thermocline/fs'
import { temporaryDirectory } from '../../../test/support/afterwards.js'

const hash = promisify(pbkdf2)

/** Keeps every thread of the pool for about so long. */
async function keepThreads(ms: number): Promise<void> {
  const startedAt = performance.now()
  await hash('a', 'b', 20_000, 32, 'sha512')
  const rounds = Math.ceil((20_000 * ms) / (performance.now() - startedAt))
  await Promise.all(Array.from({ length: 8 }, () => hash('a', 'b', Math.ceil(rounds / 2), 32, 'sha512')))
}

test('a thread pool that the application keeps busy is not the disk\'s fault', async () => {
  const cache = new TieredCacheManager({ tiers: { disk: { backend: new FileSystemBackend({ basePath: temporaryDirectory() }), budget: '300ms' } }, logger: false })
  const acme = cache.tenant('acme')
  const said: unknown[] = []
  for (const event of ['degraded', 'error'] as const) cache.on(event, ({ error }) => said.push(error?.message))
  await acme.set('k', 'v')
  const busy = keepThreads(1500)
  await new Promise((resolve) => setTimeout(resolve, 300)) // they are at it
  const all = Promise.all([acme.get('k'), acme.set('other', 1), acme.delete('none'), acme.getOrCompute('c', () => 2)])
  expect((await all)[0]).toBe('v')
  await busy
  expect(await acme.get('other')).toBe(1)
  expect(await acme.get('c')).toBe(2)
  expect(said).toEqual([])
  await cache.close()
}, 60_000)
