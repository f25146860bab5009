import { describe, expect, jest, test } from '@jest/globals'
import {
  CacheError,
  WrappedBackend,
  type Awaitable,
  type CacheBackend,
  type CacheEntry,
  type OperationOptions,
  type ReadOptions,
  type TenantScope,
  type ValidKey,
} from '@thermocline/backend'
import { TieredCacheManager, type TenantCache } from '@thermocline/core'
import { MemoryBackend } from '@thermocline/memory'
import { FenceTable } from '../src/flights/fence.js'

/** Counts what it is asked, and fails as it is told. */
class Counting extends WrappedBackend {
  readonly asked = { get: 0, getMany: 0 }
  broken: (keys: readonly string[]) => CacheError | undefined = () => undefined
  /** Whether it fails to delete. */
  refuses = false

  override delete(scope: TenantScope, keys: readonly ValidKey[], options: OperationOptions): Awaitable<number | undefined> {
    return this.refuses ? Promise.reject(new CacheError('failed', 'not now', { operation: 'delete' })) : super.delete(scope, keys, options)
  }

  override get(scope: TenantScope, key: ValidKey, options: ReadOptions): Awaitable<CacheEntry | undefined> {
    this.asked.get++
    const error = this.broken([key])
    if (error !== undefined) throw error
    return super.get(scope, key, options)
  }

  override getMany(scope: TenantScope, keys: readonly ValidKey[], options: ReadOptions): Awaitable<readonly (CacheEntry | undefined)[]> {
    this.asked.getMany++
    const error = this.broken(keys)
    if (error !== undefined) throw error
    return super.getMany(scope, keys, options)
  }
}

function rig(): { cache: TieredCacheManager; fast: Counting; slow: Counting } {
  let fast!: Counting
  let slow!: Counting
  const fastLayer = (inner: CacheBackend): CacheBackend => (fast = new Counting(inner))
  const slowLayer = (inner: CacheBackend): CacheBackend => (slow = new Counting(inner))
  const cache = new TieredCacheManager({
    tiers: { fast: { backend: new MemoryBackend(), layers: [fastLayer] }, slow: { backend: new MemoryBackend(), layers: [slowLayer] } },
    policies: { a: {}, b: { tiers: { fast: false } } },
    logger: false,
  })
  return { cache, fast, slow }
}

const names = (count: number, prefix = 'a/'): string[] => Array.from({ length: count }, (_, i) => `${prefix}${i}`)

describe('getMany', () => {
  test('asks each tier once for what the faster ones do not have, and promotes', async () => {
    const { cache, fast, slow } = rig()
    const acme = cache.tenant('acme')
    for (const key of names(10)) await acme.set(key, key)
    for (const key of names(5)) await acme.set(key, key, { tiers: { fast: false } })
    expect([...(await acme.getMany([...names(10), 'a/nothing'])).keys()]).toEqual(names(10))
    expect([fast.asked, slow.asked]).toEqual([{ get: 0, getMany: 1 }, { get: 0, getMany: 1 }])
    await acme.getMany(names(10))
    expect(slow.asked.getMany).toBe(1) // all were promoted
    expect(await acme.stats()).toMatchObject({ hits: 20, misses: 1, tiers: { fast: { hits: 15, misses: 6, promotions: 5 }, slow: { hits: 5, misses: 1 } } })
    await cache.close()
  })

  test('asks for keys of several policies by each policy', async () => {
    const { cache, fast, slow } = rig()
    const acme = cache.tenant('acme')
    for (const key of [...names(3), ...names(3, 'b/')]) await acme.set(key, key)
    expect((await acme.getMany([...names(3), ...names(3, 'b/')])).size).toBe(6)
    expect([fast.asked.getMany, slow.asked.getMany]).toEqual([1, 1])
    await cache.close()
  })

  test('one key that cannot be read spoils none of the others', async () => {
    const { cache, fast } = rig()
    const acme = cache.tenant('acme')
    for (const key of names(4)) await acme.set(key, key)
    const errors: unknown[] = []
    cache.on('error', ({ error }) => errors.push(error))
    fast.broken = (keys) => (keys.includes('a/2') ? new CacheError('failed', 'one bad key', { operation: 'get' }) : undefined)
    const found = await acme.getMany(names(4))
    expect([...found.keys()]).toEqual(names(4)) // the slow tier has it
    expect(fast.asked).toEqual({ get: 4, getMany: 1 })
    expect(errors.length).toBeGreaterThan(0)
    await cache.close()
  })

  test('a tier that cannot be reached is asked once and passed over', async () => {
    const { cache, fast } = rig()
    const acme = cache.tenant('acme')
    for (const key of names(4)) await acme.set(key, key)
    fast.broken = () => new CacheError('unavailable', 'gone', { operation: 'get' })
    expect((await acme.getMany(names(4))).size).toBe(4)
    expect(fast.asked).toEqual({ get: 0, getMany: 1 })
    await cache.close()
  })

  test('a tier is not asked for the keys whose removal it owes', async () => {
    const { cache, slow } = rig()
    const acme = cache.tenant('acme')
    for (const key of names(4)) await acme.set(key, 'old', { tiers: { fast: false } })
    slow.refuses = true
    await acme.delete('a/2')
    expect([...(await acme.getMany(names(4))).keys()]).toEqual(['a/0', 'a/1', 'a/3'])
    slow.refuses = false
    await acme.delete('a/2')
    expect([...(await acme.getMany(names(4))).keys()]).toEqual(['a/0', 'a/1', 'a/3'])
    await cache.close()
  })

  const INVALIDATIONS: readonly (readonly [name: string, invalidate: (acme: TenantCache) => Promise<unknown>, gone: readonly string[]])[] = [
    ['a set', (acme) => acme.set('a/1', 'new', { tiers: { fast: false } }), ['a/1']],
    ['a delete', (acme) => acme.delete('a/1'), ['a/1']],
    ['a clear', (acme) => acme.clear('a/1'), ['a/1', 'a/10', 'a/11']],
  ]

  test.each(INVALIDATIONS)('promotes nothing that %s has invalidated meanwhile, and all the rest', async (_name, invalidate, gone) => {
    const { cache, acme, slow } = slowly()
    for (const key of names(12)) await acme.set(key, 'old', { tiers: { fast: false } })
    const reading = acme.getMany(names(12))
    await slow.asked
    await invalidate(acme)
    slow.answer()
    expect((await reading).size).toBe(12)
    expect(names(12).filter((key) => acme.peek(key) === undefined)).toEqual(gone)
    await cache.close()
  })

  test.each(INVALIDATIONS)('promotes nothing of what %s under way covers', async (_name, invalidate, gone) => {
    const { cache, acme, slow } = slowly()
    for (const key of names(12)) await acme.set(key, 'old', { tiers: { fast: false } })
    slow.holdWrites()
    const invalidating = invalidate(acme)
    const reading = acme.getMany(names(12))
    await slow.asked
    slow.answer()
    expect((await reading).size).toBe(12)
    expect(names(12).filter((key) => acme.peek(key) === undefined)).toEqual(gone)
    slow.letWrite()
    await invalidating
    await cache.close()
  })
})

