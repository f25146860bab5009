import { beforeEach, describe, expect, test } from '@jest/globals'
import { CacheEntry, CacheError, Invalidation, TenantScope, validateKey, validateTenant, type Awaitable, type ClearOptions, type InvalidationRecord, type RecordLog } from '@thermocline/backend'
import { Fence } from '../src/flights/fence.js'
import { Deadlines } from '../src/layers/deadlines.js'
import { AskedTime } from '../src/tiers/asked-time.js'
import type { Fallback } from '../src/tiers/fallback.js'
import { NotApplied } from '../src/tiers/outcome.js'
import { WriteQueues } from '../src/tiers/write-queues.js'
import { ManualClock, watch } from './support/manual-clock.js'
import { failure, KEY, ScriptedBackend, SCOPE } from './support/scripted-backend.js'

const BUDGET_MS = 400
const ENTRY = CacheEntry.ofBytes({ codec: 'buffer', bytes: new Uint8Array(1) }, { createdAt: 0, expiresAt: Number.POSITIVE_INFINITY })
const PUT = { onlyIfAbsent: false, keepUntil: Number.POSITIVE_INFINITY }

let clock: ManualClock
let store: ScriptedBackend
let records: InvalidationRecord[]
let reports: CacheError[]
let told: string[]
let recording: Promise<void>
let queues: WriteQueues

interface Opening {
  readonly synchronous?: boolean
  readonly landsWithinMs?: number
  readonly maxPayloadBytes?: number
  readonly maxOwed?: number
  /** What an earlier process owed. */
  readonly inherited?: readonly InvalidationRecord[]
  readonly fallback?: Partial<Fallback>
}

function open({ synchronous = false, landsWithinMs = 0, maxPayloadBytes = Number.POSITIVE_INFINITY, maxOwed = 10, inherited = [], fallback }: Opening = {}): void {
  const capabilities = { ...store.capabilities, synchronous, landsWithinMs }
  Object.defineProperty(store, 'capabilities', { value: capabilities })
  const add = async (record: InvalidationRecord): Promise<void> => {
    records.push(record)
    await recording
  }
  const log: RecordLog = { load: () => inherited, add, remove: () => undefined, close: () => Promise.resolve() }
  queues = new WriteQueues({
    tier: 'store', backend: store, clock, time: new AskedTime(Deadlines.of(clock), undefined), budgetMs: BUDGET_MS, maxPayloadBytes, maxOwed,
    log, fallback: fallback as Fallback | undefined, agreement: undefined, report: (error) => reports.push(error), suspectsChanged: () => told.push('suspects'), progressed: () => told.push('progress'),
  })
}

beforeEach(() => {
  clock = new ManualClock()
  store = new ScriptedBackend()
  records = []
  reports = []
  told = []
  recording = Promise.resolve()
  open()
})

const failing = (): Awaitable<unknown> => Promise.reject(failure('failed'))

describe('a queue', () => {
  test.each([true, false])('deletes nothing for a compute whose fence is broken (at once: %s)', async (synchronous) => {
    open({ synchronous })
    store.answer = () => (synchronous ? 1 : Promise.resolve(1))
    const fence = new Fence(KEY)
    expect(await queues.deleteUnlessBroken(SCOPE, KEY, fence)).toBe(1)
    fence.broken = true
    expect(await queues.deleteUnlessBroken(SCOPE, KEY, fence)).toBeInstanceOf(NotApplied)
    expect(store.calls).toEqual(['delete'])
  })

  test('a store that throws instead of rejecting fails the operation alone', async () => {
    open({ synchronous: true })
    store.answer = () => {
      throw failure('failed')
    }
    expect(await queues.fill(SCOPE, KEY, ENTRY, PUT, new Fence(KEY))).toMatchObject({ how: 'safe', error: { code: 'failed' } })
    expect(await queues.set(SCOPE, KEY, ENTRY, PUT)).toMatchObject({ how: 'safe' })
    expect(queues.owed).toBe(1)
  })

  test('a clear has what is left of the budget when it has waited for what was called before', async () => {
    let end = (_stored: unknown): void => undefined
    store.answer = (operation) => (operation === 'put' ? new Promise((resolve) => (end = resolve)) : Promise.resolve(1))
    void queues.set(SCOPE, KEY, ENTRY, PUT)
    const clear = queues.clear(SCOPE, '')
    for (let n = 0; n < 10; n++) await clock.advance(10)
    expect(store.calls).toEqual(['put'])
    end(true)
    expect(await clear).toBe(1)
    expect(store.calls).toEqual(['put', 'clear'])
    expect(store.options.budgetMs).toBeGreaterThanOrEqual(BUDGET_MS - 100)
    expect(store.options.budgetMs).toBeLessThan(BUDGET_MS)
  })

  test('a clear over a key in doubt owes that key, and says that something may still land there', async () => {
    open({ landsWithinMs: 60_000 })
    store.answer = (operation) => (operation === 'put' ? Promise.reject(new CacheError('timeout', 'left', { operation: 'put', settled: new Promise(() => undefined) })) : Promise.resolve(1))
    expect(await queues.set(SCOPE, KEY, ENTRY, PUT)).toBeInstanceOf(NotApplied)
    records.length = 0
    expect(await queues.clear(SCOPE, '')).toBe(1)
    expect(queues.owed).toBe(1) // the key still is: what may land would bring it back
    open({ landsWithinMs: 60_000 })
    const put = new Promise<unknown>(() => undefined)
    store.answer = (operation) => (operation === 'put' ? Promise.reject(new CacheError('timeout', 'left', { operation: 'put', settled: put.then(() => undefined) })) : Promise.resolve(1))
    void queues.fill(SCOPE, KEY, ENTRY, PUT, new Fence(KEY)) // which owes nothing by itself
    await clock.advance(1)
    expect([queues.owed, queues.doubts]).toEqual([0, 1])
    expect(await queues.clear(SCOPE, '')).toBe(1)
    expect(queues.owed).toBe(1)
    expect(records).toEqual([{ tier: 'store', tenant: 'acme', key: KEY, mayLand: true }])
  })
})

