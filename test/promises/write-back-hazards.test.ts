import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from '@jest/globals'
import { TieredCacheManager, type TenantCache, type TieredCacheManagerOptions } from '@thermocline/core'
import { FileSystemBackend } from '@thermocline/fs'
import { MemoryBackend } from '@thermocline/memory'
import { Faults } from '@thermocline/testkit'
import { afterwards, temporaryDirectory } from '../support/afterwards.js'
import { until } from '../support/servers/until.js'

const COLD = { tiers: { hot: false, warm: false } } as const
const MIB = 1024 ** 2

interface Options {
  readonly basePath?: string
  readonly policies?: TieredCacheManagerOptions['policies']
  readonly maxPayloadBytes?: number
}

function stack({ basePath = temporaryDirectory(), policies = { default: { tiers: { cold: { write: 'back' } } } }, maxPayloadBytes }: Options = {}): { cache: TieredCacheManager; acme: TenantCache; cold: Faults; basePath: string; errors: string[]; store: FileSystemBackend } {
  const cold = new Faults()
  const store = new FileSystemBackend({ basePath: path.join(basePath, 'cold') })
  const cache = new TieredCacheManager({
    tiers: {
      hot: { backend: new MemoryBackend() },
      warm: { backend: new FileSystemBackend({ basePath: path.join(basePath, 'warm') }) },
      cold: { backend: store, layers: [cold.layer], budget: '300ms', maxPayloadBytes },
    },
    policies,
    logger: false,
  })
  afterwards(async () => {
    cold.heal()
    cold.release()
    await cache.close()
  })
  const errors: string[] = []
  cache.on('error', ({ error, operation }) => errors.push(`${operation} ${error.code}`))
  return { cache, acme: cache.tenant('acme'), cold, basePath, errors, store }
}

function openIn(directory: string): string[] {
  return fs.readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      const target = fs.readlinkSync(`/proc/self/fd/${fd}`)
      return target.startsWith(directory) ? [target] : []
    } catch {
      return []
    }
  })
}

async function keysOf(store: string): Promise<string[]> {
  const other = new TieredCacheManager({ tiers: { cold: { backend: new FileSystemBackend({ basePath: store }) } }, logger: false })
  const keys: string[] = []
  for await (const { key } of other.tenant('acme').list()) keys.push(key)
  await other.close()
  return keys.sort()
}

