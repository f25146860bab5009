import { pbkdf2 } from 'node:crypto'
import { promisify } from 'node:util'
import { expect, test } from '@jest/globals'
import { TieredCacheManager } from '@thermocline/core'
import { FileSystemBackend } from '@thermocline/fs'
import { temporaryDirectory } from '../../../test/support/afterwards.js'

const hash = promisify(pbkdf2)

/** How many rounds a thread of the pool computes in a millisecond. */
async function roundsPerMs(): Promise<number> {
  const startedAt = performance.now()
  await hash('a', 'b', 20_000, 32, 'sha512')
  return 20_000 / (performance.now() - startedAt)
}

/** Keeps every thread of the pool for about so long. */
async function keepThreads(ms: number, perMs: number): Promise<void> {
  await Promise.all(Array.from({ length: 8 }, () => hash('a', 'b', Math.ceil((perMs * ms) / 2), 32, 'sha512')))
}

// a call to the disk has steps: the pool may be full before the first one, or become so between two of them
test.each([100, 0, -1])('a thread pool that the application keeps busy is not the disk\'s fault, filled %i ms before', async (before) => {
  const cache = new TieredCacheManager({ tiers: { disk: { backend: new FileSystemBackend({ basePath: temporaryDirectory() }), budget: '300ms' } }, logger: false })
  const acme = cache.tenant('acme')
  const said: unknown[] = []
  for (const event of ['degraded', 'error'] as const) cache.on(event, ({ error }) => said.push(error?.message))
  await acme.set('k', 'v')
  const perMs = await roundsPerMs()
  await new Promise((resolve) => setTimeout(resolve, 60)) // nothing of before is asked of the pool any more
  const calls = async (): Promise<unknown[]> => Promise.all([acme.get('k'), acme.set('other', 1), acme.delete('none'), acme.getOrCompute('c', () => 2)])
  const all = before < 0 ? calls() : undefined
  const busy = keepThreads(1500, perMs)
  if (before > 0) await new Promise((resolve) => setTimeout(resolve, before))
  expect((await (all ?? calls()))[0]).toBe('v')
  await busy
  expect(await acme.get('other')).toBe(1)
  expect(await acme.get('c')).toBe(2)
  expect(said).toEqual([])
  await cache.close()
}, 60_000)
