import { describe, expect, jest, test } from '@jest/globals'
import { CacheEntry, CacheError, isStreamed, StreamedEntry, type CacheBackend, type CancelTimer, type ClearOptions, type JournalSlot, type OperationOptions, type PutOptions } from '@thermocline/backend'
import { CircuitBreaker } from '@thermocline/core'
import { Deadlines } from '../src/layers/deadlines.js'
import { Gate } from '../src/layers/gate.js'
import { resilience } from '../src/layers/resilience.js'
import { landing } from '../src/layers/run.js'
import { ManualClock, turns, watch } from './support/manual-clock.js'
import { call, failure, KEY, OPERATIONS, SCOPE, ScriptedBackend } from './support/scripted-backend.js'

const BUDGET = 100
const HANGING = (): Promise<never> => new Promise(() => undefined)

/** All layers around a store, which is given so many operations at once. */
class Rig {
  readonly clock = new ManualClock()
  readonly store = new ScriptedBackend()
  readonly breaker = new CircuitBreaker({ clock: this.clock, failureThreshold: 2 })
  readonly read: Gate
  readonly write: Gate
  readonly backend: CacheBackend
  /** Ends the operations that the store was asked for, in their order. */
  readonly answers: ((value: unknown) => void)[] = []

  constructor(width = 1, attempts = 1) {
    const deadlines = Deadlines.of(this.clock)
    this.read = new Gate({ deadlines, width })
    this.write = new Gate({ deadlines, width })
    const retry = { clock: this.clock, attempts, baseDelayMs: 20, random: () => 1 }
    this.breaker.probes(new ScriptedBackend()) // what probes ask is counted nowhere
    this.backend = resilience({ guard: this.breaker, gates: this, timeout: { clock: this.clock, budgetMs: BUDGET }, retry })(this.store)
    this.store.answer = () => new Promise((resolve) => this.answers.push(resolve))
  }

  get open(): string {
    return (['read', 'write'] as const).filter((circuit) => this.breaker.isOpen(circuit)).join(' and ')
  }
}

/** A streamed entry of chunks that somebody hands out. */
function streamed(chunks: () => AsyncIterable<Uint8Array>): CacheEntry {
  return new StreamedEntry({ codec: 'buffer', byteLength: undefined, crc32: undefined, chunks, cancel: () => undefined }, { createdAt: 0, expiresAt: 1 })
}

function putStream(backend: CacheBackend, chunks: () => AsyncIterable<Uint8Array>, options: OperationOptions = {}): Promise<unknown> {
  return Promise.resolve(backend.put(SCOPE, KEY, streamed(chunks), { onlyIfAbsent: false, keepUntil: 1, ...options }))
}

/** The chunks of what was put last, as the store reads them. */
function chunksOf(store: ScriptedBackend): AsyncIterator<Uint8Array> {
  const entry = store.lastPut as CacheEntry
  if (!isStreamed(entry)) throw new Error('it is no stream')
  return entry.payload.chunks()[Symbol.asyncIterator]()
}

