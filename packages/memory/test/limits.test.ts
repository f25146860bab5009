import { describe, expect, test } from '@jest/globals'
import { CacheEntry, NO_VALUE, TenantScope, validateKey, validateTenant } from '@thermocline/backend'
import { MemoryBackend, type MemoryBackendOptions } from '@thermocline/memory'
import v8 from 'node:v8'
import vm from 'node:vm'
import { Bench } from './support/bench.js'

describe('limits over all tenants', () => {
  test('maxEntries evicts the entry longest unused of all tenants', () => {
    const bench = new Bench({ maxEntries: 3 })
    bench.put('a', '1')
    bench.put('b', '1')
    bench.put('a', '2')
    bench.use('a', '1')
    bench.put('c', '1')
    bench.put('c', '2')
    expect(bench.evicted).toEqual([['b', '1', 'space'], ['a', '2', 'space']])
    expect(bench.look('a', '1')).toBe('1')
    expect(bench.backend.stats()).toMatchObject({ entries: 3, maxEntries: 3 })
  })

  test('maxBytes evicts as many as the new one needs', () => {
    const bench = new Bench({ maxBytes: 100 })
    for (const tenant of ['a', 'b', 'c', 'd']) bench.put(tenant, 'k', { bytes: 25 })
    bench.put('e', 'k', { bytes: 60 })
    expect(bench.evicted).toEqual([['a', 'k', 'space'], ['b', 'k', 'space'], ['c', 'k', 'space']])
    expect(bench.backend.stats()).toMatchObject({ entries: 2, bytes: 85, maxBytes: 100 })
  })

  test('looking without use does not keep an entry', () => {
    const bench = new Bench({ maxEntries: 2 })
    bench.put('a', '1')
    bench.put('a', '2')
    bench.look('a', '1')
    bench.put('a', '3')
    expect(bench.evicted).toEqual([['a', '1', 'space']])
  })

  test('replacing an entry counts it once and evicts nothing', () => {
    const bench = new Bench({ maxEntries: 2, maxBytes: 100 })
    bench.put('a', '1', { bytes: 40 })
    for (const bytes of [10, 50, 60, 20]) bench.put('a', '2', { bytes })
    expect(bench.evicted).toEqual([])
    expect(bench.backend.stats()).toMatchObject({ entries: 2, bytes: 60 })
  })

  test('what alone is larger than the limit is refused, evicts nothing else, and removes the key', () => {
    const bench = new Bench({ maxBytes: 100 })
    bench.put('a', 'other', { bytes: 50 })
    bench.put('a', 'k', { bytes: 10 })
    expect(bench.put('a', 'k', { bytes: 101 })).toBe(false)
    expect(bench.look('a', 'k')).toBe(NO_VALUE)
    expect(bench.look('a', 'other')).toBe('other')
    expect(bench.evicted).toEqual([])
    expect(bench.backend.stats()).toMatchObject({ entries: 1, bytes: 50 })
    expect(bench.put('a', 'exact', { bytes: 100 })).toBe(true)
  })

  test('a host that stores and removes while it is told of an eviction leaves the counts right', () => {
    const bench: Bench = new Bench({ maxEntries: 3, tenantQuota: { maxEntries: 2 } }, (tenant, key) => {
      if (bench.evicted.length > 6) return
      bench.put('again', key, { bytes: 7 })
      bench.remove(tenant, '2')
    })
    for (const key of ['1', '2', '3', '4', '5']) bench.put('a', key, { bytes: 10 })
    const kept = ['a', 'again'].map((tenant) => bench.backend.stats(bench.scope(tenant)))
    const sum = (name: 'entries' | 'bytes'): number => kept.reduce((total, stats) => total + (stats[name] ?? 0), 0)
    expect(bench.backend.stats()).toMatchObject({ entries: sum('entries'), bytes: sum('bytes') })
  })
})

