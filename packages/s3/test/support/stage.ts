import { startS3, type S3Server } from '../../../../test/support/s3/index.js'
import { Meddler } from './meddler.js'

/** A server with a bucket, and the meddler before it. Whoever starts it stops the server. */
export interface Stage {
  readonly server: S3Server
  readonly bucket: string
  readonly meddler: Meddler
}

export async function startStage(): Promise<Stage> {
  const server = await startS3()
  return { server, bucket: await server.createBucket(), meddler: await Meddler.start(server.endpoint) }
}
