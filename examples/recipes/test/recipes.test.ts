import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import { TieredCacheManager } from '@thermocline/core'
import { MemoryBackend } from '@thermocline/memory'
import { FakeClock } from '@thermocline/testkit'
import { metrics } from '@opentelemetry/api'
import { forget } from '../src/delete-a-tenant.js'
import { SealedCache, type Sealed } from '../src/encrypt-values.js'
import { priceOf } from '../src/errors-for-a-short-time.js'
import { outdate, reload, remove } from '../src/force-a-new-value.js'
import { shutDown } from '../src/graceful-shutdown.js'
import { userOf } from '../src/negative-results.js'
import { pageAt } from '../src/only-if-ok.js'
import { serveMetrics } from '../src/prometheus.js'
import { policies } from '../src/stale-but-never-missing.js'

let clock: FakeClock
let cache: TieredCacheManager

beforeEach(() => {
  clock = new FakeClock()
  cache = new TieredCacheManager({ tiers: { hot: { backend: new MemoryBackend() } }, clock })
})
afterEach(() => cache.close())

test('negative results: what is not there is asked for again after a minute, what is there after a day', async () => {
  const asked: string[] = []
  const load = async (id: string): Promise<{ id: string; name: string } | undefined> => {
    asked.push(id)
    return id === 'ada' ? { id, name: 'Ada' } : undefined
  }
  const both = async (): Promise<unknown> => [await userOf(cache.tenant('acme'), 'ada', load), await userOf(cache.tenant('acme'), 'nobody', load)]
  expect([await both(), await both()]).toEqual([[{ id: 'ada', name: 'Ada' }, undefined], [{ id: 'ada', name: 'Ada' }, undefined]])
  expect(asked).toEqual(['ada', 'nobody'])
  await clock.advance(61_000)
  await both()
  expect(asked).toEqual(['ada', 'nobody', 'nobody'])
  await clock.advance(86_400_000)
  await both()
  expect(asked).toEqual(['ada', 'nobody', 'nobody', 'ada', 'nobody'])
})

test('stale but never missing: an old value while the source is down, slow or hangs', async () => {
  const stale = new TieredCacheManager({ tiers: { hot: { backend: new MemoryBackend() } }, policies, clock, logger: false })
  const acme = stale.tenant('acme')
  expect(await acme.getOrCompute('search/cats', () => 'first')).toBe('first')
  await clock.advance(6 * 60_000)
  expect(await acme.getOrCompute('search/cats', () => Promise.reject(new Error('down')))).toBe('first')
  await clock.advance(2 * 3_600_000)
  expect(await acme.getOrCompute('search/cats', () => Promise.reject(new Error('down')))).toBe('first')
  const slow = acme.getOrCompute('search/cats', () => new Promise<string>(() => undefined))
  await clock.advance(500)
  expect(await slow).toBe('first')
  expect((await acme.stats()).policies['search']!.staleHits).toBe(3)
  const closing = stale.close()
  await clock.advance(10_000)
  await closing
})

test('errors for a short time: a source that is down is asked once in five seconds', async () => {
  const acme = cache.tenant('acme')
  let asked = 0
  const down = (): Promise<number> => {
    asked++
    return Promise.reject(new Error('down'))
  }
  for (let n = 0; n < 3; n++) await expect(priceOf(acme, 'tea', down)).rejects.toThrow('down')
  expect(asked).toBe(1)
  await clock.advance(5000)
  expect(await priceOf(acme, 'tea', () => Promise.resolve(3))).toBe(3)
  await clock.advance(60_000)
  for (let n = 0; n < 3; n++) expect(await priceOf(acme, 'tea', down)).toBe(3)
  expect(asked).toBe(2)
})

test('force a new value: reload, outdate, remove', async () => {
  const stale = new TieredCacheManager({ tiers: { hot: { backend: new MemoryBackend() } }, policies: { default: { staleWhileRevalidate: '1h' } }, clock })
  const acme = stale.tenant('acme')
  await acme.set('k', 'old')
  expect([await reload(acme, 'k', () => Promise.resolve('new')), await acme.get('k')]).toEqual(['new', 'new'])
  await outdate(acme, 'k')
  expect((await acme.lookup('k')).status).toBe('stale')
  await remove(acme, 'k')
  expect(await acme.lookup('k')).toEqual({ status: 'miss' })
  await stale.close()
})