describe('a tenant quota', () => {
  test('evicts the own oldest entry of a tenant, never that of another', () => {
    const bench = new Bench({ maxEntries: 10, tenantQuota: { maxEntries: 2 } })
    bench.put('b', '1')
    for (const key of ['1', '2', '3']) bench.put('a', key)
    expect(bench.evicted).toEqual([['a', '1', 'quota']])
    expect(bench.backend.stats(bench.scope('a'))).toEqual({ entries: 2, bytes: expect.any(Number), maxEntries: 2, maxBytes: undefined })
  })

  test('given as a number limits bytes, or entries where entries are what is limited', () => {
    expect(new Bench({ tenantQuota: 100 }).backend.stats(new TenantScope(validateTenant('a')))).toMatchObject({ maxBytes: 100, maxEntries: undefined })
    expect(new Bench({ maxEntries: 9, tenantQuota: 3 }).backend.stats(new TenantScope(validateTenant('a')))).toMatchObject({ maxEntries: 3, maxBytes: undefined })
    const bench = new Bench({ maxBytes: 1000, tenantQuota: 100 })
    bench.put('a', '1', { bytes: 60 })
    bench.put('a', '2', { bytes: 60 })
    expect(bench.evicted).toEqual([['a', '1', 'quota']])
    expect(bench.put('a', '2', { bytes: 101 })).toBe(false)
    expect(bench.look('a', '2')).toBe(NO_VALUE)
  })
})

describe('memory', () => {
  test('tenants without entries leave nothing', () => {
    v8.setFlagsFromString('--expose-gc')
    const collect = vm.runInNewContext('gc') as () => void
    const { backend } = new Bench()
    const round = (from: number): void => {
      for (let i = from; i < from + 10_000; i++) {
        const scope = new TenantScope(validateTenant(`tenant-${i}`))
        const key = validateKey('k')
        backend.put(scope, key, CacheEntry.ofValue(i, { createdAt: 0, expiresAt: 1 }), { onlyIfAbsent: false, keepUntil: 1 })
        backend.delete(scope, [key])
      }
      collect()
    }
    round(0)
    const before = process.memoryUsage().heapUsed
    for (let i = 1; i <= 4; i++) round(i * 10_000)
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(1024 ** 2) // 26 bytes a tenant
    expect(backend.stats()).toMatchObject({ entries: 0, bytes: 0 })
  })

  test('bytes are kept without the larger buffer behind them, and come back as the class they had', () => {
    const bench = new Bench()
    const pool = Buffer.alloc(1_000_000)
    bench.put('a', 'buffer', { value: pool.subarray(10, 20) })
    bench.put('a', 'bytes', { value: new Uint8Array(pool.buffer, 10, 10) })
    for (const key of ['buffer', 'bytes']) expect((bench.look('a', key) as Uint8Array).buffer.byteLength).toBe(10)
    expect(Buffer.isBuffer(bench.look('a', 'buffer'))).toBe(true)
    expect(Buffer.isBuffer(bench.look('a', 'bytes'))).toBe(false)
  })

  test('so are other views, of the class they had: a row of a batch, a DataView', () => {
    const bench = new Bench({ maxBytes: 1_000_000 })
    const batch = Float32Array.from({ length: 768 * 340 }, (_, i) => i)
    const row = batch.subarray(768, 768 * 2)
    bench.put('a', 'row', { value: row })
    bench.put('a', 'view', { value: new DataView(batch.buffer, 4, 8) })
    const kept = bench.look('a', 'row') as Float32Array
    expect(kept).toEqual(row)
    expect(kept.buffer.byteLength).toBe(3072)
    expect((bench.look('a', 'view') as DataView).buffer.byteLength).toBe(8)
    expect((bench.look('a', 'view') as DataView).getFloat32(0, true)).toBe(1)
    expect(bench.backend.stats().bytes).toBeLessThan(4000)
  })

  test('a view inside an object counts all that it keeps, once', () => {
    const bench = new Bench()
    const batch = new Float32Array(250_000)
    bench.put('a', 'rows', { value: [{ row: batch.subarray(0, 8) }, { row: batch.subarray(8, 16) }] })
    const { bytes } = bench.backend.stats()
    expect(bytes).toBeGreaterThan(1_000_000)
    expect(bytes).toBeLessThan(1_100_000)
  })

  test('what was encoded as JSON counts what it takes as a value', () => {
    const { backend, clock, scope } = ((bench) => ({ backend: bench.backend, clock: bench.clock, scope: bench.scope('a') }))(new Bench())
    const value = Array.from({ length: 1000 }, () => ({}))
    const encoded = { codec: 'json', bytes: Buffer.from(JSON.stringify(value)) }
    backend.put(scope, validateKey('k'), new CacheEntry(value, encoded, { createdAt: clock.now(), expiresAt: Number.POSITIVE_INFINITY }), { onlyIfAbsent: false, keepUntil: Number.POSITIVE_INFINITY })
    expect(backend.stats().bytes).toBeGreaterThan(40_000)
  })

  test('what cannot be looked into is kept and counts little, and is nobody\'s failure', () => {
    const bench = new Bench()
    const boom = (): never => {
      throw new Error('boom')
    }
    const values = [new Proxy({}, { ownKeys: boom, getPrototypeOf: boom }), { get a() { return boom() } }, [{ get a() { return boom() } }, 'x'], Promise.resolve(1), () => 1, new Array(4_000_000_000)]
    values.forEach((value, at) => expect(bench.put('a', `k${at}`, { value })).toBe(true))
    values.forEach((value, at) => expect(bench.look('a', `k${at}`) === value).toBe(true))
    expect(bench.backend.stats().bytes).toBeLessThan(2000)
  })

  test('what is over leaves within a minute, reported as expired; the rest stays', async () => {
    const bench = new Bench()
    const now = bench.clock.now()
    bench.put('a', 'over', { keepUntil: now + 1000 })
    bench.put('b', 'over', { keepUntil: now + 59_000 })
    bench.put('b', 'later', { keepUntil: now + 61_000 })
    bench.put('b', 'never')
    await bench.clock.advance(60_000)
    expect(bench.evicted).toEqual([['a', 'over', 'expired'], ['b', 'over', 'expired']])
    expect(bench.backend.stats()).toMatchObject({ entries: 2 })
    await bench.clock.advance(60_000)
    expect(bench.evicted.slice(2)).toEqual([['b', 'later', 'expired']])
  })

  test('is forgotten, and the sweep ends, with the last manager', async () => {
    const bench = new Bench()
    bench.put('a', 'k')
    bench.detach()
    await bench.backend[Symbol.asyncDispose]()
    expect(bench.backend.stats()).toMatchObject({ entries: 0, bytes: 0 })
    expect(bench.clock.pending).toBe(0)
    expect(bench.evicted).toEqual([])
  })
})

