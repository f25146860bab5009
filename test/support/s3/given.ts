import { AbortMultipartUploadCommand, DeleteBucketCommand, DeleteObjectsCommand, ListMultipartUploadsCommand, ListObjectVersionsCommand, S3Client } from '@aws-sdk/client-s3'
import { atEndOfFile } from '../servers/end-of-file.js'
import { type Credentials, type S3Description, S3Server } from './server.js'

/** A server that somebody else runs. Buckets made on it are removed with what is in them, after the test file at the latest. */
export class GivenServer extends S3Server {
  readonly kind = 'given'
  readonly #buckets: string[] = []

  constructor(description: S3Description) {
    super(description)
    atEndOfFile(() => this.stop())
  }

  override async createBucket(name?: string): Promise<string> {
    const bucket = await super.createBucket(name)
    this.#buckets.push(bucket)
    return bucket
  }

  /** Removes the buckets; the server itself is not ours to end. */
  async stop(): Promise<void> {
    for (const bucket of this.#buckets.splice(0)) await this.#removeBucket(bucket)
  }

  async #removeBucket(bucket: string): Promise<void> {
    const client = new S3Client(this.clientConfig())
    try {
      for (;;) {
        const { Uploads = [] } = await client.send(new ListMultipartUploadsCommand({ Bucket: bucket }))
        if (Uploads.length === 0) break
        for (const { Key, UploadId } of Uploads) await client.send(new AbortMultipartUploadCommand({ Bucket: bucket, Key, UploadId }))
      }
      for (;;) {
        const { Versions = [], DeleteMarkers = [] } = await client.send(new ListObjectVersionsCommand({ Bucket: bucket }))
        const objects = [...Versions, ...DeleteMarkers].map(({ Key, VersionId }) => ({ Key, VersionId }))
        if (objects.length === 0) break
        await client.send(new DeleteObjectsCommand({ Bucket: bucket, Delete: { Objects: objects, Quiet: true } }))
      }
      await client.send(new DeleteBucketCommand({ Bucket: bucket }))
    } finally {
      client.destroy()
    }
  }
}

/** The server at S3_ENDPOINT, with the usual variables of AWS, and S3_OTHER_ACCESS_KEY_ID and S3_OTHER_SECRET_ACCESS_KEY for the other user. */
export function givenServer(env: NodeJS.ProcessEnv = process.env): GivenServer {
  const credentials = credentialsOf(env.AWS_ACCESS_KEY_ID, env.AWS_SECRET_ACCESS_KEY, env.AWS_SESSION_TOKEN)
  if (env.S3_ENDPOINT === undefined || credentials === undefined) throw new Error('S3_ENDPOINT needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY beside it')
  const otherUser = credentialsOf(env.S3_OTHER_ACCESS_KEY_ID, env.S3_OTHER_SECRET_ACCESS_KEY)
  return new GivenServer({ endpoint: env.S3_ENDPOINT, region: env.AWS_REGION ?? env.AWS_DEFAULT_REGION ?? 'us-east-1', credentials, otherUser, lifecycleDayMs: undefined })
}

function credentialsOf(accessKeyId = '', secretAccessKey = '', sessionToken = ''): Credentials | undefined {
  if (accessKeyId === '' || secretAccessKey === '') return undefined
  return { accessKeyId, secretAccessKey, ...(sessionToken === '' ? {} : { sessionToken }) }
}
