import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, jest, test } from '@jest/globals'
import { TieredCacheManager, type TenantCache, type TieredCacheManagerOptions } from '@thermocline/core'
import { FileSystemBackend } from '@thermocline/fs'
import { MemoryBackend } from '@thermocline/memory'
import { FakeClock, Faults } from '@thermocline/testkit'
import { afterwards, temporaryDirectory } from '../support/afterwards.js'
import { JournalFaults } from '../support/journal-faults.js'
import { until } from '../support/servers/until.js'

jest.retryTimes(2, { logErrorsBeforeRetry: true }) // latency on a machine that runs other suites at the same time

/** Only the slow tier is asked. */
const COLD = { tiers: { hot: false, warm: false } } as const

interface Stack {
  readonly cache: TieredCacheManager
  readonly acme: TenantCache
  readonly cold: Faults
  readonly journal: JournalFaults
  readonly basePath: string
  readonly errors: string[]
}

/** Memory, a disk whose journal has faults to order, and another directory as the slow tier that is written back to. */
function stack({ basePath = temporaryDirectory(), maxTtl, ...options }: Partial<TieredCacheManagerOptions> & { basePath?: string; maxTtl?: string } = {}): Stack {
  const cold = new Faults()
  const journal = new JournalFaults()
  const cache = new TieredCacheManager({
    tiers: {
      hot: { backend: new MemoryBackend() },
      warm: { backend: journal.on(new FileSystemBackend({ basePath: path.join(basePath, 'warm') })), budget: '300ms' },
      cold: { backend: new FileSystemBackend({ basePath: path.join(basePath, 'cold') }), layers: [cold.layer], budget: '300ms', maxTtl },
    },
    policies: { default: { tiers: { cold: { write: 'back' } } } },
    logger: false,
    ...options,
  })
  afterwards(async () => {
    for (const faults of [cold, journal]) faults.heal()
    cold.release()
    await cache.close()
  })
  const errors: string[] = []
  cache.on('error', ({ error, operation }) => errors.push(`${operation} ${error.code}`))
  return { cache, acme: cache.tenant('acme'), cold, journal, basePath, errors }
}

describe('a copy that cannot be removed from the journal', () => {
  test.each(['delete', 'clear', 'set', 'setStream'] as const)('is not forgotten: the %s that needs it is not acknowledged, and the copy goes when the disk takes it', async (verb) => {
    const one = stack()
    one.cold.inject({ fail: 'unavailable' }, 'put')
    await one.acme.set('dir/k', 'old')
    one.journal.inject('fail', 'remove')
    const invalidate = {
      delete: () => one.acme.delete('dir/k'),
      clear: () => one.acme.clear('dir/'),
      set: () => one.acme.set('dir/k', 'new'),
      setStream: () => one.acme.setStream('dir/k', [Buffer.from('new')]),
    }[verb]
    await expect(invalidate()).rejects.toMatchObject({ code: 'not-recorded', message: expect.stringMatching(/journal .* EROFS/), cause: { message: expect.stringContaining('EROFS') } })
    expect(String(await one.acme.get('dir/k'))).toBe(verb.startsWith('set') ? 'new' : 'undefined')
    expect(one.errors).toContain('write-back failed')
    expect((await one.cache.stats()).writeBack).toMatchObject({ pending: verb.startsWith('set') ? 1 : 0, removalsOwed: 1 })
    one.journal.heal()
    await until('it is gone', async () => (await one.cache.stats()).writeBack.removalsOwed === 0)
    await one.cache.close({ deadline: '200ms' })
    const again = stack({ basePath: one.basePath })
    await again.cache.flush()
    const expected = verb.startsWith('set') ? 'new' : 'undefined'
    expect(String(await again.acme.get('dir/k', COLD))).toBe(expected)
  })

  test('is asked for again by the next call that needs it, and reported once', async () => {
    const { cache, acme, cold, journal, errors } = stack()
    cold.inject({ fail: 'unavailable' }, 'put')
    await acme.set('k', 'old')
    journal.inject('fail', 'remove')
    for (let attempt = 0; attempt < 3; attempt++) await expect(acme.delete('k')).rejects.toMatchObject({ code: 'not-recorded' })
    expect(errors.filter((error) => error === 'write-back failed')).toHaveLength(1)
    journal.heal()
    await acme.delete('k')
    expect((await cache.stats()).writeBack).toMatchObject({ pending: 0, removalsOwed: 0 })
  })

  test('of what was uploaded is needed by what comes later', async () => {
    const { cache, acme, journal } = stack()
    journal.inject('fail', 'remove')
    await acme.set('k', 'old')
    await until('it is uploaded', async () => (await cache.stats()).writeBack.uploaded === 1)
    expect(await cache.flush({ deadline: '1s' })).toEqual({ pending: 0, owed: 1 }) // the removal of its copy
    await expect(acme.delete('k')).rejects.toMatchObject({ code: 'not-recorded' })
    journal.heal()
    await acme.delete('k')
    expect((await cache.stats()).writeBack.removalsOwed).toBe(0)
  })

  test('is tried once more at close, and told of', async () => {
    const warnings: string[] = []
    const { cache, acme, journal } = stack({ logger: { info: () => undefined, warn: (message) => warnings.push(message) } })
    journal.inject('fail', 'remove')
    await acme.set('k', 'old')
    await until('it is uploaded', async () => (await cache.stats()).writeBack.uploaded === 1)
    const startedAt = performance.now()
    await cache.close({ deadline: '10s' })
    expect(performance.now() - startedAt).toBeLessThan(2000)
    expect(warnings.at(-1)).toMatch(/journal .* could not be removed \(1\)/)
  })
})