describe('with a server', () => {
  let server: Server
  let requests: number

  beforeEach(async () => {
    requests = 0
    server = createServer((request, response) => {
      requests += 1
      response.writeHead(request.url === '/ok' ? 200 : 503)
      setTimeout(() => response.end('text'), 20)
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
  })
  afterEach(() => void server.close())

  const at = (path: string): string => `http://127.0.0.1:${(server.address() as AddressInfo).port}${path}`

  test('only if ok: a 200 is kept, a 503 is not', async () => {
    const acme = cache.tenant('acme')
    for (let time = 0; time < 2; time++) expect(await pageAt(acme, at('/ok'))).toEqual({ status: 200, text: 'text' })
    expect(requests).toBe(1)
    for (let time = 0; time < 2; time++) expect(await pageAt(acme, at('/down'))).toEqual({ status: 503, text: 'text' })
    expect(requests).toBe(3)
  })

  test('graceful shutdown: a request under way is answered, then the cache is closed', async () => {
    const answer = fetch(at('/ok'))
    await once(server, 'request')
    await shutDown(server, cache)
    expect((await answer).status).toBe(200)
    await expect(cache.tenant('acme').get('k')).rejects.toMatchObject({ code: 'closed' })
  })
})

test('delete a tenant: nothing of it is left, and nothing of others is gone', async () => {
  for (const tenant of ['acme', 'other']) await cache.tenant(tenant).set('a/b', tenant)
  await forget(cache, 'acme')
  expect([await cache.tenant('acme').get('a/b'), await cache.tenant('other').get('a/b')]).toEqual([undefined, 'other'])
})

describe('encrypt values', () => {
  const OLD = randomBytes(32)
  const NEW = randomBytes(32)
  const before = { current: '2026-01', keys: new Map([['2026-01', OLD]]) }
  const rotated = { current: '2026-06', keys: new Map([['2026-01', OLD], ['2026-06', NEW]]) }
  const after = { current: '2026-06', keys: new Map([['2026-06', NEW]]) }
  const sealed = (tenant: string, ring = before): SealedCache => new SealedCache(cache.tenant(tenant), ring)

  test('a value comes back, and the tier does not have it', async () => {
    const value = { text: 'attack at dawn', at: new Date(0), vector: new Float32Array([1, 2]) }
    await sealed('acme').set('notes/1', value)
    expect(await sealed('acme').get('notes/1')).toEqual(value)
    expect(Buffer.from((await cache.tenant('acme').get<Sealed>('notes/1'))!.data).includes('dawn')).toBe(false)
    expect([await sealed('acme').get('notes/2'), await sealed('acme').getOrCompute('notes/1', () => 'not computed')]).toEqual([undefined, value])
  })

  test('an older key opens until it is taken off the ring, then its values are computed again', async () => {
    await sealed('acme').set('notes/1', 'old')
    expect(await sealed('acme', rotated).get('notes/1')).toBe('old')
    expect(await sealed('acme', after).get('notes/1')).toBeUndefined()
    expect(await sealed('acme', after).getOrCompute('notes/1', () => 'new')).toBe('new')
    expect(await sealed('acme', rotated).get('notes/1')).toBe('new')
  })

  test.each<[string, (entry: Sealed) => unknown, string, string]>([
    ['moved to another key', (entry) => entry, 'acme', 'notes/2'],
    ['moved to another tenant', (entry) => entry, 'other', 'notes/1'],
    ['changed', (entry) => ({ ...entry, data: entry.data.map((byte) => byte ^ 1) }), 'acme', 'notes/1'],
    ['cut in its tag', (entry) => ({ ...entry, tag: entry.tag.subarray(0, 4) }), 'acme', 'notes/1'],
    ['plain', () => 'plain', 'acme', 'notes/1'],
    ['nothing', () => null, 'acme', 'notes/1'],
  ])('what was %s does not open and is computed again', async (_, change, tenant, key) => {
    await sealed('acme').set('notes/1', 'mine')
    await cache.tenant(tenant).set(key, change((await cache.tenant('acme').get<Sealed>('notes/1'))!))
    expect(await sealed(tenant).get(key)).toBeUndefined()
    expect(await sealed(tenant).getOrCompute(key, () => 'computed')).toBe('computed')
  })
})

test('Prometheus: a scrape shows the counters', async () => {
  const free = createServer().listen(0, '127.0.0.1')
  await once(free, 'listening')
  const { port } = free.address() as AddressInfo
  await new Promise((resolve) => free.close(resolve))
  const provider = serveMetrics(port)
  try {
    const acme = cache.tenant('acme')
    await acme.getOrCompute('answers/all', () => 42)
    await acme.get('answers/all')
    const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text()
    expect(text).toMatch(/^cache_hits_total\{[^}]*tier="hot"[^}]*\} 1( |$)/m)
  } finally {
    await provider.shutdown()
    metrics.disable()
  }
})
