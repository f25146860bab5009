import { afterAll, beforeAll } from '@jest/globals'
import { S3Backend } from '@thermocline/s3'
import { describeModel } from '../../../test/support/object-store-model.js'
import { describeS3, startS3, type S3Server } from '../../../test/support/s3/index.js'
import { optionsFor } from './support/shelf.js'

describeS3('random programs keep the promises', () => {
  let server: S3Server
  let bucket: string
  let subjects = 0
  beforeAll(async () => {
    server = await startS3()
    bucket = await server.createBucket()
  }, 660_000)
  afterAll(() => server.stop())

  describeModel('S3', () => new S3Backend({ ...optionsFor(server, bucket), prefix: `model-${++subjects}` }))
})
