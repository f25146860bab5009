import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import { mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { CacheError } from '@thermocline/backend'
import type { TieredCacheManager, TieredCacheManagerOptions } from '@thermocline/core'
import { TieredCacheManager as Manager } from '@thermocline/core'
import { FileSystemBackend } from '@thermocline/fs'
import { MemoryBackend } from '@thermocline/memory'
import { FakeClock, SharedStore, type SharedBackend } from '@thermocline/testkit'
import { deferred, overShared } from '../support/processes.js'

/*
 * What a process believes of what it keeps itself, when it hears others, when it does not, and when it has missed something; and whose turn it is to
 * compute when a holder dies. With a fake clock, over a store in memory.
 */

let clock: FakeClock
let store: SharedStore
let backends: SharedBackend[]
let managers: TieredCacheManager[]

const open = (options: Partial<TieredCacheManagerOptions> = {}): ReturnType<TieredCacheManager['tenant']> => {
  const backend = store.backend()
  const manager = overShared(backend, { clock, ...options })
  backends.push(backend)
  managers.push(manager)
  return manager.tenant('acme')
}
const statuses = async (): Promise<string[]> => Promise.all(managers.map(async (manager) => (await manager.health()).coordination.status))

beforeEach(() => {
  clock = new FakeClock(Date.now())
  store = new SharedStore()
  backends = []
  managers = []
})
afterEach(async () => {
  for (const backend of backends) backend.heal()
  const closing = Promise.all(managers.map((manager) => manager.close()))
  await clock.advance(5000)
  await closing
})

describe('a process that does not hear others', () => {
  test('believes what it keeps for maxStaleness after it heard last, and again when it hears again', async () => {
    const [one, other] = [open({ defaultTtl: '1d' }), open({ defaultTtl: '1d' })]
    const events: string[] = []
    for (const name of ['blind', 'connected'] as const) managers[1]!.on(name, ({ tier }) => events.push(`${name} ${tier}`))
    await clock.settle()
    expect(await statuses()).toEqual(['connected', 'connected'])
    await one.set('k', 'v1')
    expect(await other.get('k')).toBe('v1')
    backends[1]!.cut()
    await one.set('k', 'v2')
    await clock.advance(45_000)
    expect(other.peek('k')).toBe('v1') // not told, and within what is allowed
    await clock.advance(15_000)
    expect(other.peek('k')).toBeUndefined()
    expect(await statuses()).toEqual(['connected', 'blind'])
    expect(events).toEqual(['connected shared', 'blind shared'].map((event) => event.replace('shared', 'hot')))
    backends[1]!.heal()
    await clock.advance(10_000)
    expect(await statuses()).toEqual(['connected', 'connected'])
    expect(events.at(-1)).toBe('connected hot')
    expect(await other.get('k')).toBe('v2')
  })

  test('goes on with what it did not need to forget', async () => {
    const [one, other] = [open({ defaultTtl: '1d' }), open({ defaultTtl: '1d' })]
    await clock.settle()
    for (const key of ['kept', 'changed']) await one.set(key, 'v1')
    expect([await other.get('kept'), await other.get('changed')]).toEqual(['v1', 'v1'])
    backends[1]!.cut()
    await one.set('changed', 'v2')
    await clock.advance(120_000)
    expect([other.peek('kept'), other.peek('changed')]).toEqual([undefined, undefined])
    backends[1]!.heal()
    await clock.advance(10_000)
    // it was told what it had missed: nothing else is given up
    expect([other.peek('kept'), other.peek('changed')]).toEqual(['v1', undefined])
  })

  test('serves what it computes itself for maxStaleness, and stores it nowhere else', async () => {
    const alone = open({ defaultTtl: '1d', coordination: { maxStaleness: '10s' } })
    await clock.settle()
    backends[0]!.cut()
    await clock.advance(30_000)
    let computes = 0
    const get = (): Promise<unknown> => alone.getOrCompute('k', () => ++computes)
    expect([await get(), await get()]).toEqual([1, 1])
    await clock.advance(8000)
    expect(await get()).toBe(1)
    await clock.advance(3000)
    expect(await get()).toBe(2)
    backends[0]!.heal()
    await clock.advance(5000)
    expect(await alone.get('k', { tiers: { near: false } })).toBeUndefined()
  })

  test('a beat that the store refuses is no beat', async () => {
    const [one] = [open({ coordination: { maxStaleness: '3s' } })]
    await clock.settle()
    // what it reads goes on, and nothing it says arrives: another server is the master
    const append = store.append.bind(store)
    store.append = () => {
      throw new Error('READONLY')
    }
    await one.get('k')
    await clock.advance(4000)
    expect(await statuses()).toEqual(['blind'])
    store.append = append
    await clock.advance(4000)
    expect(await statuses()).toEqual(['connected'])
  })
})

describe('a process that begins to hear', () => {
  test('stores nothing that it had begun before', async () => {
    const backend = store.backend()
    backend.cut()
    const manager = overShared(backend, { clock, defaultTtl: '1d' })
    backends.push(backend)
    managers.push(manager)
    const one = manager.tenant('acme')
    const other = open({ defaultTtl: '1d' })
    await clock.settle()
    const gate = deferred<string>()
    const computing = one.getOrCompute('k', () => gate.promise)
    await clock.advance(300)
    await other.delete('k')
    backend.heal()
    await clock.advance(5000)
    expect(await statuses()).toEqual(['connected', 'connected'])
    gate.resolve('old')
    expect(await computing).toBe('old')
    await clock.settle()
    expect(one.peek('k')).toBeUndefined()
  })
})

describe('a process that has missed something', () => {
  const losses: Record<string, () => void> = {
    'the log was trimmed': () => store.trim(1),
    'the log was lost and begun anew': () => store.flush(),
    'another server never heard of the end': () => store.loseLast(2),
  }
  for (const [what, lose] of Object.entries(losses)) {
    test(`believes nothing of what it kept before: ${what}`, async () => {
      const [one, other] = [open({ defaultTtl: '1d', coordination: { maxStaleness: '1d' } }), open({ defaultTtl: '1d', coordination: { maxStaleness: '1d' } })]
      await clock.settle()
      await one.set('k', 'v1')
      for (const key of ['a', 'b']) await one.set(key, 'v1')
      expect(await other.get('k')).toBe('v1')
      backends[1]!.cut()
      for (let n = 0; n < 5; n++) await one.set('k', `v2.${n}`)
      lose()
      const entries = new Map(store.entries)
      backends[1]!.heal()
      await clock.advance(2000)
      await one.set('c', 'more')
      await clock.advance(15_000)
      for (const [name, entry] of entries) store.entries.set(name, entry)
      expect(other.peek('k')).toBeUndefined()
      const gaps = await Promise.all(managers.map(async (manager) => ((await manager.health()).coordination as { gaps: number }).gaps))
      // who had not read what is gone is told again by who had said it
      expect(what.startsWith('another server') ? gaps[0] : gaps[1]).toBeGreaterThan(0)
      // and goes on: what it takes in from now on is believed
      expect(await other.getOrCompute('new', () => 'v')).toBe('v')
      expect(other.peek('new')).toBe('v')
      expect(await statuses()).toEqual(['connected', 'connected'])
    })
  }

  test('stores nothing that it had begun', async () => {
    const one = open({ coordination: { maxStaleness: '1d' } })
    await clock.settle()
    const gate = deferred<string>()
    const computing = one.getOrCompute('k', () => gate.promise)
    await clock.settle()
    store.flush()
    store.append({ id: 'x', text: JSON.stringify([1, 'beat', 'somebody']) })
    await clock.advance(3000)
    gate.resolve('old')
    expect(await computing).toBe('old')
    expect([one.peek('k'), store.entries.size]).toEqual([undefined, 0])
  })

  test('what it cannot read: foreign messages are passed over and counted, those of a newer version are a gap', async () => {
    const one = open({ defaultTtl: '1d' })
    await clock.settle()
    await one.set('k', 'v')
    const health = async (): Promise<unknown> => {
      const { gaps, foreign } = (await managers[0]!.health()).coordination as { gaps: number; foreign: number }
      return { gaps, foreign }
    }
    const garbage = ['', '{', 'null', '[]', '[1]', '["1","key"]', '[1,"key","by"]', '[1,"key","by","acme",""]', '[1,"key","by","acme","\\ud800"]', '[1,"begin","by","acme","x"]', '[0,"beat","by"]', JSON.stringify([1, 'key', 'by', 'acme', 'x'.repeat(20_000)])]
    for (const [n, text] of garbage.entries()) store.append({ id: `g${n}`, text })
    await clock.settle()
    expect(await health()).toEqual({ gaps: 0, foreign: garbage.length })
    expect(one.peek('k')).toBe('v')
    store.append({ id: 'newer', text: '[2,"tags","by","acme",["a"]]' })
    await clock.settle()
    expect(await health()).toEqual({ gaps: 1, foreign: garbage.length })
    expect(one.peek('k')).toBeUndefined()
  })
})

describe('whose turn it is', () => {
  test('who leaves from behind wakes nobody', async () => {
    const [one, other, third] = [open(), open(), open()]
    await clock.settle()
    const gate = deferred<string>()
    let computes = 0
    const compute = (): Promise<string> => (computes++, gate.promise)
    const first = one.getOrCompute('k', compute)
    await clock.settle()
    const second = other.getOrCompute('k', compute)
    const leaving = new AbortController()
    const left = third.getOrCompute('k', compute, { signal: leaving.signal })
    await clock.settle()
    leaving.abort(new Error('enough'))
    await expect(left).rejects.toThrow('enough')
    await clock.advance(2000)
    expect(computes).toBe(1)
    gate.resolve('v')
    expect(await Promise.all([first, second])).toEqual(['v', 'v'])
  })

  test('a place that came too late, or that was not used, is left', async () => {
    const [one, other] = [open(), open()]
    await clock.settle()
    const enter = backends[0]!.enter.bind(backends[0]!)
    const held = deferred<undefined>()
    backends[0]!.enter = async (...asked) => {
      await held.promise
      return enter(...asked)
    }
    const computing = one.getOrCompute('k', () => 'v')
    await clock.advance(6000)
    expect(await computing).toBe('v')
    held.resolve(undefined)
    await clock.advance(10_000)
    expect(store.lines.size).toBe(0)
    backends[0]!.enter = enter
    expect(await other.getOrCompute('uncached', (ctx) => (ctx.doNotCache(), 'v'))).toBe('v')
    await clock.settle()
    expect(store.lines.size).toBe(0)
  })

  test('a place that could not be left is, as soon as the store answers again', async () => {
    const [one, other] = [open(), open()]
    await clock.settle()
    const gate = deferred<string>()
    const computing = one.getOrCompute('k', () => gate.promise)
    await clock.settle()
    backends[0]!.cut()
    gate.resolve('alone')
    expect(await computing).toBe('alone')
    await clock.advance(500)
    expect(store.lines.size).toBe(1)
    // it has entered, and was not told so
    const enter = backends[0]!.enter.bind(backends[0]!)
    backends[0]!.heal()
    await clock.advance(3000)
    expect(store.lines.size).toBe(0)
    backends[0]!.enter = async (...asked) => {
      await enter(...asked)
      backends[0]!.cut()
      throw new CacheError('unavailable', 'the connection was lost', { operation: 'enter', backend: 'shared' })
    }
    expect(await one.getOrCompute('another', () => 'alone')).toBe('alone')
    backends[0]!.enter = enter
    expect(store.lines.size).toBe(1)
    const waiting = other.getOrCompute('another', () => 'computed')
    await clock.advance(400)
    backends[0]!.heal()
    await clock.advance(2000) // a lease is ten seconds
    expect(await waiting).toBe('computed')
  })

  test('a place that was given up while it was taken again is left', async () => {
    const [one, other] = [open(), open()]
    await clock.settle()
    const gate = deferred<string>()
    const slow = one.getOrCompute('k', () => gate.promise)
    await clock.settle()
    const leaving = new AbortController()
    const entered = deferred<undefined>()
    const enter = backends[1]!.enter.bind(backends[1]!)
    const waiting = other.getOrCompute('k', () => 'never', { signal: leaving.signal, lock: { wait: '1s' } })
    await clock.settle()
    backends[1]!.enter = async (...asked) => {
      await entered.promise
      return enter(...asked)
    }
    await clock.advance(1000) // it takes its place again, to compute
    leaving.abort(new Error('enough'))
    await expect(waiting).rejects.toThrow('enough')
    entered.resolve(undefined)
    await clock.advance(1000)
    expect([...store.lines.values()].flat()).toHaveLength(1)
    gate.resolve('v')
    expect(await slow).toBe('v')
  })

  test('what a refused value leaves to withdraw is not what this process has set since', async () => {
    const shared = store.backend()
    backends.push(shared)
    managers.push(new Manager({ tiers: { near: { backend: new MemoryBackend() }, hot: { backend: shared }, cold: { backend: new SharedStore().backend() } }, clock, logger: false }))
    const one = managers[0]!.tenant('acme')
    await clock.settle()
    const put = backends[0]!.put.bind(backends[0]!)
    const held = deferred<undefined>()
    backends[0]!.put = async (scope, key, entry, options) => {
      if (options.lease !== undefined) await held.promise
      return put(scope, key, entry, options)
    }
    const gate = deferred<string>()
    const computing = one.getOrCompute('k', () => gate.promise)
    await clock.settle()
    gate.resolve('computed')
    await clock.settle()
    const setting = one.set('k', 'set')
    held.resolve(undefined)
    await Promise.all([computing, setting])
    await clock.advance(500)
    expect(one.peek('k')).toBe('set')
  })

  test('a holder that has died delays others by a lease, and one of them takes its place', async () => {
    const [dead, one, other] = [open(), open(), open()]
    await clock.settle()
    const never = new Promise<never>(() => undefined)
    void dead.getOrCompute('k', () => never).catch(() => undefined)
    await clock.settle()
    backends[0]!.cut() // it renews nothing any more
    let computes = 0
    const compute = (): number => ++computes
    const waiting = [one.getOrCompute('k', compute), other.getOrCompute('k', compute)]
    await clock.advance(9000)
    expect(computes).toBe(0)
    await clock.advance(2500)
    expect(await Promise.all(waiting)).toEqual([1, 1])
    expect(computes).toBe(1)
  })

  test('a holder that lives is waited for, for as long as lock.wait', async () => {
    const [one, other] = [open(), open()]
    await clock.settle()
    const gate = deferred<string>()
    const slow = one.getOrCompute('k', () => gate.promise)
    await clock.settle()
    let computes = 0
    const waiting = other.getOrCompute('k', () => `computed ${++computes}`, { lock: { wait: '40s' } })
    await clock.advance(35_000)
    expect(computes).toBe(0)
    await clock.advance(6000)
    expect(await waiting).toBe('computed 1')
    gate.resolve('too late')
    expect(await slow).toBe('too late')
    await clock.settle()
    expect([await other.get('k'), await one.get('k')]).toEqual(['computed 1', 'computed 1'])
  })

  test('a holder whose event loop was blocked stores all the same, unless somebody has taken its place', async () => {
    const one = open()
    await clock.settle()
    const gate = deferred<string>()
    const slow = one.getOrCompute('k', () => gate.promise)
    await clock.advance(60_000)
    gate.resolve('late')
    expect(await slow).toBe('late')
    expect(await one.get('k', { tiers: { near: false } })).toBe('late')
  })

  test('lost lines are lost permissions: nothing is stored', async () => {
    const one = open()
    await clock.settle()
    const gate = deferred<string>()
    const computing = one.getOrCompute('k', () => gate.promise)
    await clock.settle()
    store.lines.clear()
    gate.resolve('v')
    expect(await computing).toBe('v')
    await clock.settle()
    expect([one.peek('k'), store.entries.size]).toEqual([undefined, 0])
  })

  test('a store that cannot be reached leaves each process to itself', async () => {
    const [one, other] = [open(), open()]
    await clock.settle()
    for (const backend of backends) backend.cut()
    let computes = 0
    expect([await one.getOrCompute('k', () => ++computes), await other.getOrCompute('k', () => ++computes)]).toEqual([1, 2])
    expect(await one.getOrCompute('k', () => ++computes)).toBe(1)
  })
})

describe('the option', () => {
  const tiers = (): TieredCacheManagerOptions['tiers'] => ({ near: { backend: new MemoryBackend() }, hot: { backend: new SharedStore().backend() } })
  test.each([
    [{ tier: 'nowhere' }, /coordination\.tier must be the name of a tier \(near, hot\), not the string "nowhere"/],
    [{ tier: 'near' }, /coordination\.tier names near, over which processes cannot agree/],
    [{ maxStaleness: '499ms' }, /coordination\.maxStaleness must be at least 500 ms, not 499 ms/],
    [{ maxStaleness: null }, /coordination\.maxStaleness/],
    [{ stale: 1 }, /coordination does not know the option stale/],
    ['on', /coordination must be 'auto', false or \{ tier, maxStaleness \}, not the string "on"/],
    [true, /coordination must be 'auto', false/],
  ])('%p is refused', (coordination, message) => {
    expect(() => new Manager({ tiers: tiers(), coordination: coordination as never, logger: false })).toThrow(message)
  })

  test.each([
    [{ lock: 1 }, /lock must be true, false or \{ wait \}, not the number 1/],
    [{ lock: { wait: 0 } }, /lock\.wait/],
    [{ lock: { waits: '1s' } }, /lock must be true, false or \{ wait \}/],
  ])('a policy with %p is refused', (policy, message) => {
    expect(() => new Manager({ tiers: tiers(), policies: { default: policy as never }, logger: false })).toThrow(message)
  })

  test('auto takes the first tier that can, and none where there is none', async () => {
    const alone = new Manager({ tiers: { near: { backend: new MemoryBackend() } }, coordination: 'auto', logger: false })
    expect((await alone.health()).coordination).toEqual({ status: 'off' })
    await alone.close()
    const one = new Manager({ tiers: tiers(), coordination: { tier: 'hot' }, logger: false })
    expect((await one.health()).coordination).toMatchObject({ tier: 'hot', gaps: 0 })
    await one.close()
  })
})

describe('a server that takes the place of another', () => {
  test('and has not heard of a change that nobody has read yet is told of it again', async () => {
    const [one, other] = [open({ defaultTtl: '1d' }), open({ defaultTtl: '1d' })]
    await clock.settle()
    await one.set('k', 'v1')
    expect(await other.get('k')).toBe('v1')
    const before = new Map(store.entries)
    // acknowledged, and gone before anybody has read it
    const append = store.append.bind(store)
    store.append = () => 'lost'
    await one.set('k', 'v2')
    store.append = append
    store.entries.clear()
    for (const [name, entry] of before) store.entries.set(name, entry)
    await clock.advance(25_000)
    expect([await one.get('k'), await other.get('k')]).toEqual([undefined, undefined])
    // what was told again is not told again and again
    await other.set('k', 'v3')
    store.trim(1)
    await clock.advance(50_000)
    expect(await other.get('k')).toBe('v3')
  })

  test('and has not heard of a clear that nobody has read yet is told of it again', async () => {
    const [one, other] = [open({ defaultTtl: '1d' }), open({ defaultTtl: '1d' })]
    await clock.settle()
    await one.set('docs/a', 'v1')
    expect(await other.get('docs/a')).toBe('v1')
    const before = new Map(store.entries)
    const append = store.append.bind(store)
    store.append = () => 'lost'
    await one.clear('docs/')
    store.append = append
    for (const [name, entry] of before) store.entries.set(name, entry)
    expect(await other.get('docs/a')).toBe('v1')
    await clock.advance(25_000)
    expect([await one.get('docs/a'), await other.get('docs/a')]).toEqual([undefined, undefined])
    await other.set('docs/a', 'v2')
    await clock.advance(50_000)
    expect([await one.get('docs/a'), other.peek('docs/a')]).toEqual(['v2', 'v2'])
  })

  test('and has not heard of a change is told of it again by whoever made it', async () => {
    const [one, other] = [open({ defaultTtl: '1d' }), open({ defaultTtl: '1d' })]
    await clock.settle()
    await one.set('k', 'v1')
    expect(await other.get('k')).toBe('v1')
    const before = new Map(store.entries)
    await one.set('k', 'v2')
    await clock.settle()
    // the change is gone, and others go on with the log as it was
    store.entries.clear()
    for (const [name, entry] of before) store.entries.set(name, entry)
    store.loseLast(1)
    expect(await other.get('k')).toBe('v1')
    await other.set('x', 'goes on') // in the place of what is gone
    await clock.advance(12_000)
    expect([await one.get('k'), await other.get('k')]).toEqual([undefined, undefined])
  })
})

describe('a disk of the process’s own', () => {
  let basePath: string
  beforeEach(async () => void (basePath = await mkdtemp(path.join(os.tmpdir(), 'thermocline-own-disk-'))))
  afterEach(() => rm(basePath, { recursive: true, force: true, maxRetries: 5 }))

  const onDisk = (): ReturnType<TieredCacheManager['tenant']> => {
    const backend = store.backend()
    const manager = new Manager({ tiers: { hot: { backend }, warm: { backend: new FileSystemBackend({ basePath }) } }, coordination: 'auto', defaultTtl: '1d', clock, logger: false })
    backends.push(backend)
    managers.push(manager)
    return manager.tenant('acme')
  }
  const end = async (at: number): Promise<void> => {
    const closing = managers[at]!.close()
    await clock.advance(100)
    await closing
    managers.splice(at, 1)
    backends.splice(at, 1)
  }
  const ON_DISK = { tiers: { hot: false } } as const
  const connected = async (): Promise<void> => {
    for (let n = 0; n < 50 && (await statuses()).includes('blind'); n++) await clock.advance(20)
    expect(await statuses()).not.toContain('blind')
  }

  test('keeps what nobody has changed while the process was away, and loses what somebody has', async () => {
    const before = onDisk()
    const other = open({ defaultTtl: '1d' })
    await connected()
    for (const key of ['kept', 'changed', 'docs/cleared']) await before.set(key, 'v1')
    await end(0)
    await other.set('changed', 'v2')
    await other.clear('docs/')
    const after = onDisk()
    await connected()
    expect([await after.get('kept', ON_DISK), await after.get('changed', ON_DISK), await after.get('docs/cleared', ON_DISK)]).toEqual(['v1', undefined, undefined])
    expect(await after.get('changed')).toBe('v2')
  })

  test('is not believed where what was said meanwhile is not known any more', async () => {
    const before = onDisk()
    const other = open({ defaultTtl: '1d' })
    await connected()
    await before.set('k', 'v1')
    await end(0)
    await other.set('k', 'v2')
    for (let n = 0; n < 5; n++) await other.set(`other ${n}`, n)
    store.trim(2)
    const after = onDisk()
    await connected()
    expect(await after.get('k', ON_DISK)).toBeUndefined()
    // what is taken in from now on is kept
    expect(await after.get('k')).toBe('v2')
    await managers.at(-1)!.flush()
  })

  test('is not believed where the log is another one', async () => {
    const before = onDisk()
    await connected()
    await before.set('k', 'v1')
    await end(0)
    store.flush()
    for (let n = 0; n < 20; n++) store.append({ id: `n${n}`, text: JSON.stringify([1, 'beat', 'somebody']) })
    const after = onDisk()
    await connected()
    expect(await after.get('k', ON_DISK)).toBeUndefined()
  })

  test('is shared by the processes of a machine', async () => {
    const [one, other] = [onDisk(), onDisk()]
    await connected()
    await one.set('k', 'v1')
    expect(await other.get('k', ON_DISK)).toBe('v1')
    await other.set('k', 'v2')
    await clock.settle()
    expect(await one.get('k')).toBe('v2')
    expect(await one.get('k', ON_DISK)).not.toBe('v1')
  })

  test('keeps what the process computes while it hears nobody, for maxStaleness', async () => {
    const alone = onDisk()
    await connected()
    backends[0]!.cut()
    await clock.advance(90_000)
    let computes = 0
    const get = (): Promise<unknown> => alone.getOrCompute('k', () => ++computes)
    expect([await get(), await get()]).toEqual([1, 1])
    await clock.advance(61_000)
    expect(await get()).toBe(2)
  })
})

describe('policies whose keys no other process reads', () => {
  test('go on as they were, whatever becomes of the others', async () => {
    const policies = { own: { tiers: { hot: false } } } as const
    const [one, other] = [open({ policies, defaultTtl: '1d' }), open({ policies, defaultTtl: '1d' })]
    await clock.settle()
    await one.set('own/k', 'one')
    await other.set('own/k', 'other')
    await clock.settle()
    expect([one.peek('own/k'), other.peek('own/k'), store.log.filter(({ text }) => text.includes('own/k'))]).toEqual(['one', 'other', []])
    store.trim(0)
    store.append({ id: 'x', text: JSON.stringify([1, 'beat', 'somebody']) })
    await clock.advance(2000)
    backends[0]!.cut()
    await clock.advance(200_000)
    expect([await one.get('own/k'), await other.get('own/k')]).toEqual(['one', 'other'])
  })
})

describe('a value that goes from one own tier to another', () => {
  test('is believed no longer for that', async () => {
    const basePath = await mkdtemp(path.join(os.tmpdir(), 'thermocline-passed-on-'))
    try {
      const backend = store.backend()
      const tiers = { near: { backend: new MemoryBackend() }, warm: { backend: new FileSystemBackend({ basePath }) }, hot: { backend } }
      const manager = new Manager({ tiers, coordination: 'auto', defaultTtl: '1d', clock, logger: false })
      backends.push(backend)
      managers.push(manager)
      const acme = manager.tenant('acme')
      await clock.advance(20)
      await acme.set('k', 'v', { tiers: { near: false } })
      backend.cut()
      await clock.advance(45_000)
      expect(await acme.get('k')).toBe('v')
      expect(acme.peek('k')).toBe('v')
      await clock.advance(20_000)
      expect([acme.peek('k'), await acme.get('k')]).toEqual([undefined, undefined])
    } finally {
      await rm(basePath, { recursive: true, force: true, maxRetries: 5 })
    }
  })
})

describe('what leaves a memory for want of room', () => {
  const small = (): ReturnType<TieredCacheManager['tenant']> => {
    const backend = store.backend()
    const tiers = { near: { backend: new MemoryBackend({ maxEntries: 1 }) }, hot: { backend } }
    const manager = new Manager({ tiers, policies: { default: { tiers: { hot: { write: 'demote' } } } }, coordination: 'auto', defaultTtl: '1d', clock, logger: false })
    backends.push(backend)
    managers.push(manager)
    return manager.tenant('acme')
  }
  const IN_HOT = { tiers: { near: false } } as const

  test('goes to the shared tier, unless somebody has changed it', async () => {
    const one = small()
    await clock.settle()
    await one.set('a', 'v1')
    await one.set('b', 'v1')
    for (let n = 0; n < 20; n++) await clock.advance(10)
    expect(await one.get('a', IN_HOT)).toBe('v1')
  })

  test('does not come back where it was deleted elsewhere and that was not heard yet', async () => {
    const [one, other] = [small(), open()]
    await clock.settle()
    await one.set('a', 'v1')
    const read = backends[0]!.read.bind(backends[0]!)
    const held = deferred<undefined>()
    backends[0]!.read = async (...asked) => {
      await held.promise
      return read(...asked)
    }
    await clock.advance(1100) // what it read before has been answered
    await other.delete('a')
    await one.set('b', 'v1')
    await clock.advance(100)
    expect(store.entries.size).toBe(0)
    held.resolve(undefined)
    for (let n = 0; n < 20; n++) await clock.advance(10)
    expect([...store.entries.keys()].some((name) => name.endsWith('\0a'))).toBe(false)
  })
})

describe('what a second hostile reading found', () => {
  const withPolicy = (policy: object, shared = store.backend()): ReturnType<TieredCacheManager['tenant']> => {
    const manager = new Manager({ tiers: { near: { backend: new MemoryBackend() }, hot: { backend: shared } }, policies: { default: policy }, coordination: 'auto', defaultTtl: '1d', clock, logger: false })
    backends.push(shared)
    managers.push(manager)
    return manager.tenant('acme')
  }

  test('a set of which the shared tier is not to have anything stays where it is', async () => {
    const one = withPolicy({ tiers: { hot: { write: 'around' } } })
    await clock.settle()
    await one.set('k', 'v')
    await clock.advance(60_000)
    expect(one.peek('k')).toBe('v')
    await one.set('k', 'without', { tiers: { hot: false } })
    await clock.advance(60_000)
    expect(one.peek('k')).toBe('without')
  })

  test('a change that failed does not end a newer one', async () => {
    const one = withPolicy({})
    await clock.settle()
    await one.set('k', 'v1')
    backends[0]!.cut()
    await one.delete('k')
    await clock.advance(2000)
    backends[0]!.heal()
    for (let n = 0; n < 50; n++) await clock.advance(100)
    await one.set('k', 'v2')
    await clock.advance(60_000)
    expect([one.peek('k'), await one.get('k', { tiers: { near: false } })]).toEqual(['v2', 'v2'])
  })

  test('a value that waits to be written back is not given up for what has to be told again', async () => {
    const basePath = await mkdtemp(path.join(os.tmpdir(), 'thermocline-written-back-'))
    try {
      const [hot, cold] = [store.backend(), new SharedStore().backend()]
      backends.push(hot)
      const manager = new Manager({ tiers: { hot: { backend: hot }, warm: { backend: new FileSystemBackend({ basePath }) }, cold: { backend: cold } }, policies: { default: { tiers: { cold: { write: 'back' } } } }, defaultTtl: '1d', clock, logger: false })
      managers.push(manager)
      const acme = manager.tenant('acme')
      await clock.advance(1000)
      await acme.set('k', 'v1')
      await clock.advance(1000)
      expect(await acme.get('k', { tiers: { hot: false, warm: false } })).toBe('v1')
      const held = deferred<undefined>()
      const [put, remove] = [cold.put.bind(cold), cold.delete.bind(cold)]
      cold.put = async (...given) => (await held.promise, put(...given))
      cold.delete = async (...given) => (await held.promise, remove(...given))
      await acme.set('k', 'v2')
      store.flush() // another server takes over, which has nothing
      for (let n = 0; n < 100; n++) {
        await clock.advance(100)
        expect(await acme.get('k')).toBe('v2')
      }
      held.resolve(undefined)
      await clock.advance(10_000)
      expect(await acme.get('k', { tiers: { hot: false, warm: false } })).toBe('v2')
    } finally {
      await rm(basePath, { recursive: true, force: true, maxRetries: 5 })
    }
  })

  test('the shared tier cannot be written back', () => {
    const tiers = { warm: { backend: new FileSystemBackend({ basePath: path.join(os.tmpdir(), 'never-made') }) }, hot: { backend: store.backend() } }
    const said: string[] = []
    const note = (message: string): unknown => said.push(message)
    const logger = { info: note, warn: note }
    const make = (coordination: TieredCacheManagerOptions['coordination']): TieredCacheManager => new Manager({ tiers, policies: { default: { tiers: { hot: { write: 'back' } } } }, coordination, logger })
    expect(() => make({ tier: 'hot' })).toThrow(/policies\.default\.tiers\.hot\.write must not be 'back': processes agree over this tier/)
    expect(said).toEqual([])
    make('auto')
    expect(said).toEqual([expect.stringContaining("processes are not coordinated: policy default writes tier hot back, and others are told with each write; use 'through' there, or coordination: false")])
  })

  test('a compute that nobody waits for any more keeps no place', async () => {
    const [one, other] = [withPolicy({}), withPolicy({})]
    await clock.settle()
    const leaving = new AbortController()
    const left = one.getOrCompute('k', () => new Promise(() => undefined), { signal: leaving.signal })
    await clock.settle()
    leaving.abort(new Error('enough'))
    await expect(left).rejects.toThrow('enough')
    await clock.settle()
    expect(store.lines.size).toBe(0)
    expect(await other.getOrCompute('k', () => 'at once')).toBe('at once')
  })

  test('a fallback loses what others have removed, and believes nothing for longer than maxStaleness', async () => {
    const shared = store.backend()
    const manager = new Manager({ tiers: { hot: { backend: shared, fallback: new MemoryBackend() } }, coordination: { maxStaleness: '5s' }, defaultTtl: '1d', clock, logger: false })
    backends.push(shared)
    managers.push(manager)
    const one = manager.tenant('acme')
    await clock.settle()
    shared.cut()
    let computes = 0
    const get = (): Promise<unknown> => one.getOrCompute('k', () => ++computes)
    await get()
    expect([await get(), await get()]).toEqual([1, 1])
    await clock.advance(6000)
    expect(await get()).toBe(2)
  })
})
