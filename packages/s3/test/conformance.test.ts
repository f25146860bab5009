import { afterAll, beforeAll, jest } from '@jest/globals'
import { buffer } from 'node:stream/consumers'
import type { Readable } from 'node:stream'
import { GetObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3'
import { validateKey, type Layer } from '@thermocline/backend'
import { ObjectNames } from '@thermocline/object-store'
import { S3Backend, type S3BackendOptions } from '@thermocline/s3'
import { describeBackend, type Feature, type Subject } from '@thermocline/testkit'
import { behindProxy, damaged, guarded } from '../../../test/support/conformance.js'
import { describeS3, startS3, type S3Server } from '../../../test/support/s3/index.js'
import { optionsFor, scopeOf } from './support/shelf.js'

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
}

/** A backend in a part of a bucket that no other subject uses, as empty as a new bucket. */
function subject(options: S3BackendOptions, { layer = (inner) => inner, plain }: SubjectParts = {}): Subject {
  const prefix = `subject-${++subjects}`
  const open = (): ReturnType<Layer> => layer(new S3Backend({ ...options, prefix }))
  const damage = async (tenant: string, key: string): Promise<void> => {
    const place = { Bucket: options.bucket, Key: new ObjectNames(prefix).of(scopeOf(tenant), validateKey(key)) }
    const { Body, Metadata, ContentType, ContentEncoding } = await (plain as S3Client).send(new GetObjectCommand(place))
    await (plain as S3Client).send(new PutObjectCommand({ ...place, Body: damaged(await buffer(Body as Readable)), Metadata, ContentType, ContentEncoding }))
  }
  return { backend: open(), reopen: () => Promise.resolve(open()), ...(plain === undefined ? {} : { damage }) }
}

/** A bucket takes payloads of up to 5 TiB, and any number. */
const WITHOUT: readonly Feature[] = ['payload limit', 'room']

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

  const create = (): Promise<Subject> => behindProxy(server.port, (port) => subject(optionsFor(server, bucket, { port }), { plain: client }))
  describeBackend({ name: 's3', create, many: MANY, without: WITHOUT })
  describeBackend({
    name: 's3 with a client of the user’s, under circuit breaker, timeout and retry',
    create: () => subject({ bucket, client }, { layer: guarded(30_000) }),
    many: FEW,
    without: [...WITHOUT, 'damage', 'outage'],
  })
})
