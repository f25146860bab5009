import { buffer } from 'node:stream/consumers'
import type { Readable } from 'node:stream'
import { DeleteObjectCommand, GetObjectCommand, HeadObjectCommand, ListMultipartUploadsCommand, ListObjectsV2Command, PutObjectCommand, S3Client, type PutObjectCommandInput } from '@aws-sdk/client-s3'
import { afterAll, beforeAll } from '@jest/globals'
import type { Clock } from '@thermocline/backend'
import { S3Backend, type S3BackendOptions } from '@thermocline/s3'
import { ObjectShelf } from '../../../../test/support/object-shelf.js'
import { describeS3, startS3, type ClientOptions, type S3Server } from '../../../../test/support/s3/index.js'

export { scopeOf } from '../../../../test/support/object-shelf.js'

let prefixes = 0

/** A part of a bucket that no other test uses. */
export function freshPrefix(): string {
  return `part-${process.pid}-${++prefixes}`
}

/** The options of a backend on a server of the tests. */
export function optionsFor(server: S3Server, bucket: string, { user = server.credentials, port }: ClientOptions = {}): S3BackendOptions {
  return { bucket, endpoint: port === undefined ? server.endpoint : `http://127.0.0.1:${port}`, region: server.region, credentials: user, forcePathStyle: true }
}

/** What the tests of a file share: a server and a bucket of it. */
export interface Bucket {
  readonly server: S3Server
  readonly bucket: string
}

/** A suite on one bucket; it is there once the tests run. */
export function onBucket(name: string, body: (stage: Bucket) => void): void {
  describeS3(name, () => {
    const stage: { server: S3Server; bucket: string } = { server: undefined as never, bucket: '' } // set before the tests
    beforeAll(async () => {
      stage.server = await startS3()
      stage.bucket = await stage.server.createBucket()
    }, 660_000)
    afterAll(() => stage.server.stop())
    body(stage)
  })
}

/** A backend as one manager uses it, and a client of its own that sees what really is in the bucket. */
export class Shelf extends ObjectShelf<S3Backend> {
  readonly bucket: string
  readonly plain: S3Client

  constructor(server: S3Server, { prefix = freshPrefix(), ...options }: S3BackendOptions, clock?: Clock) {
    super(new S3Backend({ prefix, ...options }), prefix, clock)
    this.bucket = options.bucket
    this.plain = new S3Client(server.clientConfig())
  }

  /** What a plain client sees of an object; `undefined`: there is none. */
  async object(name: string): Promise<{ readonly body: Buffer; readonly metadata: Record<string, string>; readonly contentType: string | undefined; readonly contentEncoding: string | undefined; readonly storageClass: string | undefined } | undefined> {
    try {
      const found = await this.plain.send(new GetObjectCommand({ Bucket: this.bucket, Key: name }))
      const { Metadata = {}, ContentType, ContentEncoding, StorageClass } = found
      return { body: await buffer(found.Body as Readable), metadata: Metadata, contentType: ContentType, contentEncoding: ContentEncoding, storageClass: StorageClass }
    } catch (error) {
      if ((error as Error).name === 'NoSuchKey') return undefined
      throw error
    }
  }

  async exists(name: string): Promise<boolean> {
    return this.plain.send(new HeadObjectCommand({ Bucket: this.bucket, Key: name })).then(() => true, () => false)
  }

  /** Puts an object as somebody else would. */
  async putPlain(name: string, body: Uint8Array | string, more: Partial<PutObjectCommandInput> = {}): Promise<void> {
    await this.plain.send(new PutObjectCommand({ Bucket: this.bucket, Key: name, Body: body, ...more }))
  }

  async removePlain(name: string): Promise<void> {
    await this.plain.send(new DeleteObjectCommand({ Bucket: this.bucket, Key: name }))
  }

  /** The names of all objects of this part of the bucket. */
  async names(): Promise<string[]> {
    const names: string[] = []
    for (let token: string | undefined; ; ) {
      const { Contents = [], NextContinuationToken } = await this.plain.send(new ListObjectsV2Command({ Bucket: this.bucket, Prefix: `${this.prefix}/`, ContinuationToken: token }))
      names.push(...Contents.map(({ Key }) => Key!))
      if (NextContinuationToken === undefined) return names
      token = NextContinuationToken
    }
  }

  /** Uploads in parts that were begun and not ended, by the names of their objects. */
  async uploads(): Promise<string[]> {
    const { Uploads = [] } = await this.plain.send(new ListMultipartUploadsCommand({ Bucket: this.bucket, Prefix: `${this.prefix}/` }))
    return Uploads.map(({ Key }) => Key!)
  }

  override async close(): Promise<void> {
    await super.close()
    this.plain.destroy()
  }
}