describe('an operation', () => {
  test('hands its options on to the store', async () => {
    const { store, backend } = new Rig()
    store.answer = () => Promise.resolve(undefined)
    await backend.get(SCOPE, KEY, { want: 'head', touch: true, adopt: true, budgetMs: 7 })
    expect(store.options).toMatchObject({ want: 'head', touch: true, adopt: true, budgetMs: 7 })
    const journal = {} as JournalSlot
    await backend.put(SCOPE, KEY, CacheEntry.head({ createdAt: 0, expiresAt: 1 }), { onlyIfAbsent: true, keepUntil: 5, journal })
    expect(store.options).toMatchObject({ onlyIfAbsent: true, keepUntil: 5 })
    expect((store.options as PutOptions).journal).toBe(journal)
    const only = (): boolean => true
    await backend.clear(SCOPE, '', { only })
    expect((store.options as ClearOptions).only).toBe(only)
  })

  test('asks whoever waits for it, too, when its answer is on its way', () => {
    const { store, backend } = new Rig()
    const watched: unknown[] = []
    void call(backend, 'get', { watch: (movedAt) => watched.push(movedAt) })
    const movedAt = (): number => 0
    store.options.watch?.(movedAt)
    expect(watched).toEqual([movedAt])
  })

  test('makes one signal and one way to tell of progress, however often they are asked for', () => {
    const { store, backend } = new Rig()
    void call(backend, 'get')
    const { signal, progress } = store.options
    expect(signal).toBeInstanceOf(AbortSignal)
    expect([store.options.signal, store.options.progress]).toEqual([signal, progress])
    expect(store.options.progress).toBe(progress)
  })

  test('whose caller has left is a failure of nobody, whether it rejects or throws', async () => {
    for (const fail of [(error: unknown) => Promise.reject(error), (error: unknown) => { throw error }] as const) {
      const { store, backend, breaker } = new Rig()
      const caller = new AbortController()
      caller.abort(new Error('enough'))
      store.answer = () => fail(failure('unavailable', true))
      for (let i = 0; i < 3; i++) await expect(call(backend, 'get', { signal: caller.signal })).rejects.toMatchObject({ code: 'unavailable' })
      expect(breaker.isOpen('read')).toBe(false)
      expect(store.calls).toHaveLength(3)
    }
  })

  test('that is left is waited for no longer, and its late answer changes nothing', async () => {
    const { clock, store, backend, answers, breaker } = new Rig()
    const seen = watch(call(backend, 'delete', { budgetMs: 30 }))
    await clock.advance(30)
    expect(seen.outcome).toMatchObject({ code: 'timeout', message: 'delete on scripted made no progress for 30 ms and was left', operation: 'delete', backend: 'scripted' })
    answers[0]?.('late')
    await turns()
    expect(seen.outcome).toMatchObject({ code: 'timeout' })
    expect(breaker.isOpen('write')).toBe(false) // with less than the whole budget it says nothing of the store
    store.answer = HANGING
    const whole = watch(call(backend, 'delete'))
    await clock.advance(BUDGET)
    expect(whole.outcome).toMatchObject({ code: 'timeout', message: 'delete on scripted made no progress for 100 ms and was left' })
    expect(breaker.isOpen('write')).toBe(true)
  })

  test('that was left counts for nothing any more, however it ends: neither as success nor as failure', async () => {
    const { clock, store, backend, breaker } = new Rig(9)
    const fail = async (): Promise<void> => {
      store.answer = () => Promise.reject(failure('failed'))
      await expect(call(backend, 'get')).rejects.toMatchObject({ code: 'failed' })
    }
    const leave = async (): Promise<(outcome: unknown) => void> => {
      let end = (_outcome: unknown): void => undefined
      store.answer = () => new Promise((resolve) => (end = resolve))
      void call(backend, 'get', { budgetMs: 30 }).catch(() => undefined)
      await clock.advance(30)
      return end
    }
    const [first, second] = [await leave(), await leave()]
    first(Promise.reject(failure('unavailable')))
    await turns()
    expect(breaker.isOpen('read')).toBe(false)
    await fail()
    second('late')
    await turns()
    await fail()
    expect(breaker.isOpen('read')).toBe(true) // two in a row
  })

  test('whose answer comes in the two turns that are granted at the end of its budget is sound', async () => {
    const { clock, backend, breaker, answers } = new Rig()
    const seen = watch(call(backend, 'get'))
    jest.spyOn(clock, 'afterPendingIo').mockImplementationOnce((callback) => {
      answers[0]?.('just in time')
      setImmediate(() => setImmediate(callback))
    })
    await clock.advance(BUDGET)
    expect([seen.outcome, breaker.isOpen('read')]).toEqual(['just in time', false])
  })

  test('whose answer moved on a moment ago has the rest of a budget since then, to the millisecond', async () => {
    const { clock, store, backend } = new Rig()
    const seen = watch(call(backend, 'get'))
    const movedAt = clock.monotonic() + 1
    store.options.watch?.(() => movedAt)
    await clock.advance(BUDGET)
    expect(seen.outcome).toBe('waiting')
    await clock.advance(1)
    expect(seen.outcome).toMatchObject({ code: 'timeout' })
  })

  test('that fails with nothing in particular fails with that', async () => {
    const { store, backend } = new Rig(1, 3)
    const nothing: unknown = undefined
    store.answer = () => Promise.reject(nothing)
    await expect(call(backend, 'get')).rejects.toBeUndefined()
    expect(store.calls).toHaveLength(1)
  })

  test('of a tier without a breaker, or without retries, is carried out as well', async () => {
    const clock = new ManualClock()
    const store = new ScriptedBackend()
    const gate = new Gate({ deadlines: Deadlines.of(clock), width: 1 })
    const backend = resilience({ gates: { read: gate, write: gate }, timeout: { clock, budgetMs: BUDGET } })(store)
    const error = failure('unavailable', true)
    store.answer = (operation) => (operation === 'get' ? Promise.resolve('there') : Promise.reject(error))
    const seen = [call(backend, 'get'), call(backend, 'get'), call(backend, 'put'), call(backend, 'delete')].map(watch)
    await turns()
    expect(seen.map(({ outcome }) => outcome)).toEqual(['there', 'there', error, error])
    expect(store.calls).toEqual(['get', 'get', 'put', 'delete'])
  })

  test('that the store itself calls late in less than the whole budget says nothing of the store either', async () => {
    for (const [options, open] of [[{ budgetMs: 30 }, ''], [{}, 'read and write']] as const) {
      const rig = new Rig()
      rig.store.answer = () => Promise.reject(failure('timeout'))
      await expect(call(rig.backend, 'get', options)).rejects.toMatchObject({ code: 'timeout' })
      expect(rig.open).toBe(open)
    }
    const other = new Rig()
    other.store.answer = () => Promise.reject(failure('unavailable'))
    await expect(call(other.backend, 'get', { budgetMs: 30 })).rejects.toMatchObject({ code: 'unavailable' })
    expect(other.open).toBe('read and write')
  })

  test('that succeeds ends a row of failures, with a promise or without', async () => {
    for (const succeed of [() => Promise.resolve(undefined), () => undefined]) {
      const { store, backend, breaker } = new Rig()
      for (let i = 0; i < 3; i++) {
        store.answer = () => Promise.reject(failure('failed'))
        await expect(call(backend, 'get')).rejects.toThrow()
        store.answer = succeed
        await call(backend, 'get')
      }
      expect(breaker.isOpen('read')).toBe(false)
    }
  })

  test('of many keys at once is a read, and has a budget like any other', async () => {
    const { clock, breaker, backend, store } = new Rig()
    store.answer = HANGING
    const seen = watch(Promise.resolve(backend.getMany(SCOPE, [KEY], { want: 'payload', touch: true })))
    await clock.advance(BUDGET)
    expect(seen.outcome).toMatchObject({ code: 'timeout', operation: 'getMany' })
    expect(breaker.isOpen('read')).toBe(true)
  })
})

