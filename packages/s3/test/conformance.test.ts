import { afterAll, beforeAll, jest } from '@jest/globals'
import { buffer } from 'node:stream/consumers'
import type { Readable } from 'node:stream'
import { GetObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3'
import { CircuitBreaker, retry, timeout } from '@thermocline/core'
import { systemClock, TenantScope, validateKey, validateTenant, type Layer } from '@thermocline/backend'
import { ObjectNames } from '@thermocline/object-store'
import { S3Backend, type S3BackendOptions } from '@thermocline/s3'
import { describeBackend, type Feature, type Subject } from '@thermocline/testkit'
import { startProxy } from '../../../test/support/proxy.js'
import { describeS3, startS3, type S3Server } from '../../../test/support/s3/index.js'
import { optionsFor } from './support/shelf.js'

jest.setTimeout(60_000) // a thousand requests, on a busy machine

/** The server of the tests stores some thirty objects a second. All of the corpus; what more than a page does is in listing.test.ts. */
const MANY = 200
/** Once through with many is enough. */
const FEW = 25
let subjects = 0

interface SubjectParts {
  readonly layer?: Layer
  /** To damage objects with. */
  readonly plain?: S3Client
  readonly fail?: () => Promise<void>
}

/** A backend in a part of a bucket that no other subject uses, as empty as a new bucket. */
function subject(options: S3BackendOptions, { layer = (inner) => inner, plain, fail }: SubjectParts = {}): Subject {
  const prefix = `subject-${++subjects}`
  const open = (): ReturnType<Layer> => layer(new S3Backend({ ...options, prefix }))
  const damage = async (tenant: string, key: string): Promise<void> => {
    const place = { Bucket: options.bucket, Key: new ObjectNames(prefix).of(new TenantScope(validateTenant(tenant)), validateKey(key)) }
    const { Body, Metadata, ContentType, ContentEncoding } = await (plain as S3Client).send(new GetObjectCommand(place))
    const bytes = await buffer(Body as Readable)
    bytes[bytes.byteLength >> 1] = (bytes[bytes.byteLength >> 1] as number) ^ 1
    await (plain as S3Client).send(new PutObjectCommand({ ...place, Body: bytes, Metadata, ContentType, ContentEncoding }))
  }
  return { backend: open(), reopen: () => Promise.resolve(open()), fail, ...(plain === undefined ? {} : { damage }) }
}

/** A bucket takes payloads of up to 5 TiB, and any number. */
const WITHOUT: readonly Feature[] = ['payload limit', 'room']

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

  const behindProxy = async (): Promise<Subject> => {
    const proxy = await startProxy(server.port)
    return subject(optionsFor(server, bucket, { port: proxy.port }), { plain: client, fail: () => proxy.close() })
  }
  describeBackend({ name: 's3', create: behindProxy, many: MANY, without: WITHOUT })
  describeBackend({
    name: 's3 with a client of the user’s, under circuit breaker, timeout and retry',
    create: () => subject({ bucket, client }, { layer: guarded() }),
    many: FEW,
    without: [...WITHOUT, 'damage', 'outage'],
  })
})