describe('a journal whose disk hangs', () => {
  /** How long something took, in milliseconds. */
  async function timed(work: () => Promise<unknown>): Promise<number> {
    const startedAt = performance.now()
    await work()
    return performance.now() - startedAt
  }

  /** The slow tier has an older value than the copy. */
  async function withPending(): Promise<Stack> {
    const made = stack()
    await made.acme.set('k', 'old')
    await made.cache.flush()
    made.cold.inject({ fail: 'failed' }, 'put')
    await made.acme.set('k', 'new')
    return made
  }

  test('makes a pending key a miss, never the older value of the slow tier, and is waited for once', async () => {
    const { acme, journal, errors } = await withPending()
    journal.inject('hang', 'read')
    expect(await timed(async () => expect(await acme.get('k', COLD)).toBeUndefined())).toBeLessThan(1500)
    expect(errors).toContain('get timeout')
    expect(await timed(async () => {
      expect(await acme.get('k', COLD)).toBeUndefined()
      expect(await acme.getMany(['k'], COLD)).toEqual(new Map())
      expect(await acme.getStream('k', COLD)).toBeUndefined()
      expect(await acme.has('k', COLD)).toBe(false)
    })).toBeLessThan(200)
    expect(await acme.getOrCompute('k', () => 'computed', COLD)).toBe('computed')
    journal.heal()
    await until('it is read again', async () => (await acme.get('k', COLD)) === 'new')
  })

  test('keeps no delete waiting, and acknowledges none', async () => {
    const { cache, acme, journal, errors } = await withPending()
    journal.inject('hang', 'remove')
    expect(await timed(() => expect(acme.delete('k')).rejects.toMatchObject({ code: 'not-recorded' }))).toBeLessThan(1500)
    expect(errors).toContain('write-back timeout')
    expect(await timed(() => expect(acme.delete('k')).rejects.toMatchObject({ code: 'not-recorded' }))).toBeLessThan(200)
    journal.heal()
    await until('it can be deleted', () => acme.delete('k').then(() => true))
    expect((await cache.stats()).writeBack.removalsOwed).toBe(0)
  })

  test('keeps no set waiting: what has no copy is deleted in the slow tier, and reported', async () => {
    const journal = new JournalFaults()
    const basePath = temporaryDirectory()
    const cold = new Faults()
    const cache = new TieredCacheManager({
      tiers: {
        warm: { backend: journal.on(new FileSystemBackend({ basePath: path.join(basePath, 'warm') })), budget: '300ms' },
        cold: { backend: new FileSystemBackend({ basePath: path.join(basePath, 'cold') }), layers: [cold.layer] },
        archive: { backend: new FileSystemBackend({ basePath: path.join(basePath, 'archive') }), layers: [cold.layer] },
      },
      policies: { default: { tiers: { cold: { write: 'back' }, archive: { write: 'back' } } } },
      logger: false,
    })
    afterwards(() => {
      journal.heal()
      return cache.close()
    })
    const errors: string[] = []
    cache.on('error', ({ error, operation, tier }) => errors.push(`${operation} ${tier} ${error.code}`))
    const acme = cache.tenant('acme')
    await acme.set('k', 'old')
    await cache.flush()
    journal.inject('hang', 'store') // the second copy
    expect(await timed(() => acme.set('k', 'new'))).toBeLessThan(1500)
    expect(errors).toContain('write-back warm timeout')
    expect(await acme.get('k')).toBe('new')
    for (const only of [{ warm: false }, { warm: false, cold: false }]) expect(await acme.get('k', { tiers: only })).toBeUndefined()
    journal.heal()
    await until('its copies are gone', async () => (await cache.stats()).writeBack.removalsOwed === 0)
    expect(await cache.flush()).toEqual({ pending: 0, owed: 0 })
    for (const only of [{ warm: false }, { warm: false, cold: false }]) expect(await acme.get('k', { tiers: only })).toBeUndefined()
  })

  test('under a put costs the set one budget, and the copy goes when the put has ended', async () => {
    const { cache, acme, basePath } = stack()
    await acme.set('k', 'old')
    await cache.flush()
    const { writev } = fs
    const held: (() => void)[] = []
    const spy = jest.spyOn(fs, 'writev').mockImplementation(((...args: Parameters<typeof fs.writev>) => void held.push(() => writev(...args))))
    try {
      expect(await timed(() => acme.set('k', 'new'))).toBeLessThan(600)
      expect(held).toHaveLength(1)
      expect(await acme.get('k', COLD)).toBeUndefined()
      await expect(acme.delete('k')).rejects.toMatchObject({ code: 'not-recorded' })
    } finally {
      spy.mockRestore()
      for (const go of held) go()
    }
    await until('the copy is gone', async () => (await cache.stats()).writeBack.removalsOwed === 0)
    await acme.delete('k')
    await cache.close()
    const again = stack({ basePath })
    expect(await again.cache.flush()).toEqual({ pending: 0, owed: 0 })
    expect(await again.acme.get('k')).toBeUndefined()
  })

  test('in the middle of a stream ends it with an error, for its reader and for the upload, which is tried again', async () => {
    const { cache, acme, cold, journal } = stack()
    cold.inject({ fail: 'failed' }, 'put')
    await acme.setStream('k', [Buffer.alloc(6 * 1024 ** 2, 7)])
    journal.inject('hang', 'chunk')
    await expect((async () => {
      for await (const _chunk of (await acme.getStream('k', COLD)) ?? []);
    })()).rejects.toMatchObject({ code: 'timeout' })
    cold.heal()
    journal.heal()
    expect(await cache.flush()).toEqual({ pending: 0, owed: 0 })
    expect((await cache.stats()).writeBack).toMatchObject({ uploaded: 1 })
  })
})