describe('the fence of a getMany', () => {
  test('is closed when it has ended', async () => {
    const opened = jest.spyOn(FenceTable.prototype, 'openWide')
    const closed = jest.spyOn(FenceTable.prototype, 'closeWide')
    try {
      const { cache } = rig()
      const acme = cache.tenant('acme')
      for (const key of names(4)) await acme.set(key, key)
      await acme.getMany(names(4))
      expect(opened).toHaveBeenCalledTimes(1)
      expect(closed.mock.calls.map(([fence]) => fence)).toContain(opened.mock.results[0]?.value)
      await cache.close()
    } finally {
      opened.mockRestore()
      closed.mockRestore()
    }
  })
})

/** A tier whose answers and writes wait. */
class Slow extends WrappedBackend {
  answer!: () => void
  letWrite: () => void = () => undefined
  #told!: () => void
  readonly asked = new Promise<void>((resolve) => (this.#told = resolve))
  readonly #answered = new Promise<void>((resolve) => (this.answer = resolve))
  #writing = Promise.resolve()

  override get capabilities(): CacheBackend['capabilities'] {
    return { ...super.capabilities, synchronous: false }
  }

  holdWrites(): void {
    this.#writing = new Promise((resolve) => (this.letWrite = resolve))
  }

  override async getMany(scope: TenantScope, keys: readonly ValidKey[], options: ReadOptions): Promise<readonly (CacheEntry | undefined)[]> {
    const found = await super.getMany(scope, keys, options)
    this.#told()
    await this.#answered
    return found
  }

  override async put(...args: Parameters<CacheBackend['put']>): Promise<boolean> {
    await this.#writing
    return super.put(...args)
  }

  override async delete(...args: Parameters<CacheBackend['delete']>): Promise<number | undefined> {
    await this.#writing
    return super.delete(...args)
  }

  override async clear(...args: Parameters<CacheBackend['clear']>): Promise<number | undefined> {
    await this.#writing
    return super.clear(...args)
  }
}

function slowly(): { cache: TieredCacheManager; acme: TenantCache; slow: Slow } {
  let slow!: Slow
  const layer = (inner: CacheBackend): CacheBackend => (slow = new Slow(inner))
  const cache = new TieredCacheManager({ tiers: { fast: { backend: new MemoryBackend() }, slow: { backend: new MemoryBackend(), layers: [layer] } }, logger: false })
  return { cache, acme: cache.tenant('acme'), slow }
}