const never = new Promise<never>(() => undefined)

/** A promise, and how to resolve it. */
function gate(): { readonly passed: Promise<void>; readonly pass: () => void } {
  let pass = (): void => undefined
  return { passed: new Promise((resolve) => (pass = resolve)), pass: () => pass() }
}

describe('a store that answers at once', () => {
  beforeEach(() => {
    open({ synchronous: true })
    store.answer = (operation) => (operation === 'put' ? true : 1)
  })

  const all = (key = KEY): unknown[] => [queues.fill(SCOPE, key, ENTRY, PUT, new Fence(key)), queues.set(SCOPE, key, ENTRY, PUT), queues.delete(SCOPE, key)]

  test('is answered for at once while nothing else goes on, and again when that has ended', async () => {
    expect(all()).toEqual([true, true, 1])
    const { passed, pass } = gate()
    const cleared = queues.clear(SCOPE, 'a', passed)
    expect(all().every((answer) => answer instanceof Promise)).toBe(true)
    pass()
    expect(await cleared).toBe(1)
    await queues.drained()
    expect(all()).toEqual([true, true, 1])
    const set = queues.set(SCOPE, KEY, ENTRY, PUT, passed)
    expect(all(validateKey('other')).every((answer) => answer instanceof Promise)).toBe(true)
    await set
    await queues.drained()
    expect(all()).toEqual([true, true, 1])
    await queues.clear(SCOPE, '')
    expect(store.calls.slice(-4)).toEqual(['put', 'put', 'delete', 'clear'])
    store.answer = failing
    await queues.delete(SCOPE, validateKey('owed'))
    store.answer = (operation) => (operation === 'put' ? true : 1)
    expect(all().every((answer) => answer instanceof Promise)).toBe(true)
  })

  test('is asked once, also when it throws', async () => {
    store.answer = () => {
      throw failure('failed')
    }
    expect(await queues.delete(SCOPE, KEY)).toMatchObject({ how: 'safe', error: { code: 'failed' } })
    expect([store.calls, queues.owed]).toEqual([['delete'], 1])
    open({ synchronous: true })
    expect(await queues.fill(SCOPE, KEY, ENTRY, PUT, new Fence(KEY))).toMatchObject({ how: 'safe', error: { code: 'failed' } })
    expect([store.calls, queues.owed]).toEqual([['delete', 'put'], 0])
  })

  test('may have any number waiting for it', async () => {
    const { passed, pass } = gate()
    const first = queues.set(SCOPE, KEY, ENTRY, PUT, passed)
    const rest = Array.from({ length: 4000 }, () => queues.set(SCOPE, KEY, ENTRY, PUT))
    pass()
    expect(new Set(await Promise.all([first, ...rest]))).toEqual(new Set([true]))
  })
})

