import { s3Kind } from './available.js'
import { startCeph } from './ceph.js'
import { givenServer } from './given.js'
import { startLocalStack } from './localstack.js'
import type { S3Server } from './server.js'

/**
 * Gives an S3 server for this test file: the one that S3_ENDPOINT names, else LocalStack where a Docker engine answers, else the
 * gateway of a Ceph cluster. To be called once in a file: the latter two are started anew (Ceph takes 1.3 s and 140 MB, which is
 * little enough that test files share none).
 */
export async function startS3(): Promise<S3Server> {
  switch (s3Kind()) {
    case 'given':
      return givenServer()
    case 'localstack':
      return startLocalStack()
    default:
      return startCeph()
  }
}
