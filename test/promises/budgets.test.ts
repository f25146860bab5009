import { Readable } from 'node:stream'
import { describe, expect, test } from '@jest/globals'
import { TieredCacheManager, type TenantCache } from '@thermocline/core'
import { WrappedBackend, type CacheBackend, type CacheEntry, type TenantScope, type ValidKey } from '@thermocline/backend'
import { FileSystemBackend } from '@thermocline/fs'
import { MemoryBackend } from '@thermocline/memory'
import { FakeClock, Faults, type FaultyOperation } from '@thermocline/testkit'
import { afterwards, temporaryDirectory } from '../support/afterwards.js'

const BUDGET = 1000

/** A clock that says when somebody grants two turns of the event loop, because a budget is over. */
class GraceClock extends FakeClock {
  grace: () => void = () => undefined

  override afterPendingIo(callback: () => void): void {
    super.afterPendingIo(callback)
    this.grace()
  }
}

interface Bench {
  readonly cache: TieredCacheManager
  readonly acme: TenantCache
  readonly faults: Faults
  readonly clock: GraceClock
  /** What was told of the tier so far. */
  readonly told: string[]
  readonly tier: () => Promise<unknown>
}

function bench(backend: CacheBackend = new MemoryBackend()): Bench {
  const clock = new GraceClock(Date.now())
  const faults = new Faults()
  const cache = new TieredCacheManager({ tiers: { warm: { backend, layers: [faults.layer], budget: BUDGET / 1000 } }, clock, logger: false })
  const told: string[] = []
  cache.on('degraded', ({ circuit }) => told.push(`degraded ${circuit}`))
  cache.on('error', ({ operation, error }) => told.push(`${operation} ${error.code}`))
  afterwards(async () => {
    clock.grace = () => undefined
    faults.heal()
    faults.release()
    const closing = cache.close()
    await clock.advance(3000)
    await closing
  })
  const tier = async (): Promise<unknown> => {
    const { state, errors, keysInDoubt, pendingInvalidations } = (await cache.stats()).tiers['warm'] ?? {}
    return { state, errors, keysInDoubt, pendingInvalidations }
  }
  return { cache, acme: cache.tenant('acme'), faults, clock, told, tier }
}

const SOUND = { state: 'ok', errors: 0, keysInDoubt: 0, pendingInvalidations: 0 }

async function whole(stream: Readable | undefined): Promise<string | undefined> {
  if (stream === undefined) return undefined
  const chunks: Uint8Array[] = []
  for await (const chunk of stream) chunks.push(chunk as Uint8Array)
  return Buffer.concat(chunks).toString()
}

async function listed(acme: TenantCache): Promise<string[]> {
  const keys: string[] = []
  for await (const { key } of acme.list('')) keys.push(key)
  return keys.sort()
}

const VERBS: readonly (readonly [verb: string, hangs: FaultyOperation, call: (acme: TenantCache) => Promise<unknown>, answer: unknown])[] = [
  ['get', 'get', (acme) => acme.get('k'), 'v'],
  ['has', 'get', (acme) => acme.has('k'), true],
  ['lookup', 'get', async (acme) => (await acme.lookup('k')).status, 'fresh'],
  ['getMany', 'get', async (acme) => [...(await acme.getMany(['k', 'l'])).values()], ['v', 'w']],
  ['getOrCompute', 'get', (acme) => acme.getOrCompute('k', () => 'computed'), 'v'],
  ['getStream', 'get', (acme) => acme.getStream('k').then(whole), 'v'],
  ['getOrComputeStream', 'get', (acme) => acme.getOrComputeStream('k', () => [Buffer.from('computed')]).then(whole), 'v'],
  ['set', 'put', (acme) => acme.set('n', 'new'), undefined],
  ['setMany', 'put', (acme) => acme.setMany([['n', 'new'], ['o', 'new']]), undefined],
  ['setStream', 'put', (acme) => acme.setStream('n', [Buffer.from('new')]), undefined],
  ['a large setStream', 'put', (acme) => acme.setStream('n', [Buffer.alloc(100_000), Buffer.alloc(100_000)]), undefined],
  ['getOrCompute of a miss', 'put', (acme) => acme.getOrCompute('n', () => 'new'), 'new'],
  ['delete', 'delete', (acme) => acme.delete('k'), true],
  ['deleteMany', 'delete', (acme) => acme.deleteMany(['k', 'l']), 2],
  ['clear', 'clear', (acme) => acme.clear(), 2],
  ['list', 'list', listed, ['k', 'l']],
]

/** On memory and, but for listings, which go on reading the disk for many turns, on disk. */
const onEach = VERBS.flatMap(([verb, ...rest]) => [
  [verb, 'memory', () => new MemoryBackend(), ...rest] as const,
  ...(verb === 'list' ? [] : [[verb, 'a disk', () => new FileSystemBackend({ basePath: temporaryDirectory() }), ...rest] as const]),
])