describe('write-back under stress', () => {
  test('a stream larger than the slow tier takes is not uploaded', async () => {
    const { cache, acme, basePath } = stack({ maxPayloadBytes: MIB })
    await acme.setStream('large', [Buffer.alloc(2 * MIB)])
    await acme.setStream('small', [Buffer.alloc(1000)])
    await cache.flush()
    expect(await keysOf(path.join(basePath, 'cold'))).toEqual(['small'])
    expect((await cache.stats()).writeBack.pending).toBe(0)
  })

  test('uploads of streams that fail, or whose turn never comes, leave no file open', async () => {
    const { cache, acme, cold, basePath, errors } = stack()
    cold.inject('hang', 'put')
    await acme.setStream('k', [Buffer.alloc(5 * MIB)])
    await until('it has timed out', () => errors.some((error) => error.includes('timeout')))
    cold.heal('put')
    await until('it was tried again', async () => (await cache.stats()).writeBack.retries > 1 || cold.calls.put > 2)
    await acme.delete('k')
    cold.release()
    await until('nothing is open', () => openIn(path.join(basePath, 'warm')).filter((file) => file.includes('journal')).length === 0)
  })

  test.each(['set', 'delete'] as const)('a %s while the copy is read is no damage: nothing is reported, nothing newer is deleted', async (verb) => {
    const { cache, acme, errors, basePath } = stack()
    for (let round = 0; round < 60; round++) {
      const key = `k${round}`
      await acme.set(key, 'old')
      if (verb === 'set') await acme.set(key, 'new', { tiers: { cold: true } })
      else await acme.delete(key)
    }
    await cache.flush()
    expect(errors).toEqual([])
    expect(await keysOf(path.join(basePath, 'cold'))).toHaveLength(verb === 'set' ? 60 : 0)
  })

  test.each(['while the stream comes', 'after it has come'])('a stream that began before a set and ended after it is the newer one, uploaded %s', async (when) => {
    const { cache, acme, cold } = stack()
    await acme.set('k', 'first')
    await cache.flush()
    cold.inject({ fail: 'failed' }, 'put') // so that everything waits to be uploaded
    let end = (): void => undefined
    const rest = new Promise<void>((resolve) => (end = resolve))
    const begun = acme.setStream('k', (async function* () {
      yield Buffer.from('str')
      await rest
      yield Buffer.from('eam')
    })())
    await new Promise((resolve) => setTimeout(resolve, 20))
    await acme.set('k', 'between')
    if (when === 'while the stream comes') {
      cold.heal()
      await cache.flush()
      cold.inject({ fail: 'failed' }, 'put')
    }
    end()
    await begun
    expect(String(await acme.get('k', COLD))).toBe('stream') // its copy answers
    cold.heal()
    expect(await cache.flush()).toEqual({ pending: 0, owed: 0 })
    expect(String(await acme.get('k', COLD))).toBe('stream')
  })

  test('what an earlier process left is taken up at the start, whatever the policies say now: what is called later wins', async () => {
    const one = stack()
    one.cold.inject({ fail: 'unavailable' })
    await one.acme.set('k', 'old')
    await one.acme.set('other', 'old')
    await one.cache.close({ deadline: '100ms' })
    const two = stack({ basePath: one.basePath, policies: {} })
    await two.acme.delete('k')
    await two.acme.set('x', 1, { tiers: { cold: { write: 'back' } } })
    await two.cache.flush()
    expect(await two.acme.get('k')).toBeUndefined()
    expect(await two.acme.get('other', COLD)).toBe('old')
  })

  test('a close that leaves uploads behind still closes every backend', async () => {
    const one = stack()
    one.cold.inject({ fail: 'unavailable' })
    let closed = 0
    const dispose = one.store[Symbol.asyncDispose].bind(one.store)
    one.store[Symbol.asyncDispose] = async () => {
      closed++
      await dispose()
    }
    await one.acme.set('k', 1)
    await one.cache.close({ deadline: '100ms' })
    await until('it is closed', () => closed === 1)
  })

  const INVALIDATIONS: Readonly<Record<string, (acme: TenantCache) => Promise<unknown>>> = {
    set: (acme) => acme.set('k', 'newest'),
    'set that is for other tiers': (acme) => acme.set('k', 'newest', { tiers: { cold: false } }),
    setStream: (acme) => acme.setStream('k', [Buffer.from('newest')]),
    delete: (acme) => acme.delete('k'),
    clear: (acme) => acme.clear('k'),
  }
  for (const [verb, invalidate] of Object.entries(INVALIDATIONS)) {
    test(`while a ${verb} is under way nobody sees what the slow tier held before the last set`, async () => {
      const { cache, acme, cold } = stack()
      await acme.set('k', 'oldest')
      await cache.flush()
      cold.inject('hang', 'put')
      await acme.set('k', 'old')
      expect(await acme.get('k', COLD)).toBe('old')
      const seen: unknown[] = []
      let isUnderWay = true
      const invalidating = invalidate(acme).finally(() => (isUnderWay = false))
      while (isUnderWay) seen.push(await acme.get('k', COLD), (await acme.getMany(['k', 'other'], COLD)).get('k'), (await acme.lookup('k', COLD)).status)
      await invalidating
      expect(seen).not.toContain('oldest')
      cold.heal()
      cold.release()
      await until('all is carried out', async () => (await cache.stats()).tiers.cold?.pendingInvalidations === 0 && (await cache.stats()).writeBack.pending === 0)
      expect(await acme.get('k', COLD)).toEqual(verb === 'set' ? 'newest' : verb === 'setStream' ? Buffer.from('newest') : undefined)
    })
  }

  test('getMany finds what is uploaded while it asks', async () => {
    const { cache, acme, cold } = stack()
    await acme.setMany([['a', 1], ['b', 1]])
    await cache.flush()
    cold.inject('hang', 'put')
    await acme.set('k', 'pending')
    await until('it is uploading', () => cold.hanging === 1)
    cold.inject('hang', 'get')
    const many = acme.getMany(['a', 'b', 'k'], COLD)
    await until('it asks', () => cold.hanging === 2)
    cold.heal()
    cold.release()
    expect(await many).toEqual(new Map<string, unknown>([['a', 1], ['b', 1], ['k', 'pending']]))
  })
})