describe('a pending copy', () => {
  test('is not read whole to tell whether it is there', async () => {
    const { acme, cold, journal } = stack()
    cold.inject({ fail: 'unavailable' }, 'put')
    await acme.set('k', Buffer.alloc(300_000), { metadata: { m: 'x' } })
    await until('the upload has read the copy', () => journal.wants.includes('payload'))
    journal.wants.length = 0
    expect(await acme.has('k', COLD)).toBe(true)
    expect(await acme.lookup('k', { ...COLD, value: false })).toMatchObject({ status: 'fresh', metadata: { m: 'x' }, tier: 'cold' })
    expect(journal.wants).toEqual(['head', 'head'])
    expect(await acme.lookup('k', COLD)).toHaveProperty('value.byteLength', 300_000)
  })

  test('is served no longer than its tier would serve the entry', async () => {
    const { acme, cold } = stack({ maxTtl: '400ms' })
    cold.inject({ fail: 'unavailable' }, 'put')
    await acme.set('k', 'value')
    await acme.setStream('s', [Buffer.from('value')])
    expect(await acme.lookup('k', COLD)).toMatchObject({ value: 'value' })
    await new Promise((resolve) => setTimeout(resolve, 450))
    expect(await acme.get('k', COLD)).toBeUndefined()
    expect(await acme.getStream('s', COLD)).toBeUndefined()
    expect(await acme.get('k')).toBe('value')
  })

  test('whose life ends before it is uploaded takes the older value along', async () => {
    const { cache, acme, cold } = stack()
    await acme.set('k', 'old', { ttl: null })
    await cache.flush()
    cold.inject({ fail: 'failed' }, 'put')
    await acme.set('k', 'new', { ttl: '200ms' })
    await new Promise((resolve) => setTimeout(resolve, 250))
    expect(await acme.get('k', COLD)).toBeUndefined()
    cold.heal()
    expect(await cache.flush()).toEqual({ pending: 0, owed: 0 })
    expect(await acme.get('k', COLD)).toBeUndefined()
  })
})

