import { expect, test } from '@jest/globals'
import { TieredCacheManager } from '@thermocline/core'
import { MemoryBackend } from '@thermocline/memory'
import { Faults, FakeClock } from '@thermocline/testkit'
import { afterwards } from '../support/afterwards.js'

function logged(): { cache: TieredCacheManager; faults: Faults; warnings: string[] } {
  const warnings: string[] = []
  const faults = new Faults()
  const cache = new TieredCacheManager({
    tiers: { hot: { backend: new MemoryBackend(), layers: [faults.layer] } },
    clock: new FakeClock(),
    logger: { info: () => undefined, warn: (message) => warnings.push(message) },
  })
  afterwards(() => {
    faults.heal()
    return cache.close()
  })
  return { cache, faults, warnings }
}

test.each(['access-denied', 'misconfigured', 'bucket-missing', 'wrong-region', 'clock-skew'] as const)('what only a person can mend is logged at the first call, once: %s', async (code) => {
  const { cache, faults, warnings } = logged()
  faults.inject({ fail: code })
  for (let call = 0; call < 3; call++) expect(await cache.tenant('acme').getOrCompute('k', () => call)).toBe(call)
  expect(warnings).toEqual([expect.stringMatching(/^thermocline: tier hot \(memory\): /)])
})

test('a tier that cannot be reached is left out of both, and the log says so', async () => {
  const { cache, faults, warnings } = logged()
  faults.inject({ fail: 'unavailable' })
  await cache.tenant('acme').get('k')
  expect(warnings).toEqual([expect.stringMatching(/tier hot \(memory\) is degraded, reads and writes are left out until it recovers/)])
})

test('a tier that takes no writes is still read, and the log says so', async () => {
  const { cache, faults, warnings } = logged()
  faults.inject({ fail: 'storage-full' }, 'put')
  await cache.tenant('acme').set('k', 1)
  expect(warnings).toEqual([expect.stringMatching(/tier hot \(memory\) is degraded, writes are left out until it recovers/)])
})