describe('an answer that comes within two turns after its budget', () => {
  test.each(onEach)('of %s, from %s, counts: nothing is degraded, in doubt or owed', async (_verb, _kind, make, hangs, call, answer) => {
    const { acme, faults, clock, told, tier } = bench(make())
    await acme.setMany([['k', 'v'], ['l', 'w']])
    faults.inject('hang-after', hangs)
    const calling = call(acme)
    await clock.settle()
    expect(faults.hanging).toBeGreaterThan(0)
    let granted = 0
    clock.grace = () => {
      if (granted++ > 0) return
      faults.heal()
      faults.release()
    }
    await clock.advance(BUDGET)
    expect(granted).toBeGreaterThan(0)
    expect(await calling).toEqual(answer)
    await clock.settle()
    expect([told, await tier()]).toEqual([[], SOUND])
    if (hangs === 'put') expect(await acme.has('n')).toBe(true)
  })

  test.each(VERBS.filter(([verb]) => verb !== 'has' && verb !== 'lookup'))('of %s is waited for no longer', async (_verb, hangs, call) => {
    const { acme, faults, clock, told } = bench()
    await acme.setMany([['k', 'v'], ['l', 'w']])
    faults.inject('hang', hangs)
    let isOver = false
    const calling = call(acme).finally(() => (isOver = true))
    calling.catch(() => undefined)
    await clock.advance(BUDGET - 1)
    expect([isOver, told]).toEqual([false, []])
    await clock.advance(1)
    expect(isOver).toBe(true)
    expect(told).toContain(`degraded ${hangs === 'get' || hangs === 'list' ? 'read' : 'write'}`)
    faults.heal()
    faults.release()
    await clock.settle()
  })

  test('of a stream in its middle counts', async () => {
    const { acme, faults, clock, told, tier } = bench(new FileSystemBackend({ basePath: temporaryDirectory() }))
    const large = Buffer.alloc(300_000, 'large')
    await acme.set('k', large)
    faults.injectBody({ stall: true, afterBytes: 100_000 }, 'get')
    const reading = acme.getStream('k').then(whole)
    for (let i = 0; i < 200 && faults.hanging === 0; i++) await clock.settle()
    expect(faults.hanging).toBe(1)
    clock.grace = () => faults.release()
    await clock.advance(BUDGET)
    for (let i = 0; i < 20; i++) await clock.settle()
    expect((await reading)?.length).toBe(large.length)
    expect([told, await tier()]).toEqual([[], SOUND])
  })
})

/** Reads hang, each by itself. */
class Held extends WrappedBackend {
  readonly held = new Map<string, () => void>()

  override get(_scope: TenantScope, key: ValidKey): Promise<CacheEntry | undefined> {
    return new Promise((resolve) => this.held.set(key, () => resolve(undefined)))
  }
}

describe('operations under way at the same time', () => {
  test.each([['none', -1], ['the first', 0], ['the one between', 1], ['the last', 2]])('each have their own budget, also when %s is answered', async (_which, answered) => {
    const clock = new FakeClock()
    const store = new Held(new MemoryBackend())
    const cache = new TieredCacheManager({ tiers: { warm: { backend: new MemoryBackend(), layers: [() => store], budget: BUDGET / 1000 } }, clock, logger: false })
    const acme = cache.tenant('acme')
    const over: (number | undefined)[] = [undefined, undefined, undefined]
    const beganAt = clock.now()
    for (const at of [0, 1, 2]) {
      void acme.get(`k${at}`).then(() => (over[at] = clock.now() - beganAt))
      await clock.advance(100)
    }
    store.held.get(`k${answered}`)?.()
    await clock.advance(2000)
    expect(over).toEqual([0, 1, 2].map((at) => (at === answered ? 300 : BUDGET + at * 100)))
    for (const release of store.held.values()) release()
    const closing = cache.close()
    await clock.advance(3000)
    await closing
  })

  test('one that comes when nothing is under way any more has its own budget', async () => {
    const clock = new FakeClock()
    const store = new Held(new MemoryBackend())
    const cache = new TieredCacheManager({ tiers: { warm: { backend: new MemoryBackend(), layers: [() => store], budget: BUDGET / 1000 } }, clock, logger: false })
    const degraded: number[] = []
    cache.on('degraded', () => degraded.push(clock.now()))
    const acme = cache.tenant('acme')
    const first = acme.get('k1')
    await clock.advance(600)
    store.held.get('k1')?.()
    await first
    const beganAt = clock.now()
    const second = acme.get('k2')
    await clock.advance(BUDGET - 1)
    expect(degraded).toEqual([])
    await clock.advance(1)
    await second
    expect(degraded).toEqual([beganAt + BUDGET])
    for (const release of store.held.values()) release()
    const closing = cache.close()
    await clock.advance(3000)
    await closing
  })
})