describe('what a process elsewhere left a moment ago', () => {
  const KEYS = ['kept', 'set', 'deleted', 'dir/cleared', 'dir/set', 'pending']

  /** A journal as a container leaves it that is killed: its directory is young, and nobody here can ask whether it lives. */
  async function left(): Promise<{ basePath: string; directory: string }> {
    const one = stack()
    one.cold.inject({ fail: 'unavailable' })
    await one.acme.setMany(KEYS.map((key) => [key, 'old'] as const), { ttl: null })
    await one.cache.close({ deadline: '100ms' })
    const root = path.join(one.basePath, 'warm', 'thermocline', 'journal')
    const released = await until('it is let go', () => fs.readdirSync(root).find((name) => name.startsWith('released')))
    const directory = path.join(root, 'elsewhere.0123456789abcdef.1.7.0123456789ab')
    fs.renameSync(path.join(root, released), directory)
    const now = Date.now() / 1000
    fs.utimesSync(directory, now, now)
    return { basePath: one.basePath, directory }
  }

  test('is taken up as soon as its lease is over; what was called here meanwhile is newer', async () => {
    const { basePath } = await left()
    const clock = new FakeClock(Date.now())
    const { cache, acme, cold } = stack({ basePath, clock })
    expect((await cache.stats()).writeBack.pending).toBe(0)
    await acme.clear('dir/')
    await acme.setMany([['set', 'new'], ['dir/set', 'new']])
    await acme.delete('deleted')
    await cache.flush()
    cold.inject({ fail: 'failed' }, 'put')
    await acme.set('pending', 'new')
    await clock.advance(29_000)
    expect((await cache.stats()).writeBack.pending).toBe(1)
    await clock.advance(2000)
    expect((await cache.stats()).writeBack.pending).toBe(2)
    cold.heal()
    await clock.advance(31_000)
    await cache.flush()
    const found = await Promise.all(KEYS.map((key) => acme.get(key, COLD)))
    expect(found).toEqual(['old', 'new', undefined, undefined, 'new', 'new'])
    expect((await cache.stats()).writeBack).toMatchObject({ pending: 0, removalsOwed: 0 })
  })

  /** A process that starts after so long, changes what was left, and ends. */
  async function change(basePath: string, clock: FakeClock): Promise<void> {
    const { cache, acme } = stack({ basePath, clock })
    await acme.clear('dir/')
    await acme.setMany([['set', 'new'], ['dir/set', 'new'], ['pending', 'new']], { ttl: null })
    await acme.delete('deleted')
    await cache.flush()
    await cache.close()
  }

  test.each([[2, 4], [2, 40], [20, 60]])('is older than what another process did and ended before that was known: it began after %i s, the next one after %i s', async (second, third) => {
    const { basePath } = await left()
    const clock = new FakeClock(Date.now())
    await clock.advance(second * 1000)
    await change(basePath, clock)
    await clock.advance((third - second) * 1000)
    const { cache, acme } = stack({ basePath, clock })
    await clock.advance(61_000)
    await cache.flush()
    expect(await Promise.all(KEYS.map((key) => acme.get(key, COLD)))).toEqual(['old', 'new', undefined, undefined, 'new', 'new'])
    expect((await cache.stats()).writeBack).toMatchObject({ pending: 0, removalsOwed: 0 })
    await cache.close()
    expect(fs.readdirSync(path.join(basePath, 'warm', 'thermocline', 'journal'))).toEqual([])
  })

  test.each([-86_400_000, -3_600_000, -45_000, 45_000, 3_600_000, 86_400_000])('is older whatever the clocks say: the second and the third process are %i ms off', async (offMs) => {
    const { basePath, directory } = await left()
    for (const off of [offMs, -offMs]) {
      const at = (Date.now() + off) / 1000
      fs.utimesSync(directory, at, at)
      await change(basePath, new FakeClock(Date.now() + off))
    }
    const clock = new FakeClock(Date.now() + offMs)
    const { cache, acme } = stack({ basePath, clock })
    await clock.advance(61_000)
    await cache.flush()
    expect(await Promise.all(KEYS.map((key) => acme.get(key, COLD)))).toEqual(['old', 'new', undefined, undefined, 'new', 'new'])
  })

  test('is older than a value that was computed here meanwhile', async () => {
    const { basePath } = await left()
    const clock = new FakeClock(Date.now() - 3_600_000)
    const { cache, acme } = stack({ basePath, clock, coordination: false }) // else what was said before it began may come between
    expect(await acme.getOrCompute('kept', () => 'computed', COLD)).toBe('computed')
    await clock.advance(61_000)
    await cache.flush()
    expect(await acme.get('kept', COLD)).toBe('computed')
  })

  test('is newer where its process made it after that, having lived on', async () => {
    const { basePath, directory } = await left()
    const clock = new FakeClock(Date.now() + 3_600_000)
    const { cache, acme } = stack({ basePath, clock })
    await acme.set('kept', 'here', { ttl: null })
    await cache.flush()
    const copies = fs.readdirSync(directory).sort()
    const before = fs.statSync(directory)
    const [, rest] = /^\d+(.*)$/.exec(copies[0] as string) ?? []
    fs.renameSync(path.join(directory, copies[0] as string), path.join(directory, String(Number(copies.at(-1)?.slice(0, 16)) + 1).padStart(16, '0') + String(rest)))
    fs.utimesSync(directory, before.atime, before.mtime)
    await clock.advance(61_000)
    await cache.flush()
    expect(await acme.get('kept', COLD)).toBe('old')
  })

  test('and cannot be overtaken by a set or a delete that cannot be noted', async () => {
    const { basePath } = await left()
    const { acme, journal } = stack({ basePath, clock: new FakeClock(Date.now()) })
    journal.inject('fail', 'note')
    await expect(acme.delete('deleted')).rejects.toMatchObject({ code: 'not-recorded' })
    await expect(acme.clear('dir/')).rejects.toMatchObject({ code: 'not-recorded' })
    journal.heal()
    await acme.delete('deleted')
  })

  test('is left alone when its process turns out to live', async () => {
    const { basePath, directory } = await left()
    const clock = new FakeClock(Date.now())
    const { cache } = stack({ basePath, clock })
    await clock.advance(20_000)
    fs.utimesSync(directory, clock.now() / 1000, clock.now() / 1000)
    await clock.advance(60_000)
    expect((await cache.stats()).writeBack.pending).toBe(0)
    expect(fs.readdirSync(directory)).toHaveLength(KEYS.length)
  })
})