describe('the order in a queue', () => {
  test('is that of the calls, also where the first has to wait for another tier', async () => {
    store.answer = (operation) => Promise.resolve(operation === 'put' ? true : 1)
    const { passed, pass } = gate()
    const set = watch(Promise.resolve(queues.set(SCOPE, KEY, ENTRY, PUT, passed)))
    const filled = watch(Promise.resolve(queues.fill(SCOPE, KEY, ENTRY, PUT, new Fence(KEY), passed)))
    const deleted = watch(Promise.resolve(queues.delete(SCOPE, KEY)))
    const drained = watch(queues.drained())
    await clock.advance(10)
    expect([set.outcome, filled.outcome, deleted.outcome, drained.outcome, store.calls]).toEqual(['waiting', 'waiting', 'waiting', 'waiting', []])
    pass()
    await clock.advance(1)
    expect([set.outcome, filled.outcome, deleted.outcome, drained.outcome, store.calls]).toEqual([true, true, 1, undefined, ['put', 'put', 'delete']])
    expect(clock.pending).toBe(0)
  })

  test('has a clear wait for what goes first in other tiers, and what is called later wait for the clear, under its prefix and in its tenant', async () => {
    store.answer = (operation) => Promise.resolve(operation === 'put' ? true : 1)
    const { passed, pass } = gate()
    const cleared = watch(queues.clear(SCOPE, 'a/', passed))
    const under = watch(Promise.resolve(queues.set(SCOPE, validateKey('a/1'), ENTRY, PUT)))
    const others = [queues.set(SCOPE, validateKey('b/1'), ENTRY, PUT), queues.set(new TenantScope(validateTenant('other')), validateKey('a/1'), ENTRY, PUT)]
    for (const set of others) expect(await set).toBe(true)
    await clock.advance(1)
    expect([cleared.outcome, under.outcome, store.calls]).toEqual(['waiting', 'waiting', ['put', 'put']])
    pass()
    await clock.advance(1)
    expect([cleared.outcome, under.outcome, store.calls]).toEqual([1, true, ['put', 'put', 'clear', 'put']])
  })

  test('is kept by what waits too long: only that is left out', async () => {
    let end = (_stored: unknown): void => undefined
    store.answer = (operation) => (operation === 'put' ? new Promise((resolve) => (end = resolve)) : Promise.resolve(1))
    void queues.fill(SCOPE, KEY, ENTRY, PUT, new Fence(KEY))
    const first = watch(Promise.resolve(queues.delete(SCOPE, KEY)))
    await clock.advance(200)
    const second = watch(Promise.resolve(queues.delete(SCOPE, KEY)))
    await clock.advance(200)
    expect([first.outcome, second.outcome]).toMatchObject([{ error: { code: 'timeout' } }, 'waiting'])
    end(true)
    await clock.advance(1)
    expect([second.outcome, queues.owed]).toEqual([1, 1]) // called before that was owed
  })

  test('has nothing on a key begin before what it owes is on record', async () => {
    const { passed, pass } = gate()
    recording = passed
    store.answer = (operation) => (operation === 'delete' ? Promise.reject(failure('failed')) : Promise.resolve(true))
    const deleted = watch(Promise.resolve(queues.delete(SCOPE, KEY)))
    const set = watch(Promise.resolve(queues.set(SCOPE, KEY, ENTRY, PUT)))
    await clock.advance(1)
    expect([deleted.outcome, set.outcome, store.calls]).toEqual(['waiting', 'waiting', ['delete']])
    pass()
    await clock.advance(1)
    expect([set.outcome, store.calls, queues.owed]).toEqual([true, ['delete', 'put'], 1]) // called before that was owed
  })

  test('drops what a broken fence or an owed removal has made worthless', async () => {
    const { passed, pass } = gate()
    store.answer = (operation) => (operation === 'put' ? Promise.resolve(true) : Promise.reject(failure('failed')))
    const fence = new Fence(KEY)
    const filled = queues.fill(SCOPE, KEY, ENTRY, PUT, fence, passed)
    fence.broken = true
    pass()
    expect(await filled).toBeInstanceOf(NotApplied)
    await queues.delete(SCOPE, KEY)
    expect(await queues.fill(SCOPE, KEY, ENTRY, PUT, new Fence(KEY))).toBeInstanceOf(NotApplied)
    expect(store.calls).toEqual(['delete'])
  })
})

describe('what the store is asked', () => {
  test('is what was called, about that key', async () => {
    const keys: unknown[] = []
    store.answer = (operation) => Promise.resolve(operation === 'put' ? false : 1)
    const own = store.delete.bind(store)
    store.delete = (scope, asked, options) => (keys.push(asked), own(scope, asked, options))
    await queues.set(SCOPE, KEY, ENTRY, { onlyIfAbsent: true, keepUntil: 7 })
    await queues.delete(SCOPE, KEY)
    expect(keys).toEqual([[KEY], [KEY]])
    expect([await queues.invalidate(SCOPE, Invalidation.ofKey(KEY)), await queues.invalidate(SCOPE, Invalidation.ofPrefix('a/'))]).toEqual([1, 1])
    expect(store.calls).toEqual(['put', 'delete', 'delete', 'delete', 'clear'])
    await queues.fill(SCOPE, KEY, ENTRY, { onlyIfAbsent: true, keepUntil: 7 }, new Fence(KEY))
    expect(store.options).toMatchObject({ onlyIfAbsent: true, keepUntil: 7 })
  })

  test('and fails in some other way is an error that says about what', async () => {
    const cause = new Error('anything')
    store.answer = () => Promise.reject(cause)
    const about = { backend: 'scripted', tenant: 'acme', cause }
    expect(await queues.delete(SCOPE, KEY)).toMatchObject({ error: { ...about, operation: 'delete', key: KEY } })
    expect(await queues.set(SCOPE, validateKey('set'), ENTRY, PUT)).toMatchObject({ error: { ...about, operation: 'set', key: 'set' } })
    expect(await queues.fill(SCOPE, validateKey('fill'), ENTRY, PUT, new Fence(KEY))).toMatchObject({ error: { ...about, operation: 'fill', key: 'fill' } })
    expect(await queues.clear(SCOPE, 'a/')).toMatchObject({ error: { ...about, operation: 'clear' } })
    store.answer = (operation) => (operation === 'put' ? Promise.resolve(false) : Promise.reject(cause))
    expect(await queues.set(SCOPE, validateKey('neither'), ENTRY, PUT)).toMatchObject({ error: { ...about, operation: 'delete', key: 'neither' } })
  })

  test('for a stream is how it went: where that is not stored its key is deleted', async () => {
    store.answer = () => Promise.resolve(1)
    expect(await queues.commit(SCOPE, KEY, () => Promise.resolve(true))).toBe(true)
    expect(await queues.commitFill(SCOPE, KEY, () => Promise.resolve(true), new Fence(KEY))).toBe(true)
    expect(store.calls).toEqual([])
    expect(await queues.commit(SCOPE, KEY, () => Promise.resolve(false))).toEqual(new NotApplied('safe'))
    expect([store.calls, store.options.budgetMs]).toEqual([['delete'], BUDGET_MS])
  })
})