describe('a retry', () => {
  test('is not made of what was left meanwhile: all attempts together have one budget', async () => {
    const { clock, store, backend } = new Rig(1, 9)
    store.answer = () => Promise.reject(failure('unavailable', true))
    const seen = watch(call(backend, 'get'))
    await clock.advance(BUDGET)
    expect(seen.outcome).toMatchObject({ code: 'timeout' })
    await clock.advance(10 * BUDGET)
    expect(store.calls).toHaveLength(3) // at once, after 20 and after 60 ms
  })

  test('that the store answers by throwing is the failure', async () => {
    const { clock, store, backend, breaker } = new Rig(1, 3)
    let asked = 0
    store.answer = () => {
      if (asked++ === 0) return Promise.reject(failure('failed', true))
      throw failure('unavailable')
    }
    const seen = watch(call(backend, 'get'))
    await clock.advance(20)
    expect(seen.outcome).toMatchObject({ code: 'unavailable' })
    expect(asked).toBe(2)
    expect(breaker.isOpen('read')).toBe(true)
  })

  test('that is answered ends the operation, and takes nothing from the next one', async () => {
    const { clock, store, backend, answers } = new Rig(1, 3)
    const hang = store.answer
    store.answer = () => Promise.reject(failure('failed', true))
    const first = watch(call(backend, 'get'))
    await turns()
    store.answer = hang
    await clock.advance(20)
    expect(answers).toHaveLength(1)
    answers[0]?.('first')
    await turns()
    expect(first.outcome).toBe('first')
    const second = watch(call(backend, 'get'))
    await turns()
    expect(answers).toHaveLength(2)
    answers[1]?.('second')
    await turns()
    expect(second.outcome).toBe('second')
  })

  test('is not made of a put that was sent and may be carried out later, nor of a stream, whose bytes do not come again', async () => {
    const { clock, store, backend } = new Rig(9, 3)
    store.answer = () => Promise.reject(failure('failed', true))
    const seen = watch(putStream(backend, async function* () {}))
    await clock.advance(BUDGET / 2)
    expect(seen.outcome).toMatchObject({ message: 'made to fail: failed' })
    store.answer = () => Promise.reject(new CacheError('failed', 'sent', { operation: 'put', retryable: true, landsWithinMs: 5000 }))
    const sent = watch(call(backend, 'put'))
    await clock.advance(BUDGET / 2)
    expect(sent.outcome).toMatchObject({ message: 'sent' })
    expect(store.calls).toEqual(['put', 'put'])
  })
})

