import path from 'node:path'
import { describe, expect, test } from '@jest/globals'
import { TieredCacheManager, type ListedEntry, type TenantCache } from '@thermocline/core'
import { FileSystemBackend } from '@thermocline/fs'
import { MemoryBackend } from '@thermocline/memory'
import { Faults } from '@thermocline/testkit'
import { afterwards, temporaryDirectory } from '../support/afterwards.js'
import { withRig } from '../support/rig.js'
import { until } from '../support/servers/until.js'

const KEYS = ['a', 'b', 'c', 'd']

interface Stack {
  readonly acme: TenantCache
  readonly warm: Faults
  readonly cold: Faults
}

/** A disk, and another directory as the slow tier that is written back to. */
function writtenBack(): Stack {
  const basePath = temporaryDirectory()
  const warm = new Faults()
  const cold = new Faults()
  const cache = new TieredCacheManager({
    tiers: {
      warm: { backend: new FileSystemBackend({ basePath: path.join(basePath, 'warm') }), layers: [warm.layer] },
      cold: { backend: new FileSystemBackend({ basePath: path.join(basePath, 'cold') }), layers: [cold.layer] },
    },
    policies: { default: { tiers: { cold: { write: 'back' } } } },
    logger: false,
  })
  afterwards(async () => {
    for (const faults of [warm, cold]) {
      faults.heal()
      faults.release()
    }
    await cache.close()
  })
  return { acme: cache.tenant('acme'), warm, cold }
}

async function listed(acme: TenantCache, tier: string, prefix = ''): Promise<ListedEntry[]> {
  const entries: ListedEntry[] = []
  for await (const entry of acme.list(prefix, { detail: true })) if (entry.tier === tier) entries.push(entry)
  return entries
}

/** What a tier lists is what it answers a `get` with, each once. */
async function expectAgreement(acme: TenantCache, tier: 'warm' | 'cold', expected: readonly string[]): Promise<void> {
  const only = tier === 'cold' ? { tiers: { warm: false } } : {}
  const answered: string[] = []
  for (const key of KEYS) if ((await acme.get(key, only)) !== undefined) answered.push(key)
  const keys = (await listed(acme, tier)).map(({ key }) => key).sort()
  expect({ answered, keys }).toEqual({ answered: expected, keys: expected })
}

describe('a list agrees with get', () => {
  test('on copies that are still to be written back', async () => {
    const { acme, cold } = writtenBack()
    await acme.set('a', 'there')
    await acme.set('b', 'replaced', { ttl: '1h' })
    await until('both are there', async () => (await acme.stats()).writeBack.pending === 0)
    cold.inject({ fail: 'failed' }, 'put')
    await acme.set('b', 'newer', { ttl: '5h' })
    await acme.set('c', 'new')
    await expectAgreement(acme, 'cold', ['a', 'b', 'c'])
    expect(await acme.get('b', { tiers: { warm: false } })).toBe('newer')
    const [b] = await listed(acme, 'cold', 'b')
    expect(b?.expiresAt).toBeGreaterThan(Date.now() + 4 * 3_600_000)
    await acme.delete('c')
    await expectAgreement(acme, 'cold', ['a', 'b'])
    await acme.clear('b')
    await expectAgreement(acme, 'cold', ['a'])
  })

  test('while a set is under way that what is queued is older than', async () => {
    const { acme, warm, cold } = writtenBack()
    cold.inject({ fail: 'failed' }, 'put')
    await acme.set('a', 'queued')
    await acme.set('b', 'queued')
    const held = warm.inject('hang', 'put')
    const setting = acme.set('a', 'newer')
    await expectAgreement(acme, 'cold', ['b'])
    held.heal()
    held.release()
    await setting
  })

  test('on what a tier still owes', async () => {
    const { acme, cold } = writtenBack()
    for (const key of KEYS) await acme.set(key, key, { tiers: { cold: true } })
    cold.inject({ fail: 'failed' }, 'delete').inject({ fail: 'failed' }, 'clear')
    await acme.delete('a')
    await acme.clear('d')
    await expectAgreement(acme, 'cold', ['b', 'c'])
  })

  test.each([
    ['nothing can be reached', undefined, ['b', 'c']],
    ['writes are refused', 'put', ['a', 'b', 'c']],
  ] as const)('on a fallback, while %s', async (_, operation, expected) => {
    await withRig('fs', { tier: { warm: { fallback: new MemoryBackend() } } }, async (rig) => {
      const { acme } = rig
      await acme.set('a', 'before')
      await acme.set('b', 'before')
      const faults = rig.faultsOf('warm')
      if (operation === undefined) faults.inject({ fail: 'unavailable' })
      else faults.inject({ fail: 'storage-full' }, operation)
      for (let n = 0; n < 6; n++) await acme.set('c', n)
      expect((await rig.cache.stats()).tiers.warm?.state).toBe('degraded')
      await acme.set('b', 'meanwhile')
      await expectAgreement(acme, 'warm', [...expected])
      expect((await listed(acme, 'warm')).map(({ tier }) => tier)).toEqual(expected.map(() => 'warm'))
      expect(acme.peek('b')).toBe('meanwhile') // it is in memory
      await acme.delete('b')
      expect(acme.peek('b')).toBeUndefined()
      await expectAgreement(acme, 'warm', expected.filter((key) => key !== 'b'))
    })
  })
})