test('a clear over a key in doubt is refused where that key cannot be recorded, and says so', async () => {
  open({ maxOwed: 0 })
  store.answer = (operation) => (operation === 'put' ? Promise.reject(new CacheError('timeout', 'left', { operation: 'put', settled: never })) : Promise.resolve(1))
  void queues.fill(SCOPE, KEY, ENTRY, PUT, new Fence(KEY))
  await clock.advance(1)
  expect(await queues.clear(SCOPE, '')).toMatchObject({ how: 'lost', error: { code: 'in-doubt', operation: 'clear', key: KEY, message: expect.stringContaining('no more can be recorded') } })
  expect(store.calls).toEqual(['put'])
})

describe('a key in doubt', () => {
  let settle: () => void

  beforeEach(async () => {
    const { passed, pass } = gate()
    settle = pass
    store.answer = () => Promise.reject(new CacheError('timeout', 'left', { operation: 'put', settled: passed }))
    void queues.fill(SCOPE, KEY, ENTRY, PUT, new Fence(KEY))
    expect(queues.anySuspect).toBe(false)
    await clock.advance(1)
    store.calls.length = 0
    store.answer = (operation) => Promise.resolve(operation === 'put' ? true : 1)
  })

  test('has nothing begun on it, and is deleted when that is over, if something was called', async () => {
    expect([queues.anySuspect, queues.doubts, told]).toEqual([true, 1, ['suspects']])
    expect(await queues.delete(SCOPE, KEY)).toMatchObject({ how: 'safe', error: { code: 'in-doubt', operation: 'delete', key: KEY, message: expect.stringContaining('may still land') } })
    const { passed, pass } = gate()
    const waits = watch(Promise.resolve(queues.set(SCOPE, KEY, ENTRY, PUT, passed)))
    await queues.payOnce()
    await clock.advance(10)
    expect([waits.outcome, store.calls, queues.owed]).toEqual(['waiting', [], 1])
    told.length = 0
    settle()
    await clock.advance(1)
    expect([queues.doubts, told.includes('suspects'), told.includes('progress')]).toEqual([0, true, true])
    pass()
    await clock.advance(1)
    expect([waits.outcome, queues.owed, queues.anySuspect]).toEqual([true, 0, false])
    expect(store.calls[0]).toBe('put')
  })

  test('is deleted at once when that is over, without waiting for the next attempt', async () => {
    await queues.delete(SCOPE, KEY)
    settle()
    await clock.advance(1)
    expect([store.calls, queues.owed, queues.anySuspect]).toEqual([['delete'], 0, false])
  })

  test('is left to the next process once the tier is closed', async () => {
    await queues.delete(SCOPE, KEY)
    queues.close()
    settle()
    await queues.payOnce()
    await clock.advance(1)
    expect([store.calls, queues.owed]).toEqual([[], 1])
  })

  test('refuses what waited behind, but not what waits for another tier', async () => {
    const other = validateKey('other')
    const { passed, pass } = gate()
    const late = gate()
    store.answer = () => late.passed.then(() => Promise.reject(new CacheError('timeout', 'left', { operation: 'put', settled: passed })))
    void queues.fill(SCOPE, other, ENTRY, PUT, new Fence(other))
    const behind = watch(Promise.resolve(queues.delete(SCOPE, other)))
    const waits = watch(Promise.resolve(queues.set(SCOPE, other, ENTRY, PUT, never)))
    late.pass()
    await clock.advance(1)
    expect([behind.outcome, waits.outcome]).toMatchObject([{ error: { code: 'in-doubt' } }, 'waiting'])
    expect(queues.owes(SCOPE, Invalidation.ofPrefix('other'))).toBe(true)
    pass()
  })
})

