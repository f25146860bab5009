/*
 * The ways to a bucket that the S3 cases compare. All have plain Buffers as values; the names of objects do not matter to them.
 */
const ENTRY = { want: 'payload', touch: true }
const LIFE_MS = 86_400_000

/** The SDK by hand, without its own checksums: the fastest it can be. */
export async function rawS3({ s3 }) {
  const { DeleteObjectsCommand, GetObjectCommand, ListObjectsV2Command, PutObjectCommand, S3Client } = await import('@aws-sdk/client-s3')
  const client = new S3Client(s3.config)
  const { bucket: Bucket } = s3
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
export async function s3Backend({ s3 }) {
  const { S3Backend } = await import('@thermocline/s3')
  const { endpoint, region, credentials, forcePathStyle } = s3.config
  return new S3Backend({ bucket: s3.bucket, endpoint, region, credentials, forcePathStyle })
}

/** A manager whose only tier is S3. */
export async function thermocline(context) {
  const { TieredCacheManager } = await import('@thermocline/core')
  const cache = new TieredCacheManager({ tiers: { cold: { backend: await s3Backend(context) } }, policies: { frames: { ttl: '1d' } } })
  cache.on('error', ({ error }) => console.error(error))
  const acme = cache.tenant('acme')
  return {
    get: (key) => acme.get(key),
    set: (key, value) => acme.set(key, value),
    setStream: (key, source) => acme.setStream(key, source),
    async list(prefix) {
      const all = []
      for await (const { key, size } of acme.list(prefix)) all.push({ key, size })
      return all
    },
    clear: (prefix) => acme.clear(prefix),
    close: () => cache.close({ deadline: '30s' }),
  }
}

/** The backend without a manager: what of a difference is the adapter's. */
export async function adapterAlone(context) {
  const { CacheEntry, systemClock, TenantScope, validateKey } = await import('@thermocline/core')
  const backend = await s3Backend(context)
  const scope = new TenantScope('acme')
  const detach = backend.attach({ clock: systemClock, evicted: () => undefined, demotes: () => false, report: (error) => console.error(error) })
  return {
    get: async (key) => (await backend.get(scope, validateKey(key), ENTRY))?.encoded?.bytes,
    set(key, bytes) {
      const createdAt = Date.now()
      const expiresAt = createdAt + LIFE_MS
      return backend.put(scope, validateKey(key), CacheEntry.ofBytes({ codec: 'buffer', bytes }, { createdAt, expiresAt }), { onlyIfAbsent: false, keepUntil: expiresAt })
    },
    close: () => detach(),
  }
}
