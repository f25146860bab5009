import { describe, expect, test } from '@jest/globals'
import { CacheError, type ClearOptions } from '@thermocline/backend'
import { TieredCacheManager, type TenantCache } from '@thermocline/core'
import { ManualClock } from './support/manual-clock.js'
import { ScriptedBackend } from './support/scripted-backend.js'

interface Cleared {
  readonly prefix: string
  readonly only: ClearOptions['only']
}

/** A store that is away at first, and what it was asked to clear. */
function owing(): { clock: ManualClock; acme: TenantCache; cache: TieredCacheManager; cleared: Cleared[]; comeBack: () => void } {
  const clock = new ManualClock()
  const store = new ScriptedBackend()
  const cleared: Cleared[] = []
  let away = true
  store.answer = (operation) => (away ? Promise.reject(new CacheError('unavailable', 'away', { operation })) : Promise.resolve(operation === 'put' ? true : undefined))
  store.clear = (_scope, prefix, options: ClearOptions) => {
    cleared.push({ prefix, only: options.only })
    return store.answer('clear', options) as Promise<undefined>
  }
  const cache = new TieredCacheManager({ tiers: { store: { backend: store } }, clock, logger: false })
  return { clock, acme: cache.tenant('acme'), cache, cleared, comeBack: () => (away = false) }
}

const owed = async (cache: TieredCacheManager): Promise<unknown> => (await cache.stats()).tiers['store']?.pendingInvalidations

describe('clears that a tier owes', () => {
  test('are carried out with one pass, however many they are, and remove nothing else', async () => {
    const { clock, acme, cache, cleared, comeBack } = owing()
    await acme.get('a')
    for (let at = 0; at < 20_000; at++) await acme.clear(`videos/${at}/`)
    expect(await owed(cache)).toBe(20_000)
    cleared.length = 0
    comeBack()
    await clock.advance(5000)
    expect(await owed(cache)).toBe(0)
    expect(cleared).toHaveLength(1)
    const [{ prefix, only }] = cleared as [Cleared]
    expect(prefix).toBe('videos/')
    expect(['videos/7/frames', 'videos/19999/', 'videos/20000/x', 'videos/7'].map((key) => only?.(key))).toEqual([true, true, false, false])
    await cache.close()
  })

  test('are looked up as fast when there are 20,000 as when there is one', async () => {
    const { acme, cache } = owing()
    await acme.get('a')
    const look = async (): Promise<number> => {
      const startedAt = performance.now()
      for (let at = 0; at < 200; at++) await acme.get(`other/${at}`)
      return performance.now() - startedAt
    }
    await acme.clear('videos/one/')
    await look()
    const few = await look()
    for (let at = 0; at < 20_000; at++) await acme.clear(`videos/${at}/`)
    const many = await look()
    expect(many).toBeLessThan(few * 20 + 50) // in turn it was 2.4 ms for each
    await cache.close()
  })

  test('one that is owed anew while it is carried out is carried out again', async () => {
    const { clock, acme, cache, cleared, comeBack } = owing()
    await acme.get('a')
    await acme.clear('a/')
    await acme.clear('b/')
    comeBack()
    await clock.advance(5000)
    expect(cleared.at(-1)?.prefix).toBe('')
    await acme.set('a/1', 1)
    await acme.clear('a/')
    expect(cleared.at(-1)).toEqual({ prefix: 'a/', only: undefined })
    await cache.close()
  })
})
