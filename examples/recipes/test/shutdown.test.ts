import { EventEmitter, once } from 'node:events'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, expect, test } from '@jest/globals'
import { Logger } from '@nestjs/common'
import { NestFactory } from '@nestjs/core'
import { TieredCacheManager } from '@thermocline/core'
import { MemoryBackend } from '@thermocline/memory'
import type { Response } from 'express'
import { start } from '../src/graceful-shutdown-express.js'
import { server as fastifyServer } from '../src/graceful-shutdown-fastify.js'
import { CacheModule, CacheService } from '../src/graceful-shutdown-nest.js'

let cache: TieredCacheManager
/** A request that is under way until the test lets it go on. */
let gate: EventEmitter

beforeEach(async () => {
  cache = new TieredCacheManager({ tiers: { hot: { backend: new MemoryBackend() } } })
  await cache.tenant('acme').set('k', 'stored')
  gate = new EventEmitter()
})
afterEach(() => {
  for (const signal of ['SIGINT', 'SIGTERM']) process.removeAllListeners(signal)
})

const stored = async (): Promise<unknown> => {
  gate.emit('asked')
  await once(gate, 'go')
  return cache.tenant('acme').get('k')
}

const at = (server: Server, path: string): string => `http://127.0.0.1:${(server.address() as AddressInfo).port}${path}`

async function expectAnswer(server: Server): Promise<void> {
  const answer = await fetch(at(server, '/answers/all'))
  expect([answer.status, await answer.json()]).toEqual([200, { question: 'all' }])
}

/** A request is under way while the server is told to end: it still gets what is cached, and then the cache is closed. */
async function expectGrace(server: Server, end: () => unknown): Promise<void> {
  const answer = fetch(at(server, '/slow'))
  await once(gate, 'asked')
  const ended = end()
  for (let turn = 0; turn < 10; turn++) await new Promise(setImmediate)
  gate.emit('go')
  expect(await (await answer).text()).toBe('stored')
  await ended
  await expect(cache.tenant('acme').get('k')).rejects.toMatchObject({ code: 'closed' })
}

test('Express: a signal ends the server, then the cache', async () => {
  const server = start(cache, 0)
  await once(server, 'listening')
  await expectAnswer(server)
  process.emit('SIGTERM', 'SIGTERM')
  await once(server, 'close')
  await expect(cache.tenant('acme').get('k')).rejects.toMatchObject({ code: 'closed' })
})

test('Fastify: a request under way is answered, then the cache is closed', async () => {
  const app = fastifyServer(cache)
  app.get('/slow', stored)
  await app.listen({ port: 0, host: '127.0.0.1' })
  await expectAnswer(app.server)
  await expectGrace(app.server, () => app.close())
})

test('Nest: a request under way is answered, then the cache is closed', async () => {
  Logger.overrideLogger(false)
  const app = await NestFactory.create(CacheModule.of(cache))
  expect(app.get(CacheService).cache).toBe(cache)
  app.enableShutdownHooks()
  app.getHttpAdapter().get('/slow', async (_request: unknown, response: Response) => void response.send(await stored()))
  await app.listen(0, '127.0.0.1')
  await expectGrace(app.getHttpServer() as Server, () => app.close())
})
