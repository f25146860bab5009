import { expect, test } from '@jest/globals'
import { TieredCacheManager } from '@thermocline/core'
import { MemoryBackend } from '@thermocline/memory'
import { FakeClock } from '@thermocline/testkit'

test('an answer is computed again after an hour', async () => {
  const clock = new FakeClock()
  const cache = new TieredCacheManager({ tiers: { hot: { backend: new MemoryBackend() } }, defaultTtl: '1h', clock })
  const acme = cache.tenant('acme')
  let computed = 0
  const read = (): Promise<number> => acme.getOrCompute('answer', () => ++computed)

  expect([await read(), await read()]).toEqual([1, 1])
  await clock.advance(3_600_000)
  expect(await read()).toBe(2)
  await cache.close()
})
