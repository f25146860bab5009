import { TieredCacheManager } from '@thermocline/core'
import { MemoryBackend } from '@thermocline/memory'
import { FakeClock } from '@thermocline/testkit'
import { expect, test, vi } from 'vitest'

test('an answer is computed again after an hour', async () => {
  const clock = new FakeClock()
  const cache = new TieredCacheManager({ tiers: { hot: { backend: new MemoryBackend() } }, defaultTtl: '1h', clock })
  const compute = vi.fn(() => 42)
  const read = (): Promise<number> => cache.tenant('acme').getOrCompute('answer', compute)

  expect([await read(), await read()]).toEqual([42, 42])
  expect(compute).toHaveBeenCalledTimes(1)
  await clock.advance(3_600_000)
  await read()
  expect(compute).toHaveBeenCalledTimes(2)
  await cache.close()
})
