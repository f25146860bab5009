/*
 * The ways to a bucket that the S3 cases compare.
 */
import { adapterOver, cacheOver } from './bucket-contenders.mjs'

/** The SDK by hand, without its own checksums: the fastest it can be. */
export async function rawS3({ store }) {
  const { DeleteObjectsCommand, GetObjectCommand, ListObjectsV2Command, PutObjectCommand, S3Client } = await import('@aws-sdk/client-s3')
  const client = new S3Client(store.config)
  const { bucket: Bucket } = store
  async function* pages(prefix) {
    let token
    do {
      const page = await client.send(new ListObjectsV2Command({ Bucket, Prefix: prefix, ContinuationToken: token }))
      yield page.Contents ?? []
      token = page.NextContinuationToken
    } while (token !== undefined)
  }
  const open = async (key) => (await client.send(new GetObjectCommand({ Bucket, Key: key }))).Body
  return {
    open,
    get: async (key) => (await open(key)).transformToByteArray(),
    set: (key, value) => client.send(new PutObjectCommand({ Bucket, Key: key, Body: value })),
    async list(prefix) {
      const all = []
      for await (const page of pages(prefix)) for (const { Key, Size } of page) all.push({ key: Key, size: Size })
      return all
    },
    async clear(prefix) {
      for await (const page of pages(prefix)) {
        if (page.length > 0) await client.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects: page.map(({ Key }) => ({ Key })), Quiet: true } }))
      }
    },
    close: () => client.destroy(),
  }
}

/** The backend as an application makes it, but for where the store is. */
export async function s3Backend({ store }) {
  const { S3Backend } = await import('@thermocline/s3')
  const { endpoint, region, credentials, forcePathStyle } = store.config
  return new S3Backend({ bucket: store.bucket, endpoint, region, credentials, forcePathStyle })
}

export const thermocline = cacheOver(s3Backend)
export const adapterAlone = adapterOver(s3Backend)
