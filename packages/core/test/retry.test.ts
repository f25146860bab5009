import { describe, expect, test } from '@jest/globals'
import { retry } from '@thermocline/core'
import type { CacheBackend, CacheError, OperationOptions } from '@thermocline/backend'
import { ManualClock, watch } from './support/manual-clock.js'
import { call, failure, OPERATIONS, SCOPE, ScriptedBackend } from './support/scripted-backend.js'

describe('retry', () => {
  const retrying = (attempts: number, random = () => 1): { clock: ManualClock; store: ScriptedBackend; backend: CacheBackend } => {
    const clock = new ManualClock()
    const store = new ScriptedBackend()
    return { clock, store, backend: retry({ clock, attempts, baseDelayMs: 20, random })(store) }
  }
  const failTimes = (times: number, retryable = true) => () => (times-- > 0 ? Promise.reject(failure('unavailable', retryable)) : Promise.resolve('done'))

  test.each(OPERATIONS)('tries a %s again as often as it was told to, with doubling waits', async (operation) => {
    const { clock, store, backend } = retrying(4)
    store.answer = failTimes(3)
    const seen = watch(call(backend, operation))
    for (const [wait, calls] of [[19, 1], [1, 2], [39, 2], [1, 3], [79, 3], [1, 4]] as const) {
      await clock.advance(wait)
      expect(store.calls).toHaveLength(calls)
    }
    expect(seen.outcome).toBe('done')
  })

  test('gives up after the last attempt with the last failure', async () => {
    const { clock, store, backend } = retrying(3)
    const failures = [failure('unavailable', true), failure('unavailable', true), failure('failed', true)]
    store.answer = () => Promise.reject(failures[store.calls.length - 1]!)
    const seen = watch(call(backend, 'get'))
    await clock.advance(1000)
    expect(seen.outcome).toBe(failures[2])
    expect(store.calls).toHaveLength(3)
  })

  test('tries six times where a store asks for fewer requests, however few it was told to', async () => {
    for (const [attempts, calls] of [[2, 6], [8, 8]] as const) {
      const { clock, store, backend } = retrying(attempts)
      store.answer = () => Promise.reject(failure('throttled', true))
      const seen = watch(call(backend, 'get'))
      await clock.advance(10_000)
      expect([store.calls.length, (seen.outcome as CacheError).code]).toEqual([calls, 'throttled'])
    }
  })

  test("gives the store the caller's own signal and progress, and none where there is none", async () => {
    const { store, backend } = retrying(2)
    store.answer = () => Promise.resolve(undefined)
    const { signal } = new AbortController()
    const progress = (): void => undefined
    await call(backend, 'get', { signal, progress })
    expect([store.options.signal, store.options.progress]).toEqual([signal, progress])
    await call(backend, 'get')
    expect([store.options.signal, store.options.progress]).toEqual([undefined, undefined])
  })

  test('waits a random part of the time, none at all too', async () => {
    const { clock, store, backend } = retrying(2, () => 0.25)
    store.answer = failTimes(1)
    void call(backend, 'get')
    await clock.advance(4)
    expect(store.calls).toHaveLength(1)
    await clock.advance(1)
    expect(store.calls).toHaveLength(2)
  })

  test('does not try again what the adapter did not call retryable, or what is no failure of the store', async () => {
    for (const error of [failure('failed'), failure('timeout'), new TypeError('a mistake')]) {
      const { store, backend } = retrying(5)
      store.answer = () => Promise.reject(error)
      await expect(call(backend, 'put')).rejects.toBe(error)
      expect(store.calls).toHaveLength(1)
    }
  })

  test('stops when nobody waits any more, before the wait and after it', async () => {
    for (const abortAt of [0, 10]) {
      const { clock, store, backend } = retrying(5)
      const controller = new AbortController()
      const options: OperationOptions = { signal: controller.signal }
      store.answer = failTimes(9)
      if (abortAt === 0) controller.abort()
      const seen = watch(call(backend, 'get', options))
      await clock.advance(abortAt)
      controller.abort()
      await clock.advance(1000)
      expect(seen.outcome).toMatchObject({ code: 'unavailable' })
      expect(store.calls).toHaveLength(1)
    }
  })

  test('passes an answer without a promise untouched', () => {
    const { store, backend } = retrying(2)
    store.answer = () => 'at once'
    expect(backend.get(SCOPE, 'k' as never, { want: 'payload', touch: true })).toBe('at once')
  })
})
