import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import { TieredCacheManager } from '@thermocline/core'
import { MemoryBackend } from '@thermocline/memory'
import { FakeClock } from '@thermocline/testkit'
import { forget } from '../src/delete-a-tenant.js'
import { shutDown } from '../src/graceful-shutdown.js'
import { userOf } from '../src/negative-results.js'
import { pageAt } from '../src/only-if-ok.js'

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