describe('the room of streams in the journal', () => {
  const MIB = 1024 ** 2

  test('is what they have, not a guess: many small ones at once are written back', async () => {
    const { cache, acme, cold } = stack({ writeBack: { maxBytes: 5 * MIB } })
    cold.inject({ fail: 'unavailable' }, 'put')
    let release = (): void => undefined
    const gate = new Promise<void>((resolve) => (release = resolve))
    const source = async function* (): AsyncGenerator<Uint8Array> {
      yield Buffer.alloc(200_000, 1)
      await gate
      yield Buffer.alloc(200_000, 2)
    }
    const setting = Array.from({ length: 10 }, (_, at) => acme.setStream(`k${at}`, source()))
    release()
    await Promise.all(setting)
    expect((await cache.stats()).writeBack).toMatchObject({ pending: 10, bytes: 4_000_000 })
  })

  test.each(['setStream', 'getOrComputeStream'] as const)('is never exceeded: %s of what does not fit is written through from the disk', async (verb) => {
    const { cache, acme, cold, basePath } = stack({ writeBack: { maxBytes: 3 * MIB } })
    const store = async (key: string, mebibytes: number): Promise<void> => {
      const source = (): Uint8Array[] => Array.from({ length: mebibytes }, (_, at) => Buffer.alloc(MIB, at + 1))
      if (verb === 'setStream') return acme.setStream(key, source())
      for await (const _chunk of await acme.getOrComputeStream(key, source));
    }
    await acme.set('large', 'old')
    await cache.flush()
    cold.inject({ fail: 'failed' }, 'put')
    await store('small', 2)
    cold.heal()
    await acme.delete('large')
    await store('large', 2)
    expect((await cache.stats()).writeBack.bytes).toBeLessThanOrEqual(3 * MIB)
    await cache.flush()
    for (const key of ['small', 'large']) expect(await acme.get(key, COLD)).toHaveProperty('byteLength', 2 * MIB)
    expect(fs.readdirSync(path.join(basePath, 'warm', 'thermocline', 'journal'), { recursive: true }).filter((name) => String(name).endsWith('.tc'))).toEqual([])
  })
})
