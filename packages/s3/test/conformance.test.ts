import { afterAll, beforeAll, jest } from '@jest/globals'
import { S3Client } from '@aws-sdk/client-s3'
import { CircuitBreaker, retry, timeout } from '@thermocline/core'
import { systemClock, type Layer } from '@thermocline/backend'
import { S3Backend, type S3BackendOptions } from '@thermocline/s3'
import { describeBackend, type Subject } from '@thermocline/testkit'
import { describeS3, startS3, type S3Server } from '../../../test/support/s3/index.js'
import { optionsFor } from './support/shelf.js'

jest.setTimeout(60_000) // a thousand requests, on a busy machine

/** The server of the tests stores some thirty objects a second: once through with many is enough. */
const FEW = 50
let subjects = 0

/** A backend in a part of a bucket that no other subject uses, as empty as a new bucket. */
function subject(options: S3BackendOptions, layer: Layer = (inner) => inner): Subject {
  const prefix = `subject-${++subjects}`
  const open = (): ReturnType<Layer> => layer(new S3Backend({ ...options, prefix }))
  return { backend: open(), reopen: () => Promise.resolve(open()) }
}

const clock = systemClock

/** As a manager wraps each tier. */
function guarded(): Layer {
  const retried = retry({ clock, attempts: 3, baseDelayMs: 1 })
  const timed = timeout({ clock, budgetMs: 30_000 }) // a thousand puts at once on a busy machine
  const breaker = new CircuitBreaker({ clock, failureThreshold: 5 })
  return (inner) => breaker.layer(timed(retried(inner)))
}

describeS3('an S3 store', () => {
  let server: S3Server
  let bucket: string
  let client: S3Client
  beforeAll(async () => {
    server = await startS3()
    bucket = await server.createBucket()
    client = new S3Client(server.clientConfig())
  }, 660_000)
  afterAll(async () => {
    client.destroy()
    await server.stop()
  })

  describeBackend({ name: 's3', create: () => subject(optionsFor(server, bucket)) })
  describeBackend({ name: 's3 with a client of the user’s', create: () => subject({ bucket, client }), many: FEW })
  describeBackend({ name: 's3 under circuit breaker, timeout and retry', create: () => subject(optionsFor(server, bucket), guarded()), many: FEW })
})