describe('the budget of what waits in a queue', () => {
  let end: (stored: unknown) => void

  beforeEach(() => {
    store.answer = (operation) => (operation === 'put' ? new Promise((resolve) => (end = resolve)) : Promise.resolve(1))
    void queues.fill(SCOPE, KEY, ENTRY, PUT, new Fence(KEY))
  })

  test.each([[0, undefined], [20, undefined], [30, 370], [200, 200], [300, 100]])('is what is left of it: after %d ms the store has %j ms for a delete', async (waitsMs, budgetMs) => {
    const deleted = queues.delete(SCOPE, KEY)
    await clock.advance(waitsMs)
    end(true)
    expect(await deleted).toBe(1)
    expect(store.options.budgetMs).toBe(budgetMs)
  })

  test('is too little for the store below a quarter: it is not asked, and the key is owed', async () => {
    const deleted = queues.delete(SCOPE, KEY)
    await clock.advance(301)
    end(true)
    expect(await deleted).toMatchObject({ how: 'safe', error: { code: 'timeout', operation: 'delete', backend: 'scripted', key: KEY } })
    expect([store.calls, queues.owed]).toEqual([['put'], 1])
  })

  test('ends while it waits, and the next in the queue is not held up', async () => {
    const deleted = watch(Promise.resolve(queues.delete(SCOPE, KEY)))
    await clock.advance(BUDGET_MS - 1)
    expect(deleted.outcome).toBe('waiting')
    await clock.advance(1)
    expect(deleted.outcome).toMatchObject({ how: 'safe', error: { code: 'timeout' } })
    const next = queues.delete(SCOPE, KEY)
    end(true)
    expect(await next).toBe(1)
    expect([store.calls, queues.owed]).toEqual([['put', 'delete'], 0])
  })

  test('is over for a clear when three quarters of it have gone by in waiting: it is owed, and the error says why', async () => {
    const cleared = watch(queues.clear(SCOPE, ''))
    await clock.advance(299)
    expect(cleared.outcome).toBe('waiting')
    await clock.advance(1)
    expect(cleared.outcome).toMatchObject({ how: 'safe', error: { code: 'timeout', operation: 'clear', backend: 'scripted' } })
    expect([store.calls, queues.owed]).toEqual([['put'], 1])
    end(true)
    await clock.advance(1000)
    expect([store.calls, queues.owed]).toEqual([['put', 'clear'], 0])
  })
})

describe('a set that the store does not take', () => {
  beforeEach(() => void Deadlines.of(clock).schedule(1e9, () => undefined)) // as a budget around the store: time counts

  const takesMs = (ms: number, outcome: unknown): Awaitable<unknown> => new Promise((resolve) => clock.schedule(ms, () => resolve(outcome)))

  test.each([[0, 400], [100, 300], [399, 1], [500, 1]])('after %d ms has its key deleted, for which the store has %d ms', async (putMs, budgetMs) => {
    store.answer = (operation) => (operation === 'put' ? takesMs(putMs, false) : Promise.resolve(1))
    const set = queues.set(SCOPE, KEY, ENTRY, PUT)
    await clock.advance(putMs)
    expect(await set).toEqual(new NotApplied('safe'))
    expect([store.calls, store.options.budgetMs, queues.owed]).toEqual([['put', 'delete'], budgetMs, 0])
  })

  test('because it fails has its key deleted too, while there is time for that, and the error told', async () => {
    for (const [putMs, calls, owed] of [[300, ['put', 'delete'], 0], [301, ['put'], 1]] as const) {
      open()
      store.calls.length = 0
      store.answer = (operation) => (operation === 'put' ? takesMs(putMs, Promise.reject(failure('failed'))) : Promise.resolve(1))
      const set = queues.set(SCOPE, KEY, ENTRY, PUT)
      await clock.advance(putMs)
      expect(await set).toMatchObject({ how: 'safe', error: { code: 'failed', message: 'made to fail: failed' } })
      expect([store.calls, queues.owed]).toEqual([calls, owed])
      queues.close()
    }
  })

  test('nor delete is owed, with the error of the set; with that of the delete where it may still land', async () => {
    const late = new CacheError('timeout', 'left', { operation: 'delete', settled: new Promise(() => undefined) })
    for (const [deleting, put, code, doubts] of [[failure('unavailable'), failure('failed'), 'failed', 0], [failure('unavailable'), undefined, 'unavailable', 0], [late, failure('failed'), 'timeout', 1]] as const) {
      open()
      store.answer = (operation) => (operation === 'delete' ? Promise.reject(deleting) : put === undefined ? Promise.resolve(false) : Promise.reject(put))
      expect(await queues.set(SCOPE, KEY, ENTRY, PUT)).toMatchObject({ how: 'safe', error: { code } })
      expect([queues.owed, queues.doubts]).toEqual([1, doubts])
      queues.close()
    }
  })

  test('because it is too large, or has no bytes for a store of bytes, is not offered, and has its key deleted', async () => {
    open({ maxPayloadBytes: 1 })
    store.answer = (operation) => Promise.resolve(operation === 'put' ? true : 1)
    expect(await queues.set(SCOPE, KEY, ENTRY, PUT)).toBe(true)
    for (const entry of [CacheEntry.ofBytes({ codec: 'buffer', bytes: new Uint8Array(2) }, ENTRY), new CacheEntry('value', undefined, ENTRY)]) {
      store.calls.length = 0
      expect(await queues.set(SCOPE, KEY, entry, PUT)).toEqual(new NotApplied('safe'))
      expect(store.calls).toEqual(['delete'])
    }
  })
})

describe('what stands in for the store', () => {
  test('is told of everything at once, in the order of the calls, but of nothing whose fence is broken', () => {
    const told: string[] = []
    open({
      fallback: {
        store: (_scope, key) => void told.push(`store ${key}`),
        delete: (_scope, key) => void told.push(`delete ${key}`),
        clear: (_scope, prefix) => void told.push(`clear ${prefix}`),
      },
    })
    const never = new Promise(() => undefined)
    void queues.set(SCOPE, KEY, ENTRY, PUT, never)
    void queues.delete(SCOPE, KEY, never)
    void queues.clear(SCOPE, 'a/', never)
    void queues.commit(SCOPE, KEY, () => Promise.resolve(true), { ready: never, superseded: () => undefined })
    const fence = new Fence(KEY)
    void queues.deleteUnlessBroken(SCOPE, KEY, fence)
    fence.broken = true
    void queues.deleteUnlessBroken(SCOPE, KEY, fence)
    expect(told).toEqual(['store k', 'delete k', 'clear a/', 'delete k', 'delete k'])
  })
})

