import { getEventListeners } from 'node:events'
import { describe, expect, test } from '@jest/globals'
import { WrappedBackend, type Awaitable, type CacheBackend, type CacheEntry, type ReadOptions, type TenantScope, type ValidKey } from '@thermocline/backend'
import { TieredCacheManager, type TenantCache } from '@thermocline/core'
import { MemoryBackend } from '@thermocline/memory'
import { FakeClock } from '@thermocline/testkit'
import { afterwards } from '../support/afterwards.js'
import { deferred } from '../support/rig.js'

function bench(): { cache: TieredCacheManager; acme: TenantCache; clock: FakeClock } {
  const clock = new FakeClock()
  const cache = new TieredCacheManager({ tiers: { hot: { backend: new MemoryBackend() } }, clock, logger: false })
  afterwards(() => cache.close())
  return { cache, acme: cache.tenant('acme'), clock }
}

const listening = (signal: AbortSignal): number => getEventListeners(signal, 'abort').length

describe('a caller who may leave', () => {
  test('gets the value as others do, and nothing listens to its signal afterwards', async () => {
    const { acme, clock } = bench()
    const gate = deferred<object>()
    const { signal } = new AbortController()
    const calls = [acme.getOrCompute('k', () => gate.promise, { signal }), acme.getOrCompute('k', () => gate.promise), acme.getOrCompute('k', () => gate.promise, { signal })]
    await clock.settle()
    expect(listening(signal)).toBeGreaterThan(0)
    const value = { n: 1 }
    gate.resolve(value)
    for (const got of await Promise.all(calls)) expect(got).toBe(value)
    await clock.settle()
    expect(listening(signal)).toBe(0)
  })

  test("gets the compute's own error as others do, and nothing listens to its signal afterwards", async () => {
    const { acme, clock } = bench()
    const gate = deferred<object>()
    const { signal } = new AbortController()
    const calls = [acme.getOrCompute('k', () => gate.promise, { signal }), acme.getOrCompute('k', () => gate.promise)]
    const outcomes = Promise.all(calls.map((call) => call.catch((error: unknown) => error)))
    await clock.settle()
    const error = new Error('no answer')
    gate.reject(error)
    for (const got of await outcomes) expect(got).toBe(error)
    await clock.settle()
    expect(listening(signal)).toBe(0)
    expect(await acme.getOrCompute('k', () => 'anew')).toBe('anew')
  })

  test('and does so before anything was waited for, is told so, and nobody else of it', async () => {
    const backend = new MemoryBackend()
    const controller = new AbortController()
    const layer = (inner: CacheBackend): CacheBackend => new (class extends WrappedBackend {
      override get(scope: TenantScope, key: ValidKey, options: ReadOptions): Awaitable<CacheEntry | undefined> {
        controller.abort(new Error('enough'))
        return super.get(scope, key, options)
      }
    })(inner)
    const cache = new TieredCacheManager({ tiers: { hot: { backend, layers: [layer] } }, logger: false })
    afterwards(() => cache.close())
    await expect(cache.tenant('acme').getOrCompute('k', () => 1, { signal: controller.signal })).rejects.toThrow('enough')
    await new Promise((resolve) => setTimeout(resolve, 5)) // an unhandled rejection would end the process
  })

  test('of a stream that is looked for ends no compute of the key', async () => {
    const { acme, clock } = bench()
    const gate = deferred<string>()
    const computed = acme.getOrCompute('k', () => gate.promise)
    await clock.settle()
    const controller = new AbortController()
    const reading = acme.getStream('k', { signal: controller.signal }).catch((error: unknown) => error)
    controller.abort(new Error('enough'))
    expect(await reading).toBeInstanceOf(Error)
    const joined = acme.getOrCompute('k', () => 'a second compute')
    gate.resolve('value')
    expect(await Promise.all([computed, joined])).toEqual(['value', 'value'])
    expect(acme.peek('k')).toBe('value')
  })

  test('leaves at once and alone; when the last one has left, the compute is told why, and nothing is kept', async () => {
    const { acme, clock } = bench()
    const gate = deferred<string>()
    const told: unknown[] = []
    const compute = ({ signal }: { signal: AbortSignal }): Promise<string> => {
      signal.addEventListener('abort', () => told.push(signal.reason))
      return gate.promise
    }
    const leaving = ['first', 'second', 'third'].map((name) => ({ controller: new AbortController(), reason: new Error(name) }))
    const calls = leaving.map(({ controller: { signal } }) => acme.getOrCompute('k', compute, { signal }).catch((error: unknown) => error))
    await clock.settle()
    for (const { controller, reason } of leaving) {
      expect(told).toEqual([])
      controller.abort(reason)
      await clock.settle()
    }
    expect(await Promise.all(calls)).toEqual(leaving.map(({ reason }) => reason))
    expect(told).toEqual([leaving[2]?.reason])
    const next = acme.getOrCompute('k', () => 'anew') // does not wait for what was left
    expect(await next).toBe('anew')
    gate.resolve('left')
    await clock.settle()
    expect(acme.peek('k')).toBe('anew')
  })

  test('who left and comes again joins those who stayed', async () => {
    const { acme, clock } = bench()
    const gate = deferred<string>()
    let computed = 0
    const compute = (): Promise<string> => {
      computed++
      return gate.promise
    }
    const stays = acme.getOrCompute('k', compute)
    const controller = new AbortController()
    const leaves = acme.getOrCompute('k', compute, { signal: controller.signal }).catch(() => 'left')
    await clock.settle()
    controller.abort()
    expect(await leaves).toBe('left')
    const again = acme.getOrCompute('k', compute)
    gate.resolve('one')
    expect([await stays, await again, computed]).toEqual(['one', 'one', 1])
  })

  test('a compute that asks for its signal after everybody has left finds it aborted', async () => {
    const { acme, clock } = bench()
    const gate = deferred()
    const seen = deferred<unknown>()
    const controller = new AbortController()
    const reason = new Error('enough')
    const leaves = acme.getOrCompute('k', async (ctx) => {
      await gate.promise
      seen.resolve(ctx.signal.reason)
    }, { signal: controller.signal }).catch((error: unknown) => error)
    await clock.settle()
    controller.abort(reason)
    expect(await leaves).toBe(reason)
    gate.resolve()
    expect(await seen.promise).toBe(reason)
  })
})
