import path from 'node:path'
import { describe, expect, test } from '@jest/globals'
import { TenantScope, validateTenant, WrappedBackend, type CacheBackend } from '@thermocline/backend'
import { TieredCacheManager, type TenantCache } from '@thermocline/core'
import { FileSystemBackend } from '@thermocline/fs'
import { MemoryBackend } from '@thermocline/memory'
import { FakeClock, Faults } from '@thermocline/testkit'
import { afterwards, temporaryDirectory } from '../../../test/support/afterwards.js'

const ACME = new TenantScope(validateTenant('acme'))

/** A store behind a network: what was sent may arrive ten seconds after its process has ended. */
class Far extends WrappedBackend {
  override get capabilities(): CacheBackend['capabilities'] {
    return { ...super.capabilities, synchronous: false, shared: true, landsWithinMs: 10_000 }
  }
}

interface Process {
  readonly clock: FakeClock
  readonly cache: TieredCacheManager
  readonly acme: TenantCache
  readonly far: Faults
}

interface World {
  /** What the far store has. */
  readonly store: MemoryBackend
  readonly start: () => Process
}

/** A disk that keeps what is owed, above a far store that outlives the processes. */
function world(): World {
  const directory = temporaryDirectory()
  const store = new MemoryBackend()
  const start = (): Process => {
    const clock = new FakeClock(Date.now())
    const far = new Faults()
    const cache = new TieredCacheManager({
      tiers: {
        disk: { backend: new FileSystemBackend({ basePath: path.join(directory, 'disk') }) },
        far: { backend: new Far(kept(store)), layers: [far.layer] },
      },
      clock,
      logger: false,
    })
    afterwards(async () => {
      far.heal()
      far.release()
      await ended(clock, cache.close())
    })
    return { clock, cache, acme: cache.tenant('acme'), far }
  }
  return { store, start }
}

/** Of which closing a manager does not end the store. */
function kept(store: MemoryBackend): CacheBackend {
  return new (class extends WrappedBackend {
    override async [Symbol.asyncDispose](): Promise<void> {}
  })(store)
}

async function ended<T>(clock: FakeClock, work: Promise<T>): Promise<T> {
  let isOver = false
  const watched = work.finally(() => (isOver = true))
  watched.catch(() => undefined)
  while (!isOver) await clock.advance(50)
  return watched
}

const FAR = { tiers: { disk: false } } as const
const owed = async ({ cache }: Process): Promise<number> => (await cache.stats()).tiers.far?.pendingInvalidations ?? 0