describe('options', () => {
  const WRONG: readonly (readonly [MemoryBackendOptions, string])[] = [
    [{ maxEntries: 0 }, 'maxEntries must be a positive whole number, not 0'],
    [{ maxEntries: 1.5 }, 'maxEntries must be a positive whole number, not 1.5'],
    [{ maxBytes: -1 }, 'maxBytes must be a positive whole number, not -1'],
    [{ maxBytes: Number.NaN }, 'maxBytes must be a positive whole number, not NaN'],
    [{ maxBytes: '1mb' as never }, 'maxBytes must be a positive whole number, not string'],
    [{ tenantQuota: 0 }, 'tenantQuota must be a positive whole number, not 0'],
    [{ tenantQuota: 'much' as never }, 'tenantQuota must be a number or { maxEntries, maxBytes }, not string'],
    [{ tenantQuota: { maxBytes: -2 } }, 'tenantQuota.maxBytes must be a positive whole number, not -2'],
    [{ tenantQuota: { maxEntries: 0.5 } }, 'tenantQuota.maxEntries must be a positive whole number, not 0.5'],
    [{ maxByte: 1 } as never, 'new MemoryBackend(options) does not know the option maxByte; did you mean maxBytes?'],
    [{ max_entries: undefined } as never, 'new MemoryBackend(options) does not know the option max_entries; did you mean maxEntries?'],
    [{ ttl: 5 } as never, 'new MemoryBackend(options) does not know the option ttl; it knows maxEntries, maxBytes, isolation, tenantQuota'],
    [{ tenantQuota: { maxByte: 1 } } as never, 'tenantQuota does not know the option maxByte; did you mean maxBytes?'],
    [null as never, 'new MemoryBackend(options): options must be an object, not null'],
    [5 as never, 'new MemoryBackend(options): options must be an object, not number'],
    [{ isolation: 'copy' as never }, "isolation must be 'share', 'freeze' or 'clone', not \"copy\""],
  ]
  test.each(WRONG)('%j is refused: %s', (options, message) => {
    expect(() => new MemoryBackend(options)).toThrow(new TypeError(message))
  })

  test('absent, undefined and Infinity mean no limit; without any limit there are 256 MiB', () => {
    expect(new MemoryBackend().stats()).toMatchObject({ maxEntries: undefined, maxBytes: 256 * 1024 ** 2 })
    expect(new MemoryBackend({ maxEntries: 5, maxBytes: undefined }).stats()).toMatchObject({ maxEntries: 5, maxBytes: undefined })
    expect(new MemoryBackend({ maxBytes: Number.POSITIVE_INFINITY, maxEntries: Number.POSITIVE_INFINITY }).stats().maxEntries).toBeUndefined()
  })
})
