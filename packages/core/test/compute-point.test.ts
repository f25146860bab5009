import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import type { Readable } from 'node:stream'
import { CacheEntry, validateKey, validateTenant } from '@thermocline/backend'
import { MemoryBackend } from '@thermocline/memory'
import type { AroundCompute } from '../src/flights/compute-point.js'
import { Engine } from '../src/manager/engine.js'
import { TenantCache } from '../src/manager/tenant-cache.js'
import type { TenantState } from '../src/state/tenant-state.js'

let engine: Engine
let state: TenantState
let acme: TenantCache
let calls: string[]

beforeEach(() => {
  engine = new Engine({ tiers: { hot: { backend: new MemoryBackend() } }, logger: false })
  state = engine.tenants.of(validateTenant('acme'))
  acme = new TenantCache(engine, state)
  calls = []
})

afterEach(() => engine.close())

const textOf = async (stream: Promise<Readable>): Promise<string> => Buffer.concat(await (await stream).toArray()).toString()

/** The two verbs that compute: a call with a text that is made, and what is stored then. */
const VERBS = [
  { verb: 'getOrCompute', call: (make: () => string | Promise<string>, signal?: AbortSignal): Promise<string> => acme.getOrCompute('k', make, { signal }), value: (text: string): unknown => text },
  {
    verb: 'getOrComputeStream',
    call: (make: () => string | Promise<string>, signal?: AbortSignal): Promise<string> => textOf(acme.getOrComputeStream('k', async () => [await make()], { signal })),
    value: (text: string): unknown => Buffer.from(text),
  },
]

describe.each(VERBS)('around the compute of $verb', ({ call, value }) => {
  test('several things may be put, the last one outermost, and callers notice nothing', async () => {
    const around = (name: string): AroundCompute => async (step) => {
      calls.push(`${name} of ${step.flight.tenant}/${step.flight.key}, ${step.policy}`)
      const made = await step.make()
      void step.stored(made).then(() => calls.push(`after ${name}`))
      return made
    }
    engine.computePoint.wrap(around('inner'))
    engine.computePoint.wrap(around('outer'))
    expect(await Promise.all([call(() => 'made'), call(() => 'not called')])).toEqual(['made', 'made'])
    expect(await acme.get('k')).toEqual(value('made'))
    expect(calls).toEqual(['outer of acme/k, default', 'inner of acme/k, default', 'after inner', 'after outer'])
    expect((await acme.stats()).policies.default).toMatchObject({ computes: 1, coalesced: 1 })
  })

  test('it may be answered with what somebody else has stored, which is a hit', async () => {
    engine.computePoint.wrap(async (step) => {
      expect(await step.look()).toBeUndefined()
      const entry = CacheEntry.ofValue(value('elsewhere'), { createdAt: engine.clock.now(), expiresAt: Number.POSITIVE_INFINITY })
      await engine.firstTier.backend.put(state.scope, validateKey('k'), entry, { onlyIfAbsent: false, keepUntil: Number.POSITIVE_INFINITY })
      return (await step.look()) ?? step.make()
    })
    expect(await call(() => 'not called')).toBe('elsewhere')
    const stats = await acme.stats()
    expect({ hits: stats.hits, computes: stats.policies.default?.computes }).toEqual({ hits: 1, computes: 0 })
  })

  test('what it fails with is what callers get, and the next one starts anew', async () => {
    let isRefused = true
    engine.computePoint.wrap((step) => (isRefused ? Promise.reject(new Error('no lock')) : step.make()))
    const outcomes = await Promise.allSettled([call(() => 'made'), call(() => 'made')])
    expect(outcomes.map((outcome) => (outcome.status === 'rejected' ? (outcome.reason as Error).message : outcome.value))).toEqual(['no lock', 'no lock'])
    isRefused = false
    expect(await call(() => 'made')).toBe('made')
  })

  test('what fails after the compute is what callers get, and breaks no fence of somebody else', async () => {
    engine.computePoint.wrap(async (step) => {
      await step.make()
      throw new Error('the lock is lost')
    })
    const fence = state.fences.open('k') // somebody else's
    await expect(call(() => 'made')).rejects.toThrow('the lock is lost')
    await acme.delete('k')
    expect(fence.broken).toBe(true)
    state.fences.close(fence)
  })

  test('it is told when the last caller has left', async () => {
    const told = new Promise<unknown>((resolve) => {
      engine.computePoint.wrap(({ flight: { signal } }) => {
        signal.addEventListener('abort', () => resolve(signal.reason))
        controller.abort(reason)
        return new Promise(() => undefined)
      })
    })
    const controller = new AbortController()
    const reason = new Error('enough')
    await expect(call(() => 'made', controller.signal)).rejects.toBe(reason)
    expect(await told).toBe(reason)
  })
})