describe('an operation that waits for its turn', () => {
  test.each(OPERATIONS)('(%s) is given to the store when another has ended, and has its whole budget then', async (operation) => {
    const { clock, store, backend, answers } = new Rig()
    const seen = ['first', 'second', 'third'].map(() => watch(call(backend, operation)))
    await clock.advance(BUDGET - 10)
    expect(store.calls).toHaveLength(1)
    answers[0]?.('one')
    await turns()
    expect(store.calls).toHaveLength(2)
    await clock.advance(BUDGET - 10)
    expect(seen.map(({ outcome }) => outcome)).toEqual(['one', 'waiting', 'waiting'])
    answers[1]?.('two')
    await turns()
    await clock.advance(BUDGET - 1)
    expect(seen.map(({ outcome }) => outcome)).toEqual(['one', 'two', 'waiting'])
    await clock.advance(1)
    expect(seen[2]?.outcome).toMatchObject({ code: 'timeout', operation })
    expect(store.calls).toHaveLength(3)
  })

  test('is held up by its own kind only: reads by reads, writes by writes; statistics and streams by nobody', async () => {
    const { store, backend, answers } = new Rig()
    void call(backend, 'get')
    void call(backend, 'get')
    expect(store.calls).toEqual(['get'])
    void call(backend, 'put')
    for (const operation of ['put', 'delete', 'clear'] as const) void call(backend, operation)
    expect(store.calls).toEqual(['get', 'put'])
    void putStream(backend, async function* () {})
    expect(store.calls).toEqual(['get', 'put', 'put'])
    store.statsAnswer = () => ({ entries: 1 })
    expect(await backend.stats()).toEqual({ entries: 1 })
    answers[2]?.(true) // of the stream: it had no place, and gives none away
    await turns()
    expect(store.calls).toHaveLength(3)
  })

  test.each(['an answer without a promise', 'a rejection', 'an error that is thrown', 'a budget that is over', 'a caller who has left'])('gets its turn after %s', async (how) => {
    const { clock, store, backend } = new Rig()
    const caller = new AbortController()
    let asked = 0
    store.answer = () => {
      if (asked++ > 0) return 'second'
      if (how === 'an answer without a promise') return 'first'
      if (how === 'a rejection') return Promise.reject(failure('failed'))
      if (how === 'an error that is thrown') throw failure('failed')
      if (how === 'a budget that is over') return HANGING()
      return new Promise((_, reject) => caller.signal.addEventListener('abort', () => reject(failure('failed'))))
    }
    const first = watch(call(backend, 'put', { signal: caller.signal, budgetMs: 40 }))
    const second = watch(call(backend, 'put'))
    if (how === 'a caller who has left') caller.abort()
    await clock.advance(40)
    expect(first.outcome).not.toBe('waiting')
    expect(second.outcome).toBe('second')
    expect(await call(backend, 'put')).toBe('second')
  })

  test('that fails when it has its turn is told of like any other', async () => {
    for (const fail of [() => Promise.reject(failure('unavailable')), () => { throw failure('unavailable') }] as const) {
      const rig = new Rig()
      void call(rig.backend, 'get')
      const seen = watch(call(rig.backend, 'get'))
      rig.store.answer = fail
      rig.answers[0]?.(undefined)
      await turns()
      expect(seen.outcome).toMatchObject({ code: 'unavailable' })
      expect(rig.open).toBe('read and write')
    }
  })

  test('whose caller leaves meanwhile is not given to the store, says why, and holds up nobody', async () => {
    const { store, backend, answers, breaker } = new Rig()
    const caller = new AbortController()
    void call(backend, 'get')
    const left = Array.from({ length: 3 }, () => watch(call(backend, 'get', { signal: caller.signal })))
    const stays = watch(call(backend, 'get'))
    caller.abort(new Error('enough'))
    answers[0]?.(undefined)
    await turns()
    expect(left.map(({ outcome }) => outcome)).toEqual(left.map(() => caller.signal.reason as unknown))
    expect(store.calls).toHaveLength(2)
    answers[1]?.('there')
    await turns()
    expect(stays.outcome).toBe('there')
    expect(breaker.isOpen('read')).toBe(false)
  })

  test('is refused without asking the store when the circuit opens meanwhile', async () => {
    for (const operation of OPERATIONS) {
      const { clock, store, backend, breaker } = new Rig()
      const first = watch(call(backend, operation))
      const second = watch(call(backend, operation))
      await clock.advance(BUDGET)
      expect(first.outcome).toMatchObject({ code: 'timeout' })
      expect(second.outcome).toBe(breaker.refusal(operation === 'get' ? 'read' : 'write'))
      expect(store.calls).toEqual([operation])
    }
  })

  test('passes when the store is only full, if it is a delete or clear', async () => {
    const { store, backend, answers } = new Rig()
    void call(backend, 'delete')
    const [deleted, cleared, put] = [watch(call(backend, 'delete')), watch(call(backend, 'clear')), watch(call(backend, 'put'))]
    const stream = putStream(backend, async function* () {})
    const answer = store.answer
    answers[1]?.(Promise.reject(failure('storage-full')))
    await expect(stream).rejects.toMatchObject({ code: 'storage-full' })
    store.answer = answer
    answers[0]?.(1)
    await turns()
    answers[2]?.(2)
    await turns()
    answers[3]?.(3)
    await turns()
    expect([deleted.outcome, cleared.outcome]).toEqual([2, 3])
    expect(put.outcome).toMatchObject({ code: 'circuit-open' })
  })

  test('for half a minute is left out, with an error that says so, and gives its turn to the next', async () => {
    const { clock, store, backend, answers, breaker } = new Rig()
    void call(backend, 'get')
    const movedAt = (): number => clock.monotonic() // the first one's answer is on its way all the time
    store.options.watch?.(movedAt)
    const late = watch(call(backend, 'get'))
    await clock.advance(20_000)
    const next = watch(call(backend, 'get'))
    await clock.advance(9999)
    expect(late.outcome).toBe('waiting')
    await clock.advance(1)
    expect(late.outcome).toMatchObject({ code: 'busy', message: 'get on scripted was not started: it waited 30 s for its turn', operation: 'get', backend: 'scripted' })
    answers[0]?.(undefined)
    await turns()
    expect(store.calls).toHaveLength(2)
    answers[1]?.('next')
    await turns()
    expect(next.outcome).toBe('next')
    expect(breaker.isOpen('read')).toBe(false)
    expect(await watchNext()).toBe('another')

    async function watchNext(): Promise<unknown> {
      const another = call(backend, 'get')
      answers[2]?.('another')
      return another
    }
  })

  test('and gets it in the two turns that are granted at the end of half a minute has a whole budget then', async () => {
    const { clock, store, backend, read } = new Rig()
    read.enter()
    const seen = watch(call(backend, 'get'))
    jest.spyOn(clock, 'afterPendingIo').mockImplementationOnce((callback) => {
      read.leave()
      setImmediate(() => setImmediate(callback))
    })
    await clock.advance(30_000)
    expect([store.calls, seen.outcome]).toEqual([['get'], 'waiting'])
    await clock.advance(BUDGET - 1)
    expect(seen.outcome).toBe('waiting')
    await clock.advance(1)
    expect(seen.outcome).toMatchObject({ code: 'timeout' })
  })

  test('is left out at once where a hundred thousand wait already', async () => {
    const { backend, read } = new Rig()
    void call(backend, 'get')
    const waiting = { admitted: (): void => undefined }
    for (let at = 0; at < 100_000; at++) read.wait(waiting)
    await expect(call(backend, 'get')).rejects.toMatchObject({ code: 'busy', message: 'get on scripted was not started: too many operations wait for the tier already' })
  })
})