describe('what is owed', () => {
  test('is refused where there is no room for it', async () => {
    open({ maxOwed: 2 })
    store.answer = failing
    for (const [key, how] of [['a', 'safe'], ['b', 'safe'], ['c', 'lost'], ['a', 'safe']] as const) expect(await queues.delete(SCOPE, validateKey(key))).toMatchObject({ how })
    expect(await queues.clear(SCOPE, 'd/')).toMatchObject({ how: 'lost' })
    expect(queues.owed).toBe(2)
    store.answer = () => Promise.resolve(1)
    await queues.delete(SCOPE, validateKey('a'))
    store.answer = failing
    expect(await queues.clear(SCOPE, 'd/')).toMatchObject({ how: 'safe' })
    expect(queues.owed).toBe(2)
  })

  test('is carried out sixty-four keys at a time', async () => {
    open({ maxOwed: 1000 })
    store.answer = failing
    for (let at = 0; at < 130; at++) await queues.delete(SCOPE, validateKey(`k${at}`))
    store.calls.length = 0
    const ends: ((removed: number) => void)[] = []
    store.answer = () => new Promise((resolve) => ends.push(resolve))
    queues.payNow()
    for (const calls of [64, 128, 130]) {
      await clock.advance(1)
      expect(store.calls).toHaveLength(calls)
      for (const end of ends.splice(0)) end(1)
    }
    await clock.advance(1)
    expect(queues.owed).toBe(0)
  })

  test('is a matter of its tenant, also while an operation of it may still land', async () => {
    const other = new TenantScope(validateTenant('other'))
    store.answer = () => Promise.reject(new CacheError('timeout', 'left', { operation: 'put', settled: new Promise(() => undefined) }))
    await queues.fill(SCOPE, KEY, ENTRY, PUT, new Fence(KEY)) // which owes nothing by itself
    void queues.set(SCOPE, validateKey('another'), ENTRY, PUT, new Promise(() => undefined))
    const asked = [Invalidation.ofPrefix(''), Invalidation.ofPrefix('k'), Invalidation.ofPrefix('other'), Invalidation.ofKey(KEY), Invalidation.ofKey(validateKey('other'))]
    expect(asked.map((invalidation) => queues.owes(SCOPE, invalidation))).toEqual([true, true, false, true, false])
    expect(asked.map((invalidation) => queues.owes(other, invalidation))).toEqual([false, false, false, false, false])
    expect([queues.suspicionOf(SCOPE, KEY), queues.suspicionOf(other, KEY)]).toEqual(['in-doubt', undefined])
  })

  test('is not paid by what was called before it was owed, though carried out later, nor by what pays nothing', async () => {
    let end = (_stored: unknown): void => undefined
    store.answer = () => new Promise((resolve) => (end = resolve))
    void queues.fill(SCOPE, KEY, ENTRY, PUT, new Fence(KEY))
    const { passed, pass } = gate()
    const set = queues.set(SCOPE, KEY, ENTRY, PUT, passed)
    expect((await Promise.all([queues.delete(SCOPE, KEY), clock.advance(BUDGET_MS)]))[0]).toMatchObject({ how: 'safe', error: { code: 'timeout' } })
    store.answer = (operation) => Promise.resolve(operation === 'put' ? true : 1)
    end(true)
    pass()
    expect([await set, queues.owed]).toEqual([true, 1])
    expect([await queues.deleteUnlessBroken(SCOPE, KEY, new Fence(KEY)), queues.owed]).toEqual([1, 1])
    expect([await queues.clear(SCOPE, ''), queues.owed]).toEqual([1, 0])
  })

  test('is nothing after a compute whose deletion fails', async () => {
    store.answer = failing
    expect(await queues.deleteUnlessBroken(SCOPE, KEY, new Fence(KEY))).toMatchObject({ how: 'safe' })
    expect([queues.owed, queues.anySuspect]).toEqual([0, false])
  })

  test('by several clears is carried out with one pass, over what begins with one of them', async () => {
    const cleared: { prefix: string; only: ClearOptions['only'] }[] = []
    store.answer = failing
    store.clear = (_scope, prefix, { only }: ClearOptions) => (cleared.push({ prefix, only }), store.answer('clear', {}) as Promise<undefined>)
    await queues.clear(SCOPE, 'a/1')
    await queues.clear(SCOPE, 'a/2')
    expect(cleared.map(({ only }) => only)).toEqual([undefined, undefined])
    const under = [queues.set(SCOPE, validateKey('a/1'), ENTRY, PUT), queues.fill(SCOPE, validateKey('a/2'), ENTRY, PUT, new Fence(KEY))]
    expect([await under[0], await under[1]]).toMatchObject([{ how: 'safe', error: { code: 'in-doubt', message: expect.stringContaining('clear that covers the key') } }, { how: 'safe', error: undefined }])
    expect(store.calls).toEqual([])
    store.answer = () => Promise.resolve(1)
    await queues.payOnce()
    expect([cleared[2]?.prefix, ['a/1', 'a/25', 'a/3', 'b'].map((key) => cleared[2]?.only?.(key))]).toEqual(['a/', [true, true, false, false]])
  })

  test('is recorded as what may still land only where something may', async () => {
    open({ landsWithinMs: 1000 })
    store.answer = failing
    await queues.delete(SCOPE, validateKey('a'))
    store.answer = () => Promise.reject(new CacheError('failed', 'sent', { operation: 'delete', landsWithinMs: 1000 }))
    await queues.delete(SCOPE, validateKey('b'))
    expect(records.map(({ key, mayLand }) => [key, mayLand])).toEqual([['a', undefined], ['b', true]])
  })

  test('and was inherited, and then owed anew, is not paid by what was called before that', async () => {
    open({ landsWithinMs: 1000, inherited: [{ tier: 'store', tenant: 'acme', key: KEY, mayLand: true }] })
    let end = (_stored: unknown): void => undefined
    store.answer = (operation) => (operation === 'put' ? new Promise((resolve) => (end = resolve)) : Promise.resolve(1))
    const set = queues.set(SCOPE, KEY, ENTRY, PUT)
    const deleted = queues.delete(SCOPE, KEY)
    await clock.advance(1500)
    expect(await deleted).toMatchObject({ how: 'safe', error: { code: 'timeout' } }) // it waited too long
    end(true)
    expect(await set).toBe(true)
    expect([queues.owed, store.calls]).toEqual([1, ['put']])
    await clock.advance(5000)
    expect([queues.owed, store.calls]).toEqual([0, ['put', 'delete']])
  })

  test('of another tier, or makes no sense, is not taken over', () => {
    open({ inherited: [{ tier: 'other', tenant: 'acme', key: 'k' }, { tier: 'store', tenant: '', key: 'k' }, { tier: 'store', tenant: 'acme', key: '' }, { tier: 'store', tenant: 'acme' }] })
    expect([queues.owed, clock.pending]).toEqual([0, 0])
    open({ inherited: [{ tier: 'store', tenant: 'acme', key: 'k' }, { tier: 'store', tenant: 'acme', key: 'k' }, { tier: 'store', tenant: 'acme', prefix: '' }] })
    expect(queues.owed).toBe(2)
  })

  test('by a clear that fails again stays owed, and is reported', async () => {
    store.answer = failing
    await queues.clear(SCOPE, 'a/')
    expect(reports).toEqual([])
    await queues.payOnce()
    expect([reports.map(({ code, operation }) => [code, operation]), queues.owed]).toEqual([[['failed', 'get']], 1])
    store.answer = () => Promise.resolve(1)
    await queues.payOnce()
    expect(queues.owed).toBe(0)
    store.calls.length = 0
    await queues.payOnce()
    expect(store.calls).toEqual([])
  })

  test('by the next process is what has begun and has not ended', async () => {
    open({ landsWithinMs: 1000 })
    store.answer = () => new Promise(() => undefined)
    void queues.fill(SCOPE, KEY, ENTRY, PUT, new Fence(KEY))
    void queues.commit(SCOPE, validateKey('waits'), () => Promise.resolve(true), { ready: new Promise(() => undefined), superseded: () => undefined })
    await queues.leaveOpen()
    expect(records).toEqual([{ tier: 'store', tenant: 'acme', key: KEY, mayLand: true }])
  })

  test('is known by whoever asks for the key, its prefix, or all', async () => {
    store.answer = failing
    await queues.delete(SCOPE, validateKey('docs/a'))
    for (const [invalidation, isOwed] of [[Invalidation.ofKey(validateKey('docs/a')), true], [Invalidation.ofKey(validateKey('docs/b')), false], [Invalidation.ofPrefix('docs/'), true], [Invalidation.ofPrefix(''), true], [Invalidation.ofPrefix('other/'), false]] as const) {
      expect(queues.owes(SCOPE, invalidation)).toBe(isOwed)
    }
    expect([queues.suspicionOf(SCOPE, validateKey('docs/a')), queues.suspicionOf(SCOPE, validateKey('docs/b'))]).toEqual(['owed', undefined])
  })

  test('is tried after a second, then after waits that double, and after a second again once it was paid', async () => {
    store.answer = failing
    const triedAt = async (forMs: number): Promise<number[]> => {
      const startedAt = clock.now()
      const tried: number[] = []
      store.calls.length = 0
      while (clock.now() < startedAt + forMs) {
        await clock.advance(100)
        if (store.calls.length > 0) tried.push(clock.now() - startedAt)
        store.calls.length = 0
      }
      return tried
    }
    await queues.delete(SCOPE, KEY)
    expect(await triedAt(3500)).toEqual([1000, 3000])
    store.answer = () => Promise.resolve(1)
    expect(await triedAt(4000)).toEqual([3500])
    expect(queues.owed).toBe(0)
    store.answer = failing
    await queues.delete(SCOPE, KEY)
    expect(await triedAt(1500)).toEqual([1000])
  })

  test('is not tried any more once the tier is closed', async () => {
    store.answer = failing
    await queues.delete(SCOPE, KEY)
    store.calls.length = 0
    queues.close()
    await clock.advance(10_000)
    expect(store.calls).toEqual([])
    expect(clock.pending).toBe(0)
  })
})

