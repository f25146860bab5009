import { CreateMultipartUploadCommand, HeadBucketCommand, PutBucketVersioningCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3'
import { describe, expect, jest, test } from '@jest/globals'
import { describeCeph, givenServer, startCeph } from '../support/s3/index.js'

jest.setTimeout(30_000) // starting servers takes its time on a busy machine

describeCeph('an S3 server that somebody else runs', () => {
  test('is used with the credentials in the environment, and is left without the buckets of the test', async () => {
    const ceph = await startCeph()
    const { accessKeyId, secretAccessKey } = ceph.credentials
    const other = ceph.otherUser!
    const given = givenServer({ S3_ENDPOINT: ceph.endpoint, AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey, S3_OTHER_ACCESS_KEY_ID: other.accessKeyId, S3_OTHER_SECRET_ACCESS_KEY: other.secretAccessKey })
    expect(given).toMatchObject({ kind: 'given', endpoint: ceph.endpoint, port: ceph.port, region: 'us-east-1', credentials: ceph.credentials, otherUser: other, lifecycleDayMs: undefined })

    const [Bucket, theirs] = [await given.createBucket(), await ceph.createBucket()]
    const client = new S3Client(given.clientConfig())
    await client.send(new PutBucketVersioningCommand({ Bucket, VersioningConfiguration: { Status: 'Enabled' } }))
    for (const Body of ['one', 'two']) await client.send(new PutObjectCommand({ Bucket, Key: 'key', Body }))
    await client.send(new CreateMultipartUploadCommand({ Bucket, Key: 'unfinished' }))
    await given.stop()
    await expect(client.send(new HeadBucketCommand({ Bucket }))).rejects.toMatchObject({ $metadata: { httpStatusCode: 404 } })
    await client.send(new HeadBucketCommand({ Bucket: theirs }))
    client.destroy()
  })
})

describe('S3_ENDPOINT', () => {
  test('needs credentials beside it', () => {
    expect(() => givenServer({ S3_ENDPOINT: 'https://s3.example' })).toThrow(/AWS_ACCESS_KEY_ID/)
  })

  test('may be anywhere', () => {
    const env = { AWS_ACCESS_KEY_ID: 'id', AWS_SECRET_ACCESS_KEY: 'secret', AWS_SESSION_TOKEN: 'token', AWS_REGION: 'eu-west-1' }
    expect(givenServer({ ...env, S3_ENDPOINT: 'https://s3.example' })).toMatchObject({ port: 443, region: 'eu-west-1', credentials: { sessionToken: 'token' }, otherUser: undefined })
    expect(givenServer({ ...env, S3_ENDPOINT: 'http://s3.example' }).port).toBe(80)
  })
})
