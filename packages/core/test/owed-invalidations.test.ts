import { beforeEach, describe, expect, test } from '@jest/globals'
import { Invalidation, TenantScope, validateKey, validateTenant, type CacheError, type CancelTimer, type InvalidationRecord, type RecordLog } from '@thermocline/backend'
import { Backoff } from '../src/layers/backoff.js'
import { OwedInvalidations } from '../src/tiers/owed-invalidations.js'
import { OwedSchedule } from '../src/tiers/owed-schedule.js'
import { Prefixes } from '../src/tiers/prefixes.js'
import { ManualClock, watch } from './support/manual-clock.js'
import { SCOPE } from './support/scripted-backend.js'

const [A, B] = [validateKey('a'), validateKey('b/1')]
const OTHER = new TenantScope(validateTenant('other'))
const always = (): boolean => true

let clock: ManualClock
let added: InvalidationRecord[]
let removed: InvalidationRecord[]
let told: string[]
let reports: CacheError[]
let adding: () => Promise<void>

function open({ landsWithinMs = 0, inherited = [] as InvalidationRecord[], hasLog = true } = {}): OwedInvalidations {
  const log: RecordLog = {
    load: () => inherited,
    add: (record) => (added.push(record), adding()),
    remove: (record) => void removed.push(record),
    close: () => Promise.resolve(),
  }
  return new OwedInvalidations({ tier: 'store', max: 10, log: hasLog ? log : undefined, clock, landsWithinMs, onChange: () => told.push('change'), onPaid: () => told.push('paid'), report: (error) => reports.push(error) })
}

beforeEach(() => {
  clock = new ManualClock()
  added = []
  removed = []
  told = []
  reports = []
  adding = () => Promise.resolve()
})