describe('a put of a stream', () => {
  test('has no budget while its source is waited for, whatever the store tells meanwhile, and a whole one for each chunk', async () => {
    const { clock, store, backend } = new Rig()
    store.answer = HANGING
    const given: ((step: IteratorResult<Uint8Array>) => void)[] = []
    const source: AsyncIterable<Uint8Array> = { [Symbol.asyncIterator]: () => ({ next: () => new Promise((resolve) => given.push(resolve)) }) }
    const seen = watch(putStream(backend, () => source))
    const chunks = chunksOf(store)
    await clock.advance(BUDGET / 2)
    const first = watch(chunks.next())
    store.options.progress?.()
    await clock.advance(10 * BUDGET)
    expect([seen.outcome, first.outcome]).toEqual(['waiting', 'waiting'])
    given[0]?.({ done: false, value: Buffer.from('a') })
    await clock.advance(BUDGET - 1)
    expect(first.outcome).toMatchObject({ done: false })
    store.options.progress?.()
    await clock.advance(BUDGET - 1)
    expect(seen.outcome).toBe('waiting')
    const last = watch(chunks.next())
    await clock.advance(10 * BUDGET)
    given[1]?.({ done: true, value: undefined })
    await clock.advance(BUDGET - 1)
    expect([seen.outcome, last.outcome]).toEqual(['waiting', { done: true, value: undefined }])
    await clock.advance(1)
    expect(seen.outcome).toMatchObject({ code: 'timeout', operation: 'put' })
  })

  test.each(['keeps it to itself', 'has heard that its source failed'])('is left by a store that was given a chunk and %s for the budget', async (how) => {
    const { clock, store, backend } = new Rig()
    store.answer = HANGING
    const fail = (): Promise<never> => Promise.reject(new Error('the source broke'))
    const chunk = { done: false, value: Buffer.from('a') } as const
    const source: AsyncIterable<Uint8Array> = { [Symbol.asyncIterator]: () => ({ next: () => (how === 'keeps it to itself' ? Promise.resolve(chunk) : fail()) }) }
    const seen = watch(putStream(backend, () => source))
    watch(chunksOf(store).next())
    await clock.advance(BUDGET - 1)
    expect(seen.outcome).toBe('waiting')
    await clock.advance(1)
    expect(seen.outcome).toMatchObject({ code: 'timeout' })
  })

  test('needs no budget, and no source that can be closed', async () => {
    const store = new ScriptedBackend()
    store.answer = async () => {
      const chunks = chunksOf(store)
      await chunks.next()
      await chunks.return?.()
      return false
    }
    const source: AsyncIterable<Uint8Array> = { [Symbol.asyncIterator]: () => ({ next: () => Promise.resolve({ done: false, value: Buffer.from('a') }) }) }
    const clock = new ManualClock()
    for (const layer of [resilience({ retry: { clock, attempts: 2, baseDelayMs: 1 } }), resilience({ timeout: { clock, budgetMs: BUDGET } })]) {
      expect(await putStream(layer(store), () => source)).toBe(false)
    }
  })

  test('whose source fails is no failure of the store', async () => {
    const { store, backend, breaker } = new Rig()
    store.answer = async () => {
      const chunks = chunksOf(store)
      for (;;) if ((await chunks.next()).done === true) return true
    }
    const broken = failure('unavailable')
    for (let i = 0; i < 3; i++) {
      await expect(putStream(backend, async function* () {
        yield Buffer.from('a')
        throw broken
      })).rejects.toBe(broken)
    }
    expect(breaker.isOpen('write')).toBe(false)
  })

  test('closes its source when the store takes no more, and only then', async () => {
    const closed: string[] = []
    for (const [name, most] of [['left', 1], ['ended', 9], ['failed', 9]] as const) {
      const { store, backend } = new Rig()
      store.answer = async () => {
        const chunks = chunksOf(store)
        for (let at = 0; at < most; at++) if ((await chunks.next()).done === true) return true
        await chunks.return?.()
        return false
      }
      let left = 3
      const next = (): Promise<IteratorResult<Uint8Array>> => {
        if (--left > 0) return Promise.resolve({ done: false, value: Buffer.from('a') })
        return name === 'failed' ? Promise.reject(new Error('the source broke')) : Promise.resolve({ done: true, value: undefined })
      }
      const source: AsyncIterable<Uint8Array> = { [Symbol.asyncIterator]: () => ({ next, return: () => (closed.push(name), Promise.resolve({ done: true, value: undefined })) }) }
      await putStream(backend, () => source).catch(() => undefined)
    }
    expect(closed).toEqual(['left'])
  })
})

