import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { TieredCacheManager, type TenantCache } from '@thermocline/core'
import type { CacheBackend } from '@thermocline/backend'
import { FileSystemBackend } from '@thermocline/fs'
import { RedisBackend } from '@thermocline/redis'
import { temporaryDirectory } from '../support/afterwards.js'
import { describeRedis, startRedis, type RedisServer } from '../support/redis/index.js'

/** The event loop stands still. */
function busy(ms: number): void {
  const until = performance.now() + ms
  while (performance.now() < until);
}

interface Seen {
  readonly acme: TenantCache
  /** What was said about the tier, and invalidations that it owes. */
  readonly problems: () => Promise<unknown>
}

async function using(backend: CacheBackend, work: (seen: Seen) => Promise<void>): Promise<void> {
  const cache = new TieredCacheManager({ tiers: { store: { backend } }, logger: false })
  const said: string[] = []
  cache.on('degraded', ({ tier, error }) => said.push(`${tier} is degraded: ${String(error?.message)}`))
  cache.on('error', ({ error }) => said.push(error.message))
  try {
    await work({ acme: cache.tenant('acme'), problems: async () => [...said, (await cache.stats()).tiers['store']?.pendingInvalidations] })
  } finally {
    await cache.close()
  }
}

const ROUNDS = 4

/** Each in a process that stands still for longer than the budget, right after it has asked. */
function standsStill(backend: () => CacheBackend, ms: number): void {
  test('a get', () =>
    using(backend(), async ({ acme, problems }) => {
      await acme.set('k', 'v')
      for (let round = 0; round < ROUNDS; round++) {
        const got = acme.get('k')
        busy(ms)
        expect(await got).toBe('v')
      }
      expect(await problems()).toEqual([0])
    }))

  test('the first operation of a process', async () => {
    for (let round = 0; round < ROUNDS; round++) {
      await using(backend(), async ({ acme, problems }) => {
        const stored = acme.set('first', round)
        busy(ms)
        await stored
        const got = acme.get('first')
        busy(ms)
        expect(await got).toBe(round)
        expect(await problems()).toEqual([0])
      })
    }
  })

  test('sets of one key, one behind the other', () =>
    using(backend(), async ({ acme, problems }) => {
      await acme.get('nothing')
      for (let round = 0; round < ROUNDS; round++) {
        const sets = [acme.set('k', round), acme.set('k', round + 0.5)]
        busy(ms)
        await Promise.all(sets)
        expect(await acme.get('k')).toBe(round + 0.5)
      }
      expect(await problems()).toEqual([0])
    }))

  test('a clear and a delete behind a set', () =>
    using(backend(), async ({ acme, problems }) => {
      await acme.get('nothing')
      for (let round = 0; round < ROUNDS; round++) {
        const all = [acme.set('a/1', 1), acme.set('b', 1), acme.clear('a/'), acme.delete('b')]
        busy(ms)
        await Promise.all(all)
        expect(await acme.getMany(['a/1', 'b'])).toEqual(new Map())
      }
      expect(await problems()).toEqual([0])
    }))

  test('a list and a stream', () =>
    using(backend(), async ({ acme, problems }) => {
      await acme.set('k', Buffer.alloc(300_000, 1))
      for (let round = 0; round < ROUNDS; round++) {
        const listing = acme.list('k')
        const next = listing.next()
        busy(ms)
        expect((await next).value).toMatchObject({ key: 'k' })
        await listing.return?.()
        const opened = acme.getStream('k')
        busy(ms)
        let bytes = 0
        for await (const chunk of (await opened) ?? []) bytes += (chunk as Buffer).byteLength
        expect(bytes).toBe(300_000)
      }
      expect(await problems()).toEqual([0])
    }), 60_000)
}

describeRedis('a process that stands still blames no healthy Redis', () => {
  let server: RedisServer
  beforeAll(async () => void (server = await startRedis()))
  afterAll(() => server.stop())
  standsStill(() => new RedisBackend({ url: server.url }), 320)
})

describe('a process that stands still blames no healthy disk', () => {
  standsStill(() => new FileSystemBackend({ basePath: temporaryDirectory() }), 1050)
})
