import { describe, expect, jest, test } from '@jest/globals'
import { timeout } from '@thermocline/core'
import type { CacheBackend, CacheError } from '@thermocline/backend'
import { ManualClock, turns, watch } from './support/manual-clock.js'
import { call, failure, OPERATIONS, SCOPE, ScriptedBackend } from './support/scripted-backend.js'

const BUDGET = 100

function timed(): { clock: ManualClock; store: ScriptedBackend; backend: CacheBackend } {
  const clock = new ManualClock()
  const store = new ScriptedBackend()
  return { clock, store, backend: timeout({ clock, budgetMs: BUDGET })(store) }
}

describe('timeout', () => {
  test.each(OPERATIONS)('leaves a %s that makes no progress for the budget, and says when it has really ended', async (operation) => {
    const { clock, store, backend } = timed()
    let finish!: (value: unknown) => void
    store.answer = () => new Promise((resolve) => (finish = resolve))
    const seen = watch(call(backend, operation))
    const { signal } = store.options
    await clock.advance(BUDGET - 1)
    expect(seen.outcome).toBe('waiting')
    expect(signal?.aborted).toBe(false)
    await clock.advance(1)
    const error = seen.outcome as CacheError
    expect(error).toMatchObject({ code: 'timeout', operation, backend: 'scripted', retryable: false })
    expect(signal?.reason).toBe(error)
    const ended = watch(error.settled!)
    await turns()
    expect(ended.outcome).toBe('waiting')
    finish('late')
    await turns()
    expect(ended.outcome).toBeUndefined()
    expect(clock.pending).toBe(0)
  })

  test('a late failure of what was left settles it too and is nobody\'s unhandled rejection', async () => {
    const { clock, store, backend } = timed()
    let fail!: (error: unknown) => void
    store.answer = () => new Promise((_, reject) => (fail = reject))
    const seen = watch(call(backend, 'put'))
    await clock.advance(BUDGET)
    fail(new Error('connection lost'))
    await expect((seen.outcome as CacheError).settled).resolves.toBeUndefined()
  })

  test('progress renews the budget', async () => {
    const { clock, store, backend } = timed()
    store.answer = () => new Promise(() => undefined)
    let progressed = 0
    const seen = watch(call(backend, 'get', { progress: () => progressed++ }))
    for (let i = 0; i < 5; i++) {
      await clock.advance(BUDGET - 10)
      store.options.progress?.()
    }
    expect(seen.outcome).toBe('waiting')
    expect(progressed).toBe(5) // told on to whoever asked
    await clock.advance(BUDGET - 1)
    expect(seen.outcome).toBe('waiting')
    await clock.advance(1)
    expect(seen.outcome).toMatchObject({ code: 'timeout' })
  })

  test('a shorter budget of the call is kept, a longer one is not', async () => {
    const { clock, store, backend } = timed()
    store.answer = () => new Promise(() => undefined)
    const short = watch(call(backend, 'get', { budgetMs: 30 }))
    const long = watch(call(backend, 'get', { budgetMs: 1000 }))
    await clock.advance(30)
    expect([short.outcome, long.outcome]).toEqual([expect.objectContaining({ code: 'timeout' }), 'waiting'])
    await clock.advance(70)
    expect(long.outcome).toMatchObject({ code: 'timeout' })
  })

  test('an answer that arrives in the two turns after the timer counts: the process was busy, not the store', async () => {
    const { clock, store, backend } = timed()
    store.answer = () => new Promise((resolve) => clock.schedule(BUDGET, () => setImmediate(() => resolve('just in time'))))
    const seen = watch(call(backend, 'get'))
    await clock.advance(BUDGET)
    expect(seen.outcome).toBe('just in time')
  })

  test('an answer in time, or without a promise, leaves no timer', async () => {
    const { clock, store, backend } = timed()
    store.answer = () => 'at once'
    expect(backend.get(SCOPE, 'k' as never, { want: 'payload', touch: true })).toBe('at once')
    store.answer = () => Promise.reject(failure('failed'))
    await expect(call(backend, 'get')).rejects.toMatchObject({ code: 'failed' })
    expect(clock.pending).toBe(0)
  })

  test('an answer that is on its way has time, and is looked after once a budget, not at each turn', async () => {
    const { clock, store, backend } = timed()
    store.answer = () => new Promise(() => undefined)
    const seen = watch(call(backend, 'get'))
    let asked = 0
    let movedAt = 0
    store.options.watch?.(() => {
      asked++
      return movedAt
    })
    for (let n = 0; n < 10; n++) {
      movedAt = clock.monotonic() + BUDGET / 2
      await clock.advance(BUDGET)
    }
    expect(seen.outcome).toBe('waiting')
    expect(asked).toBeLessThanOrEqual(25)
    await clock.advance(2 * BUDGET)
    expect(seen.outcome).toMatchObject({ code: 'timeout' })
  })

  test("the caller's signal reaches the store beside the layer's own", async () => {
    const { clock, store, backend } = timed()
    store.answer = () => new Promise(() => undefined)
    const caller = new AbortController()
    void call(backend, 'get', { signal: caller.signal }).catch(() => undefined)
    const { signal } = store.options
    expect(store.options.signal).toBe(signal)
    caller.abort(new Error('enough'))
    expect(signal?.reason).toBe(caller.signal.reason)
    await clock.advance(BUDGET)
  })

  test('a signal asked for after the time is up is aborted already', async () => {
    const { clock, store, backend } = timed()
    store.answer = () => new Promise(() => undefined)
    const seen = watch(call(backend, 'get'))
    await clock.advance(BUDGET)
    expect(store.options.signal?.reason).toBe(seen.outcome)
  })

  test('a listener without a signal is called when the time is up, only the last one, and at once when it comes late', async () => {
    const { clock, store, backend } = timed()
    store.answer = () => new Promise(() => undefined)
    const seen = watch(call(backend, 'get'))
    const heard: string[] = []
    expect(store.options.onAbort?.(() => heard.push('first'))).toBe(true)
    expect(store.options.onAbort?.(() => heard.push('second'))).toBe(true)
    await clock.advance(BUDGET)
    expect(heard).toEqual(['second'])
    expect(store.options.onAbort?.(() => heard.push('late'))).toBe(true)
    expect(heard).toEqual(['second', 'late'])
    expect(store.options.signal?.reason).toBe(seen.outcome)
  })

  test('a listener is not called once there is an answer', async () => {
    const { clock, store, backend } = timed()
    store.answer = () => Promise.resolve('there')
    const heard: string[] = []
    const got = call(backend, 'get')
    store.options.onAbort?.(() => heard.push('aborted'))
    await got
    await clock.advance(BUDGET)
    expect(heard).toEqual([])
  })

  test("where a caller has a signal a listener is not enough, unless the caller's own options take one", async () => {
    const { store, backend } = timed()
    store.answer = () => new Promise(() => undefined)
    const { signal } = new AbortController()
    void call(backend, 'get', { signal })
    expect(store.options.onAbort?.(() => undefined)).toBe(false)
    let outer: (() => void) | undefined
    void call(backend, 'get', { signal, onAbort: (listener) => ((outer = listener), true) })
    const heard: string[] = []
    expect(store.options.onAbort?.(() => heard.push('outer'))).toBe(true)
    outer?.()
    expect(heard).toEqual(['outer'])
  })

  test('a listener hears of two layers, whichever is first', async () => {
    const clock = new ManualClock()
    const store = new ScriptedBackend()
    store.answer = () => new Promise(() => undefined)
    const backend = timeout({ clock, budgetMs: BUDGET })(timeout({ clock, budgetMs: 10 * BUDGET })(store))
    const seen = watch(call(backend, 'put'))
    let heard = 0
    expect(store.options.onAbort?.(() => heard++)).toBe(true)
    await clock.advance(BUDGET)
    expect(heard).toBe(1)
    expect(seen.outcome).toMatchObject({ code: 'timeout' })
  })

  test('each step of a listing has the budget to itself, and the consumer\'s time is its own', async () => {
    const { clock, store, backend } = timed()
    const pause = (ms: number): Promise<void> => new Promise((resolve) => clock.schedule(ms, resolve))
    let closed = false
    store.steps = async function* () {
      try {
        for (let i = 0; i < 3; i++) {
          await pause(BUDGET - 10)
          yield { key: `${i}` }
        }
        await pause(BUDGET * 10)
      } finally {
        closed = true
      }
    }
    const keys: string[] = []
    const listing = watch(
      (async () => {
        for await (const { key } of backend.list(SCOPE, '', { detail: 'keys' })) {
          keys.push(key)
          await pause(BUDGET * 3)
        }
      })(),
    )
    await clock.advance(BUDGET * 13)
    expect(keys).toEqual(['0', '1', '2'])
    expect(listing.outcome).toMatchObject({ code: 'timeout', operation: 'list' })
    await clock.advance(BUDGET * 10)
    expect(closed).toBe(true)
  })

  test('a step that comes at the last moment takes nothing from the next, and between steps nothing is pending', async () => {
    const { clock, store, backend } = timed()
    const steps: ((step: IteratorResult<{ key: string }>) => void)[] = []
    store.steps = () => ({ [Symbol.asyncIterator]: () => ({ next: () => new Promise((resolve) => steps.push(resolve)) }) })
    const listing = backend.list(SCOPE, '', { detail: 'keys' })[Symbol.asyncIterator]()
    const first = listing.next()
    const grace = jest.spyOn(clock, 'afterPendingIo').mockImplementationOnce((callback) => {
      steps[0]?.({ done: false, value: { key: 'a' } })
      setImmediate(() => setImmediate(callback))
    })
    const second = watch(first.then(() => listing.next()))
    await clock.advance(BUDGET)
    expect(await first).toEqual({ done: false, value: { key: 'a' } })
    expect(grace).toHaveBeenCalledTimes(1)
    await clock.advance(BUDGET - 1)
    expect(second.outcome).toBe('waiting')
    steps[1]?.({ done: false, value: { key: 'b' } })
    await turns()
    expect(clock.pending).toBe(0)
    const third = watch(listing.next())
    const fourth = watch(listing.next()) // asked for too early: it waits its turn
    await clock.advance(BUDGET)
    expect(third.outcome).toMatchObject({ code: 'timeout', operation: 'list' })
    expect(fourth.outcome).toEqual({ done: true, value: undefined })
    expect(steps).toHaveLength(3)
  })

  test('a listing that is left early is closed in the store', async () => {
    const { store, backend } = timed()
    let closed = false
    store.steps = async function* () {
      try {
        for (;;) yield { key: 'k' }
      } finally {
        closed = true
      }
    }
    for await (const _ of backend.list(SCOPE, '', { detail: 'keys' })) break
    await turns()
    expect(closed).toBe(true)
  })

  test('stats that hang are left too', async () => {
    const { clock, store, backend } = timed()
    store.statsAnswer = () => new Promise(() => undefined)
    const seen = watch(Promise.resolve(backend.stats()))
    await clock.advance(BUDGET)
    expect(seen.outcome).toMatchObject({ code: 'timeout', operation: 'stats' })
  })
})