describe('what says when an operation has really ended', () => {
  test('keeps no process up', async () => {
    const background: unknown[] = []
    const clock = new (class extends ManualClock {
      override schedule(ms: number, callback: () => void, options?: { readonly background?: boolean }): CancelTimer {
        if (ms === 5000) background.push(options?.background)
        return super.schedule(ms, callback)
      }
    })()
    const landed = watch(landing(new CacheError('failed', 'sent', { operation: 'put', landsWithinMs: 5000 }), clock) as Promise<void>)
    await clock.advance(5000)
    expect([background, landed.outcome]).toEqual([[true], undefined])
    expect(landing(failure('failed'), clock)).toBeUndefined()
  })

  test('waits as long as what failed late may still be carried out', async () => {
    const { clock, store, backend } = new Rig()
    let fail = (_error: unknown): void => undefined
    store.answer = () => new Promise((_, reject) => (fail = reject))
    const seen = watch(call(backend, 'put'))
    await clock.advance(BUDGET)
    const error = seen.outcome as CacheError
    const ended = watch(error.settled as Promise<unknown>)
    fail(Object.assign(failure('unavailable'), { landsWithinMs: 5000 }))
    await clock.advance(4999)
    expect(ended.outcome).toBe('waiting')
    await clock.advance(1)
    expect(ended.outcome).toBeUndefined()
  })
})
