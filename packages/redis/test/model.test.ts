import { afterAll, beforeAll, test } from '@jest/globals'
import { TieredCacheManager, type TierOptions } from '@thermocline/core'
import { MemoryBackend } from '@thermocline/memory'
import { RedisBackend } from '@thermocline/redis'
import { checkModel, Faults, type ModelSubject } from '@thermocline/testkit'
import { endModel } from '../../../test/support/end-model.js'
import { describeRedis, startRedis, type RedisServer } from '../../../test/support/redis/index.js'
import { NetworkClock } from '../../../test/support/network-clock.js'
import { freshPrefix } from './support/stage.js'

/** The same programs each time. More, and others: MODEL_RUNS=1000 MODEL_SEED=$RANDOM */
const runs = Number(process.env.MODEL_RUNS ?? 40)
const seed = Number(process.env.MODEL_SEED ?? 1)

/** Without faults a server that is slow in real time must not seem to have outlived its budget in fake time. */
const PATIENT = { budget: '1d' }

describeRedis('random programs keep the promises', () => {
  let server: RedisServer
  beforeAll(async () => void (server = await startRedis()))
  afterAll(() => server.stop())

  const create = (withMemory: boolean, withFaults: boolean): ModelSubject => {
    const clock = new NetworkClock(Date.now())
    const faults = withMemory ? [new Faults(), new Faults()] : [new Faults()]
    const patience = withFaults ? {} : PATIENT
    const tiers: Record<string, TierOptions> = {}
    if (withMemory) tiers.hot = { backend: new MemoryBackend(), maxTtl: null, ...patience }
    tiers.warm = { backend: new RedisBackend({ url: server.url, keyPrefix: freshPrefix() }), ...patience, layers: [clock.layer, faults.at(-1)!.layer] }
    const cache = new TieredCacheManager({ tiers, clock, logger: false })
    return { cache, clock, faults, cleanUp: () => endModel({ cache, clock, faults }) }
  }

  for (const [name, withMemory] of [['redis', false], ['memory and redis', true]] as const) {
    const tiers = withMemory ? 2 : 1
    test(`on ${name}, without faults every read is as predicted`, () => checkModel({ create: () => Promise.resolve(create(withMemory, false)), tiers, faults: false, runs, seed }), 120_000)
    test(`on ${name}, with faults nothing old comes back`, () => checkModel({ create: () => Promise.resolve(create(withMemory, true)), tiers, faults: true, runs, seed }), 120_000)
  }
})