describe('what an earlier process owed to a store in which its requests may land late', () => {
  test.each(['delete', 'clear'] as const)('a %s', async (verb) => {
    const { start } = world()
    const first = start()
    first.far.inject('hang', 'put')
    await ended(first.clock, first.acme.set('k', 'old')) // given up, and on its way
    await ended<unknown>(first.clock, verb === 'delete' ? first.acme.delete('k') : first.acme.clear('k'))
    await ended(first.clock, first.cache.close({ deadline: '1s' }))

    const second = start()
    expect(await owed(second)).toBeGreaterThan(0)
    await second.clock.advance(3000)
    expect(await second.acme.get('k', FAR)).toBeUndefined()
    first.far.heal()
    first.far.release() // it arrives
    await second.clock.settle()
    expect(await second.acme.get('k', FAR)).toBeUndefined()
    await ended(second.clock, second.acme.set('k', 'new')) // what arrives even later might replace that
    expect(await second.acme.get('k', FAR)).toBeUndefined()
    expect(await second.acme.get('k')).toBe('new')
    for (let waitedMs = 0; (await owed(second)) > 0; waitedMs += 1000) {
      expect(waitedMs).toBeLessThan(30_000)
      await second.clock.advance(1000)
    }
    expect(await second.acme.get('k', FAR)).toBeUndefined()
    await ended(second.clock, second.acme.set('k', 'newer'))
    expect(await second.acme.get('k', FAR)).toBe('newer')
  })

  test('is removed at once, too, and as often as it takes: other processes are to read it no longer than they must', async () => {
    const { store, start } = world()
    const first = start()
    await ended(first.clock, first.acme.set('k', 'old'))
    first.far.inject('hang', 'put')
    await ended(first.clock, first.acme.set('k', 'given up'))
    await ended(first.clock, first.acme.delete('k'))
    await ended(first.clock, first.cache.close({ deadline: '1s' }))
    const second = start()
    second.far.inject({ fail: 'unavailable' }, 'delete')
    await second.clock.advance(2000)
    expect(store.stats(ACME).entries).toBe(1)
    second.far.heal()
    await second.clock.advance(5000)
    expect(store.stats(ACME).entries).toBe(0)
    expect(await owed(second)).toBe(1)
  })

  test('nothing that was called before, where a put was given up: what lands is removed', async () => {
    const { store, start } = world()
    const first = start()
    first.far.inject('hang', 'put')
    await ended(first.clock, first.acme.set('k', 'on its way'))
    const { owed: left } = await ended(first.clock, first.cache.close({ deadline: '1s' }))
    expect(left).toBeGreaterThan(0)
    const second = start()
    await second.clock.advance(1500)
    await ended(second.clock, second.acme.delete('k'))
    first.far.heal()
    first.far.release() // it arrives after the delete was answered
    await second.clock.settle()
    expect(await second.acme.get('k', FAR)).toBeUndefined()
    for (let waitedMs = 0; (await owed(second)) > 0; waitedMs += 1000) {
      expect(waitedMs).toBeLessThan(30_000)
      await second.clock.advance(1000)
    }
    expect(store.stats(ACME).entries).toBe(0)
  })

  test('a promotion that was given up, too', async () => {
    const { start } = world()
    const first = start()
    await ended(first.clock, first.acme.set('k', 'value', { tiers: { far: false } }))
    first.far.inject('hang', 'put')
    await ended(first.clock, first.acme.getOrCompute('computed', () => 1))
    await first.clock.advance(10_000)
    await ended(first.clock, first.cache.close({ deadline: '1s' }))
    const second = start()
    expect(await owed(second)).toBeGreaterThan(0)
    await ended(second.clock, second.acme.delete('computed'))
    first.far.heal()
    first.far.release()
    await second.clock.settle()
    expect(await second.acme.get('computed', FAR)).toBeUndefined()
  })

  test('is done with at once where nothing was under way', async () => {
    const { store, start } = world()
    const first = start()
    for (const key of ['deleted', 'a/1']) await ended(first.clock, first.acme.set(key, 'old'))
    first.far.inject({ fail: 'unavailable' })
    await ended(first.clock, first.acme.delete('deleted'))
    await ended(first.clock, first.acme.clear('a/'))
    await ended(first.clock, first.cache.close({ deadline: '1s' }))
    const second = start()
    expect(await owed(second)).toBe(2)
    await second.clock.advance(2000)
    expect(store.stats(ACME).entries).toBe(0)
    expect(await owed(second)).toBe(0)
  })

  test.each(['delete', 'clear'] as const)('a %s that this process owes as well is recorded by itself: the other one may be done with its own', async (verb) => {
    const { store, start } = world()
    const change = (process: Process): Promise<unknown> => ended<unknown>(process.clock, verb === 'delete' ? process.acme.delete('k') : process.acme.clear('k'))
    const first = start()
    await ended(first.clock, first.acme.set('k', 'old'))
    first.far.inject({ fail: 'unavailable' })
    await change(first)
    const second = start() // while the first one lives
    second.far.inject({ fail: 'unavailable' })
    await change(second)
    first.far.heal()
    await first.clock.advance(10_000) // it is done with what it owed
    expect(await owed(first)).toBe(0)
    await ended(first.clock, first.cache.close({ deadline: '1s' }))
    await ended(second.clock, second.cache.close({ deadline: '1s' }))
    const third = start()
    expect(await owed(third)).toBe(1)
    expect(store.stats(ACME).entries).toBe(0)
  })
})
