import { randomUUID } from 'node:crypto'
import { describe, jest, test } from '@jest/globals'
import { CircuitBreaker, retry, timeout } from '@thermocline/core'
import { systemClock, type Layer } from '@thermocline/backend'
import { Storage } from '@google-cloud/storage'
import { describeBackend, type Subject } from '@thermocline/testkit'
import type { GcsBackendOptions } from '@thermocline/gcs'
import { startStrictGcs } from '../../../test/support/gcs/index.js'
import { onEachServer, staged, type Stage } from './support/shelf.js'

/** A backend in a part of the bucket that no other subject uses, as empty as a new bucket. */
function subject(stage: Stage, options: Partial<GcsBackendOptions> = {}, layer: Layer = (inner) => inner): Subject {
  const prefix = `conformance/${randomUUID()}`
  const open = (): ReturnType<Layer> => layer(stage.backend({ prefix, ...options }))
  return { backend: open(), reopen: () => Promise.resolve(open()) }
}

const clock = systemClock
/** As a manager wraps each tier. */
function guarded(): Layer {
  const retried = retry({ clock, attempts: 3, baseDelayMs: 1 })
  const timed = timeout({ clock, budgetMs: 30_000 }) // much at once on a busy machine
  const breaker = new CircuitBreaker({ clock, failureThreshold: 5 })
  return (inner) => breaker.layer(timed(retried(inner)))
}

/** Once through with many keys is enough. */
const FEW = 50

jest.setTimeout(60_000) // the emulator takes 3 to 7 ms for a request

/** What the emulator cannot do: it ignores preconditions, and takes `a` and `a/` for one name. */
const NOT_ON_THE_EMULATOR: ReadonlySet<string> = new Set([
  'does not touch what is there',
  'onlyIfAbsent has one winner among many',
  'has one winner among many',
  'takes hundreds of keys, weird ones, and small beside large',
  'lists weird keys as they are',
  'no two weird keys meet',
  'a durable store is still there after reopening',
  "a host's clock a day ahead of the machine's decides what is absent",
  "a host's clock a day behind the machine's decides what is absent",
])

const onEmulator = { describe, test: (title: string, body: () => Promise<void>) => (NOT_ON_THE_EMULATOR.has(title) ? test.skip : test)(title, body) }

onEachServer((stage) => {
  describeBackend({ name: 'gcs', create: () => subject(stage), runner: stage.kind === 'emulator' ? onEmulator : { describe, test }, many: stage.kind === 'emulator' ? FEW : undefined })
})

describe('on the strict server', () => {
  const stage = staged('strict', startStrictGcs)
  describeBackend({ name: 'gcs without a prefix and with few connections', create: async () => subject(stage, { prefix: '', maxSockets: 8, bucket: await stage.server.createBucket() }), many: FEW })
  describeBackend({ name: 'gcs with a client of the user’s', create: () => subject(stage, { client: new Storage(stage.server.storageOptions()) }), many: FEW })
  describeBackend({ name: 'gcs under circuit breaker, timeout and retry', create: () => subject(stage, {}, guarded()), many: FEW })
})
