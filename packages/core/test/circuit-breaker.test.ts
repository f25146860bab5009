import { describe, expect, test } from '@jest/globals'
import { CircuitBreaker, timeout } from '@thermocline/core'
import { CacheError, isStreamed, PROBE_TENANT, StreamedEntry, type CacheBackend, type CacheEntry, type CacheErrorCode, type OperationOptions } from '@thermocline/backend'
import { resilience } from '../src/layers/resilience.js'
import { ManualClock, watch } from './support/manual-clock.js'
import { call, failure, KEY, OPERATIONS, SCOPE, ScriptedBackend, type Operation } from './support/scripted-backend.js'

class Outage {
  readonly clock = new ManualClock()
  readonly store = new ScriptedBackend()
  readonly changes: string[] = []
  readonly breaker = new CircuitBreaker({
    clock: this.clock,
    failureThreshold: 3,
    onChange: (state, circuit, error) => this.changes.push(`${state} ${circuit} ${error?.code}`),
  })
  readonly backend: CacheBackend = this.breaker.layer(this.store)

  get open(): string {
    return (['read', 'write'] as const).filter((circuit) => this.breaker.isOpen(circuit)).join(' and ')
  }

  /** One operation that fails so. */
  async fail(operation: Operation, error: unknown, bytes = 0): Promise<void> {
    this.store.answer = () => Promise.reject(error)
    await expect(call(this.backend, operation, { bytes })).rejects.toBe(error)
  }

  heal(): void {
    this.store.answer = (operation) => Promise.resolve(operation === 'put' ? true : undefined)
  }
}

describe('a circuit opens', () => {
  const AT_ONCE: readonly (readonly [Operation, CacheErrorCode, string])[] = [
    ['get', 'timeout', 'read and write'],
    ['put', 'timeout', 'write'],
    ['delete', 'timeout', 'write'],
    ['get', 'unavailable', 'read and write'],
    ['clear', 'unavailable', 'read and write'],
    ['put', 'storage-full', 'write'],
    ['put', 'read-only', 'write'],
    ['get', 'read-only', 'write'],
  ]
  test.each(AT_ONCE)('at once after a %s that failed as %s: %s', async (operation, code, open) => {
    const outage = new Outage()
    await outage.fail(operation, failure(code))
    expect(outage.open).toBe(open)
    expect(outage.changes).toHaveLength(1)
  })

  test('after as many other failures in a row as the threshold says; a success in between begins anew', async () => {
    const outage = new Outage()
    for (const error of [failure('failed'), new Error('anything')]) await outage.fail('get', error)
    outage.heal()
    await call(outage.backend, 'get')
    for (let i = 0; i < 2; i++) await outage.fail('get', failure('failed'))
    expect(outage.open).toBe('')
    await outage.fail('get', failure('failed'))
    expect(outage.open).toBe('read')
    expect(outage.changes).toEqual(['open read failed'])
  })

  test('after as many, however often it told its statistics in between', async () => {
    const outage = new Outage()
    for (let i = 0; i < 2; i++) await outage.fail('get', failure('failed'))
    await outage.backend.stats()
    outage.store.statsAnswer = () => Promise.reject(failure('unavailable'))
    await expect(outage.backend.stats()).rejects.toThrow()
    expect(outage.open).toBe('')
    await outage.fail('get', failure('failed'))
    expect(outage.open).toBe('read')
  })

  test('and says why, also where that was no error of the cache', async () => {
    const outage = new Outage()
    const thrown = new Error('anything')
    for (let i = 0; i < 3; i++) await outage.fail('get', thrown)
    expect(outage.breaker.refusal('read').cause).toMatchObject({ code: 'failed', message: 'reads failed 3 times in a row', operation: 'read', cause: thrown })
  })

  test('and is told of once, with what opened it first, however much fails after that', async () => {
    const outage = new Outage()
    const fails: ((error: unknown) => void)[] = []
    outage.store.answer = () => new Promise((_, reject) => fails.push(reject))
    const [put, get, late] = [watch(call(outage.backend, 'put')), watch(call(outage.backend, 'get')), watch(call(outage.backend, 'get'))]
    const errors = [failure('read-only'), failure('timeout'), failure('unavailable')]
    for (const [at, fail] of fails.entries()) {
      fail(errors[at])
      await outage.clock.advance(0)
    }
    expect([put, get, late].map(({ outcome }) => outcome)).toEqual(errors)
    expect([outage.breaker.refusal('write').cause, outage.breaker.refusal('read').cause]).toEqual([errors[0], errors[1]])
    expect(outage.changes).toEqual(['open write read-only'])
  })

  test('never for a failure that speaks of one key', async () => {
    const outage = new Outage()
    for (let i = 0; i < 5; i++) await outage.fail('get', new CacheError('unavailable', 'this one', { operation: 'get', concerns: 'key' }))
    expect(outage.open).toBe('')
  })

  test('of a breaker that tells nobody and has nothing to probe, and closes by itself', async () => {
    const clock = new ManualClock()
    const breaker = new CircuitBreaker({ clock, failureThreshold: 3 })
    breaker.failed('read', failure('unavailable'), 0)
    expect([breaker.isOpen('read'), breaker.isOpen('write'), breaker.refusal('read').backend]).toEqual([true, true, undefined])
    await clock.advance(5000)
    expect([breaker.isOpen('read'), breaker.isOpen('write')]).toEqual([false, false])
  })

  test('never for what says nothing about the store', async () => {
    const outage = new Outage()
    for (const code of ['in-doubt', 'corrupt', 'foreign', 'not-encodable', 'closed'] as const) {
      for (let i = 0; i < 5; i++) await outage.fail('get', failure(code))
    }
    expect(outage.open).toBe('')
  })

  test('also for a listing, and for a store that throws instead of rejecting', async () => {
    const listing = new Outage()
    listing.store.steps = () => ({ [Symbol.asyncIterator]: () => ({ next: () => Promise.reject(failure('timeout')) }) })
    await expect((async () => {
      for await (const _ of listing.backend.list(SCOPE, '', { detail: 'keys' })) break
    })()).rejects.toMatchObject({ code: 'timeout' })
    expect(listing.breaker.isOpen('read')).toBe(true)
    const throwing = new Outage()
    throwing.store.answer = () => {
      throw failure('unavailable')
    }
    await expect(call(throwing.backend, 'get')).rejects.toMatchObject({ code: 'unavailable' })
    expect(throwing.open).toBe('read and write')
  })
})