describe('what a tier owes', () => {
  test('is told of with the first of it and with the last, and each time that some is paid', async () => {
    const owed = open()
    for (const key of [A, B, A]) await owed.oweKey(SCOPE, key, false)
    await owed.oweClear(SCOPE, 'b/')
    await owed.oweClear(SCOPE, 'b/')
    expect([owed.size, told]).toEqual([3, ['change']])
    owed.payKey(SCOPE, A, owed.now)
    owed.payKey(SCOPE, A, owed.now) // it owes that no more
    owed.payKey(OTHER, B, owed.now)
    expect([owed.size, told]).toEqual([2, ['change', 'paid']])
    expect([owed.covers(SCOPE, B), owed.coversByClear(SCOPE, B), owed.owesKey(SCOPE, A), owed.covers(OTHER, B)]).toEqual([true, true, false, false])
    owed.payClears(SCOPE, Prefixes.of(['b/']), owed.now, always)
    expect(told.filter((what) => what === 'change')).toHaveLength(2)
    expect(told.filter((what) => what === 'paid')).toHaveLength(3)
    owed.payClears(SCOPE, Prefixes.of(['']), owed.now, always)
    expect(owed.size).toBe(0)
  })

  test('by clears is paid by later ones that cover it; keys that are held back are owed still', async () => {
    const owed = open()
    await owed.oweClear(SCOPE, 'a/')
    await owed.oweClear(SCOPE, 'b/')
    await owed.oweKey(SCOPE, A, false)
    await owed.oweKey(SCOPE, B, false)
    const before = owed.now
    await owed.oweClear(SCOPE, 'b/')
    owed.payClears(SCOPE, Prefixes.of(['a', 'b/']), before, (key) => key !== A)
    expect(owed.owedClears()).toEqual([{ scope: SCOPE, prefixes: ['b/'] }])
    expect(owed.owedKeys()).toEqual([{ scope: SCOPE, key: A }])
    owed.payClears(SCOPE, Prefixes.of(['c']), owed.now, always)
    expect(owed.size).toBe(2)
    owed.payClears(SCOPE, Prefixes.of(['']), owed.now, always)
    expect([owed.size, owed.owedClears(), owed.owedKeys()]).toEqual([0, [], []])
    expect(removed).toEqual([{ tier: 'store', tenant: 'acme', prefix: 'a/' }, { tier: 'store', tenant: 'acme', key: B }, { tier: 'store', tenant: 'acme', prefix: 'b/' }, { tier: 'store', tenant: 'acme', key: A }])
  })

  test('concerns whoever asks for it, for what is above it, and for what is under it', async () => {
    const owed = open()
    await owed.oweClear(SCOPE, 'b/')
    const asked = [Invalidation.ofKey(B), Invalidation.ofKey(A), Invalidation.ofPrefix(''), Invalidation.ofPrefix('b/1'), Invalidation.ofPrefix('a')]
    expect(asked.map((invalidation) => owed.concerns(SCOPE, invalidation))).toEqual([true, false, true, true, false])
    expect(asked.map((invalidation) => owed.concerns(OTHER, invalidation))).toEqual([false, false, false, false, false])
  })

  test('is recorded once, and the record removed when it is paid; what may land has two, of before and after that was known', async () => {
    const owed = open({ landsWithinMs: 1 })
    await owed.oweKey(SCOPE, A, false)
    await owed.oweKey(SCOPE, A, false)
    await owed.oweKey(SCOPE, A, true)
    await owed.oweKey(SCOPE, A, true)
    await owed.oweClear(SCOPE, 'b/')
    await owed.oweClear(SCOPE, 'b/')
    await owed.leaveOpen(SCOPE, B)
    const record = { tier: 'store', tenant: 'acme', key: A }
    expect(added).toEqual([record, { ...record, mayLand: true }, { tier: 'store', tenant: 'acme', prefix: 'b/' }, { ...record, key: B, mayLand: true }])
    owed.payKey(SCOPE, A, owed.now)
    expect(removed).toEqual([{ ...record, mayLand: true }, record])
    await owed.oweKey(SCOPE, A, false)
    owed.payKey(SCOPE, A, owed.now)
    expect(removed.slice(2)).toEqual([record])
  })

  test('is not recorded as what may land where nothing does after a process has ended', async () => {
    const owed = open()
    await owed.oweKey(SCOPE, A, true)
    await owed.leaveOpen(SCOPE, A)
    expect(added).toEqual([{ tier: 'store', tenant: 'acme', key: A }])
  })

  test('needs no log', async () => {
    const owed = open({ hasLog: false })
    expect(await owed.oweKey(SCOPE, A, false)).toBe(true)
    owed.payKey(SCOPE, A, owed.now)
    expect([owed.size, added, reports]).toEqual([0, [], []])
  })

  test('is waited for a quarter of a second to be recorded, no longer', async () => {
    const owed = open()
    adding = () => new Promise(() => undefined)
    const seen = watch(owed.oweKey(SCOPE, A, false))
    await clock.advance(249)
    expect(seen.outcome).toBe('waiting')
    await clock.advance(1)
    expect(seen.outcome).toBe(true)
    adding = () => Promise.resolve()
    await owed.oweKey(SCOPE, B, false)
    expect([clock.pending, reports]).toEqual([0, []])
  })

  test('is owed also where it cannot be recorded, which is reported', async () => {
    const owed = open()
    adding = () => Promise.reject(new Error('no disk'))
    expect(await owed.oweKey(SCOPE, A, false)).toBe(true)
    expect(reports).toMatchObject([{ operation: 'record', tenant: 'acme', key: 'a', message: expect.stringContaining('no disk') }])
    expect([owed.owesKey(SCOPE, A), clock.pending]).toEqual([true, 0])
  })

  test('and was inherited is counted once, and recorded when this process owes it as well', async () => {
    const record = { tier: 'store', tenant: 'acme' }
    const owed = open({ inherited: [{ ...record, key: 'a' }, { ...record, prefix: 'b/' }, { ...record, key: 'c' }, { ...record, key: 'a' }, { ...record, prefix: 'b/' }, { ...record, prefix: 1 as never }] })
    expect([owed.size, owed.now]).toEqual([3, 0])
    await owed.oweKey(SCOPE, A, false)
    await owed.oweKey(SCOPE, A, false)
    expect(added).toEqual([{ ...record, key: A }])
    owed.payKey(SCOPE, A, 0)
    expect(owed.size).toBe(3)
    owed.payKey(SCOPE, validateKey('c'), 0)
    owed.payClears(SCOPE, Prefixes.of(['']), 0, always)
    expect(owed.size).toBe(1)
  })

  test('on which something of an earlier process may land is tried once, and paid when that time is over', async () => {
    const owed = open({ landsWithinMs: 1000, inherited: [{ tier: 'store', tenant: 'acme', key: 'a', mayLand: true }] })
    expect(owed.owedKeys()).toHaveLength(1)
    owed.payKey(SCOPE, A, owed.now)
    expect([owed.size, owed.owedKeys()]).toEqual([1, []])
    await clock.advance(999)
    expect(owed.owedKeys()).toEqual([])
    await clock.advance(1)
    expect(owed.owedKeys()).toHaveLength(1)
    owed.payKey(SCOPE, A, owed.now)
    expect(owed.size).toBe(0)
    await owed.oweKey(SCOPE, A, false)
    expect([added, owed.owedKeys().length]).toEqual([[{ tier: 'store', tenant: 'acme', key: A }], 1])
  })
})

describe('when it is tried', () => {
  test('is at once when the tier is back, and after a second again then; not any more when it is closed', async () => {
    let isOwed = true
    const tried: number[] = []
    const startedAt = clock.now()
    let paying: Promise<void> = Promise.resolve()
    const schedule = new OwedSchedule({ clock, isOwed: () => isOwed, pay: () => (tried.push(clock.now() - startedAt), paying) })
    schedule.schedule()
    await clock.advance(3500)
    expect(tried).toEqual([1000, 3000])
    schedule.now()
    await clock.advance(1500)
    expect(tried).toEqual([1000, 3000, 3500, 4500])
    let paid = (): void => undefined
    paying = new Promise((resolve) => (paid = resolve))
    schedule.now()
    schedule.close()
    paid()
    await clock.advance(100_000)
    expect([tried, clock.pending]).toEqual([[1000, 3000, 3500, 4500, 5000], 0])
    isOwed = false
    schedule.schedule()
    expect(clock.pending).toBe(0)
  })

  test('is a wait that keeps no process up, and that can be ended and begun again', async () => {
    const background: unknown[] = []
    const own = new (class extends ManualClock {
      override schedule(ms: number, callback: () => void, options?: { readonly background?: boolean }): CancelTimer {
        background.push(options?.background)
        return super.schedule(ms, callback)
      }
    })()
    const backoff = new Backoff({ clock: own, firstMs: 10, longestMs: 100 })
    let attempts = 0
    const attempt = (): number => attempts++
    backoff.schedule(attempt)
    backoff.cancel()
    backoff.schedule(attempt)
    await own.advance(20)
    expect([background, attempts]).toEqual([[true, true], 1])
  })
})
