import { existsSync } from 'node:fs'
import { GetObjectCommand, HeadObjectCommand, PutBucketLifecycleConfigurationCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3'
import { beforeAll, expect, jest, test } from '@jest/globals'
import { startProxy } from '../support/proxy.js'
import { atEndOfFile } from '../support/servers/end-of-file.js'
import { until } from '../support/servers/until.js'
import { type CephServer, type ClientOptions, describeCeph, describeS3, type S3Server, startCeph, startS3 } from '../support/s3/index.js'
import { isThere } from './processes.js'

jest.setTimeout(30_000) // starting servers takes its time on a busy machine

describeS3('an S3 server of a test', () => {
  let server: S3Server

  beforeAll(async () => {
    server = await startS3()
  }, 660_000)

  test('has buckets of the test only, and keeps objects with their metadata', async () => {
    const [bucket, other] = [await server.createBucket(), await server.createBucket()]
    expect(bucket).not.toBe(other)
    const client = clientOf(server)
    await client.send(new PutObjectCommand({ Bucket: bucket, Key: 'a/b c', Body: 'body', Metadata: { ours: 'yes' } }))
    expect(await bodyOf(client, bucket, 'a/b c')).toBe('body')
    expect((await client.send(new HeadObjectCommand({ Bucket: bucket, Key: 'a/b c' }))).Metadata).toEqual({ ours: 'yes' })
    await expect(bodyOf(client, other, 'a/b c')).rejects.toMatchObject({ name: 'NoSuchKey' })
    await expect(bodyOf(client, `${bucket}-absent`, 'key')).rejects.toMatchObject({ name: 'NoSuchBucket' })
  })
})

describeCeph('the S3 gateway of Ceph', () => {
  let server: CephServer

  beforeAll(async () => {
    server = await startCeph({ lifecycleDaySeconds: 1 })
  })

  test('refuses who is not known, and other users', async () => {
    const bucket = await server.createBucket()
    await clientOf(server).send(new PutObjectCommand({ Bucket: bucket, Key: 'key', Body: 'body' }))
    await expect(bodyOf(clientOf(server, { user: server.otherUser! }), bucket, 'key')).rejects.toMatchObject({ name: 'AccessDenied', $metadata: { httpStatusCode: 403 } })
    await expect(bodyOf(clientOf(server, { user: { ...server.credentials, secretAccessKey: 'wrong' } }), bucket, 'key')).rejects.toMatchObject({ name: 'SignatureDoesNotMatch' })
    await expect(bodyOf(clientOf(server, { user: { ...server.credentials, accessKeyId: 'UNKNOWN' } }), bucket, 'key')).rejects.toMatchObject({ name: 'InvalidAccessKeyId' })
  })

  test.each(['STANDARD_IA', 'GLACIER'] as const)('has the storage class %s', async (storageClass) => {
    const bucket = await server.createBucket()
    const client = clientOf(server)
    await client.send(new PutObjectCommand({ Bucket: bucket, Key: 'key', Body: 'body', StorageClass: storageClass }))
    expect((await client.send(new HeadObjectCommand({ Bucket: bucket, Key: 'key' }))).StorageClass).toBe(storageClass)
    expect(await bodyOf(client, bucket, 'key')).toBe('body')
  })

  test('expires what a lifecycle rule names, within its short days', async () => {
    const bucket = await server.createBucket()
    const client = clientOf(server)
    for (const key of ['old/key', 'other/key']) await client.send(new PutObjectCommand({ Bucket: bucket, Key: key, Body: 'body' }))
    const rule = { ID: 'old', Status: 'Enabled', Filter: { Prefix: 'old/' }, Expiration: { Days: 1 } } as const
    await client.send(new PutBucketLifecycleConfigurationCommand({ Bucket: bucket, LifecycleConfiguration: { Rules: [rule] } }))
    const isGone = async (): Promise<boolean> => (await errorOf(bodyOf(client, bucket, 'old/key'))) === 'NoSuchKey'
    await until('the object has expired', isGone, { withinMs: 20 * server.lifecycleDayMs!, everyMs: 100 })
    expect(await bodyOf(client, bucket, 'other/key')).toBe('body')
  })

  test('can be reached through a proxy', async () => {
    const bucket = await server.createBucket()
    const proxy = await startProxy(server.port)
    const client = clientOf(server, { port: proxy.port })
    await client.send(new PutObjectCommand({ Bucket: bucket, Key: 'key', Body: Buffer.alloc(100_000, 'x') }))
    await proxy.resetMidReply(50_000)
    await expect(bodyOf(client, bucket, 'key')).rejects.toMatchObject({ code: 'ECONNRESET' })
    expect(await bodyOf(client, bucket, 'key')).toHaveLength(100_000)
    await proxy.refuse()
    await expect(bodyOf(client, bucket, 'key')).rejects.toThrow(/ECONNRESET|ECONNREFUSED/)
  })

  test('is silent while paused, refuses when killed, and comes back with what it had', async () => {
    const bucket = await server.createBucket()
    const client = clientOf(server)
    await client.send(new PutObjectCommand({ Bucket: bucket, Key: 'key', Body: 'body' }))
    server.pause()
    await expect(bodyOf(client, bucket, 'key', AbortSignal.timeout(200))).rejects.toMatchObject({ name: 'AbortError' })
    server.resume()
    expect(await bodyOf(client, bucket, 'key')).toBe('body')
    server.pause()
    await server.kill()
    // by a client of its own: one that was there may still have a connection, which is hung up first
    await expect(bodyOf(clientOf(server), bucket, 'key')).rejects.toThrow(/ECONNREFUSED/)
    await server.restart()
    const anew = clientOf(server)
    expect(await bodyOf(anew, bucket, 'key')).toBe('body')
    await anew.send(new PutObjectCommand({ Bucket: bucket, Key: 'key', Body: 'next' }))
    expect(await errorOf(bodyOf(anew, await server.createBucket(), 'key'))).toBe('NoSuchKey')
  })

  test('does not meet another one, and stops without a trace', async () => {
    const second = await startCeph()
    const bucket = await server.createBucket()
    await clientOf(server).send(new PutObjectCommand({ Bucket: bucket, Key: 'key', Body: 'first' }))
    await second.createBucket(bucket)
    await expect(bodyOf(clientOf(second), bucket, 'key')).rejects.toMatchObject({ name: 'NoSuchKey' })
    const { pids, dir } = second
    await second.stop()
    expect([pids.filter(isThere), existsSync(dir)]).toEqual([[], false])
    expect(await bodyOf(clientOf(server), bucket, 'key')).toBe('first')
  })
})

function clientOf(server: S3Server, options: ClientOptions = {}): S3Client {
  const client = new S3Client({ ...server.clientConfig(options), maxAttempts: 1 })
  atEndOfFile(() => client.destroy())
  return client
}

async function bodyOf(client: S3Client, bucket: string, key: string, abortSignal?: AbortSignal): Promise<string | undefined> {
  const { Body } = await client.send(new GetObjectCommand({ Bucket: bucket, Key: key }), { ...(abortSignal === undefined ? {} : { abortSignal }) })
  return Body?.transformToString()
}

async function errorOf(work: Promise<unknown>): Promise<string | undefined> {
  try {
    await work
    return undefined
  } catch (error) {
    return (error as Error).name
  }
}