/** Fails as an adapter does whose caller has left. */
function untilAborted({ signal }: OperationOptions): Promise<never> {
  return new Promise((_, reject) => signal?.addEventListener('abort', () => reject(failure('failed'))))
}

describe('a caller who leaves', () => {
  test.each(OPERATIONS)('says nothing of the store: ten times a %s whose signal fires', async (operation) => {
    for (const layers of [(inner: CacheBackend) => inner, timeout({ clock: new ManualClock(), budgetMs: 100 })]) {
      const { store, breaker } = new Outage()
      const backend = breaker.layer(layers(store))
      store.answer = (_, options) => untilAborted(options)
      for (let i = 0; i < 10; i++) {
        const caller = new AbortController()
        const failed = expect(call(backend, operation, { signal: caller.signal })).rejects.toMatchObject({ code: 'failed' })
        caller.abort(new Error('enough'))
        await failed
      }
      expect(breaker.isOpen('read') || breaker.isOpen('write')).toBe(false)
    }
  })

  test('nor does one who leaves a listing', async () => {
    const { store, breaker, backend } = new Outage()
    for (let i = 0; i < 10; i++) {
      const caller = new AbortController()
      const { signal } = caller
      store.steps = () => ({ [Symbol.asyncIterator]: () => ({ next: () => untilAborted({ signal }) }) })
      const failed = expect(backend.list(SCOPE, '', { detail: 'keys', signal })[Symbol.asyncIterator]().next()).rejects.toMatchObject({ code: 'failed' })
      caller.abort(new Error('enough'))
      await failed
    }
    expect(breaker.isOpen('read')).toBe(false)
  })

  test.each(['cancel their streams', 'abort their signals'])('nor do ten at once who %s while they wait for bytes', async (how) => {
    const { store, breaker, backend } = new Outage()
    const caller = new AbortController()
    store.answer = () => {
      const leaving = new AbortController()
      const signal = AbortSignal.any([leaving.signal, caller.signal])
      const chunks = (): AsyncIterable<Uint8Array> => ({ [Symbol.asyncIterator]: () => ({ next: () => untilAborted({ signal }) }) })
      return Promise.resolve(new StreamedEntry({ codec: 'buffer', byteLength: undefined, crc32: undefined, chunks, cancel: () => leaving.abort() }, { createdAt: 0, expiresAt: 1 }))
    }
    const entries = (await Promise.all(Array.from({ length: 10 }, async () => backend.get(SCOPE, KEY, { want: 'stream', touch: true, signal: caller.signal })))) as CacheEntry[]
    const failed = entries.map((entry) => {
      if (!isStreamed(entry)) throw new Error('no stream')
      const next = entry.payload.chunks()[Symbol.asyncIterator]().next()
      if (how === 'cancel their streams') entry.payload.cancel()
      return expect(next).rejects.toMatchObject({ code: 'failed' })
    })
    if (how === 'abort their signals') caller.abort(new Error('enough'))
    await Promise.all(failed)
    expect(breaker.isOpen('read')).toBe(false)
  })

  test('does not hide what the store said before, nor that it does not answer', async () => {
    const refusing = new Outage()
    refusing.store.answer = () => Promise.reject(failure('unavailable', true))
    const retrying = resilience({ guard: refusing.breaker, retry: { clock: refusing.clock, attempts: 2, baseDelayMs: 100, random: () => 1 } })(refusing.store)
    const caller = new AbortController()
    const seen = watch(call(retrying, 'get', { signal: caller.signal }))
    await refusing.clock.advance(50)
    caller.abort(new Error('enough'))
    await refusing.clock.advance(50)
    expect(seen.outcome).toMatchObject({ code: 'unavailable' })
    expect(refusing.open).toBe('read and write')

    const hanging = new Outage()
    hanging.store.answer = () => new Promise(() => undefined)
    const leaver = new AbortController()
    const left = watch(call(hanging.breaker.layer(timeout({ clock: hanging.clock, budgetMs: 100 })(hanging.store)), 'get', { signal: leaver.signal }))
    leaver.abort(new Error('enough'))
    await hanging.clock.advance(100)
    expect(left.outcome).toMatchObject({ code: 'timeout' })
    expect(hanging.open).toBe('read and write')
  })
})

