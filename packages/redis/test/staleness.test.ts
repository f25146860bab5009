import { afterAll, beforeAll } from '@jest/globals'
import { MemoryBackend } from '@thermocline/memory'
import { RedisBackend } from '@thermocline/redis'
import { describeRedis, startRedis, type RedisServer } from '../../../test/support/redis/index.js'
import { describeStaleness } from '../../../test/support/staleness.js'
import { freshPrefix } from './support/stage.js'

describeRedis('stale values', () => {
  let server: RedisServer
  beforeAll(async () => void (server = await startRedis()))
  afterAll(() => server.stop())

  const redis = (): RedisBackend => new RedisBackend({ url: server.url, keyPrefix: freshPrefix() })
  describeStaleness('redis', () => ({ tiers: { hot: { backend: redis() } } }))
  describeStaleness('memory and redis', () => ({ tiers: { near: { backend: new MemoryBackend(), maxTtl: null }, hot: { backend: redis() } } }))
})
