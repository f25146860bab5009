import { readLifecycle } from './lifecycle.js'
import { checkBucketName, checkStorageClass } from './metadata.js'
import { checkPreconditions } from './preconditions.js'
import { GcsError, invalid, type Reply } from './reply.js'
import { type GcsRequest, parseJson } from './request.js'
import { bucketResource, type Store, type StoredBucket } from './store.js'

/** The methods of buckets (cloud.google.com/storage/docs/json_api/v1/buckets). */
export function serveBuckets(store: Store, { operation, bucket: name, query }: GcsRequest, body: Buffer): Reply | undefined {
  switch (operation) {
    case 'buckets.list':
      return { status: 200, body: { kind: 'storage#buckets', items: [...store.buckets.values()].map(bucketResource) } }
    case 'buckets.insert':
      return { status: 200, body: bucketResource(insertBucket(store, query, parseJson(body))) }
    case 'buckets.get': {
      const bucket = store.bucket(name)
      checkPreconditions(query, { ...bucket, generation: 0 }, { isRead: true })
      return { status: 200, body: bucketResource(bucket) }
    }
    case 'buckets.patch':
      return { status: 200, body: bucketResource(patchBucket(store.bucket(name), query, parseJson(body))) }
    case 'buckets.delete': {
      const bucket = store.bucket(name)
      checkPreconditions(query, { ...bucket, generation: 0 })
      if (bucket.objects.size > 0) throw new GcsError(409, 'conflict', 'The bucket you tried to delete is not empty.')
      store.buckets.delete(name)
      return { status: 204 }
    }
    default:
      return undefined
  }
}

function insertBucket(store: Store, query: URLSearchParams, body: Readonly<Record<string, unknown>>): StoredBucket {
  if (!query.has('project')) throw new GcsError(400, 'required', 'Required parameter: project', { locationType: 'parameter', location: 'project' })
  const name = checkBucketName(body.name)
  if (store.buckets.has(name)) throw new GcsError(409, 'conflict', 'Your previous request to create the named bucket succeeded and you already own it.')
  const now = new Date()
  const bucket: StoredBucket = {
    name,
    location: typeof body.location === 'string' ? body.location.toUpperCase() : 'US',
    storageClass: body.storageClass === undefined ? 'STANDARD' : checkStorageClass(body.storageClass),
    timeCreated: now,
    objects: new Map(),
    lifecycle: readLifecycle(body.lifecycle),
    labels: undefined,
    metageneration: 1,
    updated: now,
  }
  store.buckets.set(name, bucket)
  return bucket
}

/** Only the lifecycle and the labels; anything else a test would change is refused. */
function patchBucket(bucket: StoredBucket, query: URLSearchParams, body: Readonly<Record<string, unknown>>): StoredBucket {
  checkPreconditions(query, { ...bucket, generation: 0 })
  for (const field of Object.keys(body)) if (field !== 'lifecycle' && field !== 'labels') throw invalid(`The server of the tests does not change the field ${field} of a bucket.`)
  if ('lifecycle' in body) bucket.lifecycle = readLifecycle(body.lifecycle)
  if ('labels' in body) bucket.labels = (body.labels ?? undefined) as StoredBucket['labels']
  bucket.metageneration += 1
  bucket.updated = new Date()
  return bucket
}