describe('an open circuit', () => {
  test('refuses without asking the store, with one and the same error that names the cause', async () => {
    const outage = new Outage()
    const cause = failure('timeout')
    await outage.fail('get', cause)
    const asked = outage.store.calls.length
    const refused: unknown[] = []
    for (const operation of ['get', 'put', 'delete', 'clear', 'get'] as const) await call(outage.backend, operation).catch((error: unknown) => refused.push(error))
    expect(refused).toHaveLength(5)
    expect(refused[0]).toMatchObject({ code: 'circuit-open', backend: 'scripted', cause })
    expect(refused[4]).toBe(refused[0])
    expect(outage.store.calls).toHaveLength(asked)
  })

  test('of writes leaves reads alone; deletes pass when the store is only full', async () => {
    const full = new Outage()
    await full.fail('put', failure('storage-full'))
    full.heal()
    await expect(call(full.backend, 'put')).rejects.toMatchObject({ code: 'circuit-open' })
    for (const operation of ['get', 'delete', 'clear'] as const) await expect(call(full.backend, operation)).resolves.toBeUndefined()
    const readOnly = new Outage()
    await readOnly.fail('put', failure('read-only'))
    readOnly.heal()
    await expect(call(readOnly.backend, 'get')).resolves.toBeUndefined()
    await expect(call(readOnly.backend, 'delete')).rejects.toMatchObject({ code: 'circuit-open' })
  })

  test('is probed in the background, after 250 ms and at doubling intervals up to 2 s', async () => {
    const outage = new Outage()
    for (let i = 0; i < 3; i++) await outage.fail('get', failure('failed')) // opens reads alone
    const probes: number[] = []
    const openedAt = outage.clock.now()
    outage.store.answer = () => {
      probes.push(outage.clock.now() - openedAt)
      return Promise.reject(failure('failed'))
    }
    await outage.clock.advance(8000)
    expect(probes).toEqual([250, 750, 1750, 3750, 5750, 7750])
  })

  test('is probed after 250 ms again in the next outage, which has an error of its own', async () => {
    const outage = new Outage()
    const outageFor = async (ms: number): Promise<{ first: number | undefined; refusal: CacheError }> => {
      for (let i = 0; i < 3; i++) await outage.fail('get', failure('failed'))
      const refusal = outage.breaker.refusal('read')
      const openedAt = outage.clock.now()
      let first: number | undefined
      outage.store.answer = () => {
        first ??= outage.clock.now() - openedAt
        return Promise.reject(failure('failed'))
      }
      await outage.clock.advance(ms)
      outage.heal()
      await outage.clock.advance(2000)
      expect(outage.open).toBe('')
      return { first, refusal }
    }
    const outages = [await outageFor(8000), await outageFor(1000)]
    expect(outages.map(({ first }) => first)).toEqual([250, 250])
    expect(outages[0]?.refusal).not.toBe(outages[1]?.refusal)
  })

  test('of writes is not probed while reads are out, too, and soon when they are not', async () => {
    const outage = new Outage()
    await outage.fail('get', failure('unavailable'))
    outage.store.calls.length = 0
    await outage.clock.advance(6000)
    expect(new Set(outage.store.calls)).toEqual(new Set(['get']))
    outage.heal()
    while (outage.breaker.isOpen('read')) await outage.clock.advance(10)
    await outage.clock.advance(250)
    expect(outage.open).toBe('')
  })

  test('is probed with little, which does not count as use and does not stay', async () => {
    const outage = new Outage()
    const asked: unknown[] = []
    const scope = expect.objectContaining({ tenant: PROBE_TENANT })
    for (const operation of ['get', 'put', 'delete'] as const) {
      const own = outage.store[operation].bind(outage.store) as (...args: unknown[]) => unknown
      Object.assign(outage.store, { [operation]: (...args: unknown[]) => (asked.push([operation, ...args]), own(...args)) })
    }
    await outage.fail('get', failure('unavailable'))
    outage.heal()
    asked.length = 0
    const now = outage.clock.now() + 250
    await outage.clock.advance(1000)
    expect(asked).toEqual([
      ['get', scope, 'probe', { want: 'head', touch: false, budgetMs: 2000 }],
      ['put', scope, 'probe', expect.anything(), { onlyIfAbsent: false, keepUntil: now + 60_000, budgetMs: 2000 }],
      ['delete', scope, ['probe'], { budgetMs: 2000 }],
    ])
    const { createdAt, expiresAt, encoded } = outage.store.lastPut as CacheEntry
    expect([createdAt, expiresAt, encoded]).toEqual([now, now + 60_000, { codec: 'buffer', bytes: Buffer.alloc(1) }])
  })

  test('closes at the first probe that succeeds, and failures are counted from zero again', async () => {
    const outage = new Outage()
    for (let i = 0; i < 3; i++) await outage.fail('get', failure('failed'))
    outage.heal()
    await outage.clock.advance(250)
    expect(outage.open).toBe('')
    expect(outage.changes).toEqual(['open read failed', 'closed read undefined'])
    for (let i = 0; i < 2; i++) await outage.fail('get', failure('failed'))
    expect(outage.open).toBe('')
  })

  test('of both kinds is told of once, opening with the first and closing with the last', async () => {
    const outage = new Outage()
    await outage.fail('get', failure('unavailable'))
    outage.store.answer = (operation) => (operation === 'get' ? Promise.resolve(undefined) : Promise.reject(failure('unavailable')))
    await outage.clock.advance(5000)
    expect(outage.open).toBe('write')
    expect(outage.changes).toHaveLength(1)
    outage.heal()
    await outage.clock.advance(2000)
    expect(outage.open).toBe('')
    expect(outage.changes).toEqual(['open read unavailable', expect.stringMatching(/^closed/)])
  })

  test('of writes is probed with as much as had failed, up to 1 MiB, under a tenant of its own, and leaves nothing', async () => {
    for (const [failed, probed] of [[0, 1], [5000, 5000], [3_000_000, 1 << 20]] as const) {
      const outage = new Outage()
      await outage.fail('put', failure('storage-full'), failed)
      await outage.fail('get', failure('failed')) // which says nothing of how much is written
      outage.heal()
      const before = outage.store.calls.length
      await outage.clock.advance(250)
      expect(outage.store.calls.slice(before)).toEqual(['put', 'delete'])
      expect(outage.store.lastPut?.encoded?.bytes.byteLength).toBe(probed)
      expect(outage.store.lastTenant).toBe(PROBE_TENANT)
      expect(outage.open).toBe('')
    }
  })

  test('is left as it is once the breaker was disposed of: no probe, no timer', async () => {
    const outage = new Outage()
    await outage.fail('get', failure('timeout'))
    const asked = outage.store.calls.length
    outage.breaker.dispose()
    expect(outage.clock.pending).toBe(0)
    await outage.clock.advance(60_000)
    expect(outage.store.calls).toHaveLength(asked)
    expect(outage.open).toBe('read and write')
  })

  test.each([true, false])('is left as it is by a probe that was under way then (it succeeds: %s), and by what fails after that', async (succeeds) => {
    const outage = new Outage()
    for (let i = 0; i < 3; i++) await outage.fail('get', failure('failed'))
    let end = (_outcome: unknown): void => undefined
    outage.store.answer = () => new Promise((resolve) => (end = resolve))
    await outage.clock.advance(250)
    outage.breaker.dispose()
    end(succeeds ? undefined : Promise.reject(failure('failed')))
    outage.breaker.failed('write', failure('unavailable'), 0)
    await outage.clock.advance(0)
    expect([outage.open, outage.clock.pending, outage.changes]).toEqual(['read', 0, ['open read failed']])
  })
})
