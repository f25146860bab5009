import { describe, expect, test } from '@jest/globals'
import { Invalidation, validateKey, validateTenant } from '@thermocline/backend'
import { MemoryBackend } from '@thermocline/memory'
import { Faults } from '@thermocline/testkit'
import fc from 'fast-check'
import { Engine } from '../src/manager/engine.js'
import { applyFromElsewhere } from '../src/invalidation/invalidate.js'
import { TenantCache } from '../src/manager/tenant-cache.js'
import { afterwards } from '../../../test/support/afterwards.js'

const text = fc.string({ unit: fc.constantFrom('a', 'b', '/'), minLength: 1, maxLength: 4 })
const invalidations = fc.oneof(text.map((key) => Invalidation.ofKey(validateKey(key))), fc.string({ unit: fc.constantFrom('a', 'b', '/'), maxLength: 3 }).map((prefix) => Invalidation.ofPrefix(prefix)))

describe('what an invalidation covers', () => {
  test('a key covers itself alone, a prefix what begins with it', () => {
    const key = Invalidation.ofKey(validateKey('a/b'))
    expect(['a/b', 'a/', 'a/b/c', 'a'].map((each) => key.covers(each))).toEqual([true, false, false, false])
    const prefix = Invalidation.ofPrefix('a/')
    expect(['a/b', 'a/', 'a', 'b/a/'].map((each) => prefix.covers(each))).toEqual([true, true, false, false])
    expect(Invalidation.ofPrefix('').covers('anything')).toBe(true)
  })

  test('two meet when there is a key that both cover', () => {
    fc.assert(
      fc.property(invalidations, invalidations, (one, other) => {
        const longest = [one, other].map(({ key, prefix }) => key ?? `${prefix}a`).sort((a, b) => b.length - a.length)[0] as string
        const inCommon = [longest, one.key, other.key, one.prefix, other.prefix].some((key) => key !== undefined && key !== '' && one.covers(key) && other.covers(key))
        expect([one.meets(other), other.meets(one)]).toEqual([inCommon, inCommon])
      }),
    )
  })
})

describe('what another process has invalidated', () => {
  /** Memory of its own above a store that it shares. */
  function setUp(): { engine: Engine; acme: TenantCache; shared: MemoryBackend; faults: Faults } {
    const shared = new MemoryBackend()
    Object.defineProperty(shared, 'capabilities', { value: { ...shared.capabilities, shared: true, synchronous: false } })
    const faults = new Faults()
    const engine = new Engine({ tiers: { own: { backend: new MemoryBackend() }, shared: { backend: shared, layers: [faults.layer] } }, logger: false })
    afterwards(() => engine.close())
    return { engine, acme: new TenantCache(engine, engine.tenants.of(validateTenant('acme'))), shared, faults }
  }

  test.each([
    ['a key', Invalidation.ofKey(validateKey('a/1'), 'elsewhere'), ['b']],
    ['a prefix', Invalidation.ofPrefix('a/', 'elsewhere'), ['b']],
  ])('%s leaves the tiers of this process, and the shared ones are not touched', async (_, invalidation, left) => {
    const { engine, acme, faults } = setUp()
    for (const key of ['a/1', 'b']) await acme.set(key, 'old')
    faults.inject({ fail: 'failed' }, 'delete').inject({ fail: 'failed' }, 'clear')
    await applyFromElsewhere(engine, engine.tenants.of(validateTenant('acme')), invalidation)
    expect(['a/1', 'b'].filter((key) => acme.peek(key) !== undefined)).toEqual(left)
    expect(await acme.get('a/1')).toBe('old') // from the shared tier, which the other process has seen to
    expect(engine.unfinished.owed).toBe(0)
  })

  test('a compute that began before stores nothing in this process', async () => {
    const { engine, acme } = setUp()
    let finish = (_value: string): void => undefined
    const computed = acme.getOrCompute('k', () => new Promise<string>((resolve) => (finish = resolve)))
    await new Promise(setImmediate)
    await applyFromElsewhere(engine, engine.tenants.of(validateTenant('acme')), Invalidation.ofKey(validateKey('k'), 'elsewhere'))
    finish('old')
    expect(await computed).toBe('old')
    expect(acme.peek('k')).toBeUndefined()
  })
})
