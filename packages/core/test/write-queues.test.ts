import { beforeEach, describe, expect, test } from '@jest/globals'
import { CacheEntry, CacheError, Invalidation, validateKey, type Awaitable, type InvalidationRecord, type RecordLog } from '@thermocline/backend'
import { Fence } from '../src/flights/fence.js'
import { Deadlines } from '../src/layers/deadlines.js'
import { AskedTime } from '../src/tiers/asked-time.js'
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
let queues: WriteQueues

function open({ synchronous = false, landsWithinMs = 0 } = {}): void {
  const capabilities = { ...store.capabilities, synchronous, landsWithinMs }
  Object.defineProperty(store, 'capabilities', { value: capabilities })
  const add = async (record: InvalidationRecord): Promise<void> => {
    records.push(record)
  }
  const log: RecordLog = { load: () => [], add, remove: () => undefined, close: () => Promise.resolve() }
  queues = new WriteQueues({
    tier: 'store', backend: store, clock, time: new AskedTime(Deadlines.of(clock), undefined), budgetMs: BUDGET_MS, maxPayloadBytes: Number.POSITIVE_INFINITY, maxOwed: 10,
    log, fallback: undefined, report: () => undefined, suspectsChanged: () => undefined, progressed: () => undefined,
  })
}

beforeEach(() => {
  clock = new ManualClock()
  store = new ScriptedBackend()
  records = []
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

describe('what is owed', () => {
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