describe('what waits for an upload', () => {
  let ready: () => void
  let superseded: number

  const upload = (): { ready: Promise<void>; superseded: () => void } => ({ ready: new Promise((resolve) => (ready = resolve)), superseded: () => superseded++ })
  const commits: string[] = []
  const commit = (name: string) => (): Promise<boolean> => {
    commits.push(name)
    return Promise.resolve(true)
  }

  beforeEach(() => {
    superseded = 0
    commits.length = 0
    store.answer = (operation) => Promise.resolve(operation === 'put' ? true : 1)
  })

  test('is carried out when that is there', async () => {
    const seen = watch(Promise.resolve(queues.commit(SCOPE, KEY, commit('set'), upload())))
    await clock.advance(10 * BUDGET_MS)
    expect(seen.outcome).toBe('waiting')
    ready()
    await clock.advance(1)
    expect([seen.outcome, commits, superseded]).toEqual([true, ['set'], 0])
  })

  test.each([
    ['a set', () => queues.set(SCOPE, KEY, ENTRY, PUT)],
    ['a delete', () => queues.delete(SCOPE, KEY)],
    ['a clear', () => queues.clear(SCOPE, '')],
  ] as const)('gives way to %s that is called meanwhile', async (_, call) => {
    let carryOut = (): void => undefined
    const carriedOut = new Promise<void>((resolve) => (carryOut = resolve))
    store.answer = (operation) => carriedOut.then(() => (operation === 'put' ? true : 1))
    const set = watch(Promise.resolve(queues.commit(SCOPE, KEY, commit('set'), upload())))
    const fill = watch(Promise.resolve(queues.commitFill(SCOPE, KEY, commit('fill'), new Fence(KEY), upload())))
    const called = Promise.resolve(call())
    await clock.advance(1)
    // until that is carried out, the store has what is older than both
    expect([superseded, set.outcome, fill.outcome]).toEqual([2, 'waiting', 'waiting'])
    carryOut()
    await called
    await clock.advance(1)
    expect([set.outcome, fill.outcome]).toEqual([new NotApplied('safe'), new NotApplied('safe')])
    ready()
    await clock.advance(1)
    expect([commits, superseded, queues.owed]).toEqual([[], 2, 0])
  })

  test('does not give way to a fill, nor to what concerns other keys', async () => {
    const other = validateKey('other')
    const waits = queues.commit(SCOPE, KEY, commit('set'), upload())
    void queues.fill(SCOPE, KEY, ENTRY, PUT, new Fence(KEY))
    await queues.set(SCOPE, other, ENTRY, PUT)
    await queues.clear(SCOPE, 'other')
    expect(superseded).toBe(0)
    ready()
    expect(await waits).toBe(true)
  })

  test('gives way to no clear that was called before and is owed; it is not stored then, and says why', async () => {
    store.answer = (operation) => (operation === 'clear' ? Promise.reject(failure('failed')) : Promise.resolve(1))
    await queues.clear(SCOPE, '')
    const waits = queues.commit(SCOPE, KEY, commit('set'), upload())
    store.answer = () => Promise.resolve(1)
    await clock.advance(1000)
    expect(await waits).toMatchObject({ how: 'safe', error: { code: 'in-doubt' } })
    expect(queues.owed).toBe(0)
  })

  test('holds up nothing that waits behind it when a clear takes its place', async () => {
    void queues.commit(SCOPE, KEY, commit('set'), upload())
    const filled = queues.fill(SCOPE, KEY, ENTRY, PUT, new Fence(KEY))
    await queues.clear(SCOPE, '')
    expect(await filled).toBe(true)
    expect(store.calls).toEqual(['put', 'clear'])
  })

  test('is lost where what takes its place is', async () => {
    open({ maxOwed: 0 })
    store.answer = failing
    const waits = queues.commit(SCOPE, KEY, commit('set'), upload())
    const deleted = await queues.delete(SCOPE, KEY)
    expect(deleted).toMatchObject({ how: 'lost' })
    expect(await waits).toBe(deleted)
  })

  test('does not take a set along that waits for another tier: that is carried out in its turn', async () => {
    const set = queues.set(SCOPE, KEY, ENTRY, PUT, never)
    const other = gate()
    const second = watch(Promise.resolve(queues.set(SCOPE, validateKey('other'), ENTRY, PUT, other.passed)))
    void queues.delete(SCOPE, validateKey('other'))
    other.pass()
    await clock.advance(1)
    expect([second.outcome, store.calls, set instanceof Promise]).toEqual([true, ['put', 'delete'], true])
  })

  test('is not taken back once it is carried out', async () => {
    let end = (_stored: boolean): void => undefined
    const waits = queues.commit(SCOPE, KEY, () => new Promise((resolve) => (end = resolve)), upload())
    ready()
    await clock.advance(1)
    const deleted = watch(Promise.resolve(queues.delete(SCOPE, KEY)))
    await clock.advance(1)
    expect([superseded, deleted.outcome]).toEqual([0, 'waiting'])
    end(true)
    expect(await waits).toBe(true)
    await clock.advance(1)
    expect(deleted.outcome).toBe(1)
  })
})
