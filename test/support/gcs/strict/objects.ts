import { checkHashes, expectedHashes } from './checksums.js'
import { listObjects } from './listing.js'
import { mediaReply } from './media.js'
import { checkObjectName, type ObjectFields, patchFields, readFields } from './metadata.js'
import { parseMultipart } from './multipart.js'
import { checkPreconditions } from './preconditions.js'
import { GcsError, invalid, type Reply } from './reply.js'
import { type GcsRequest, parseJson } from './request.js'
import { etagOf, objectResource, type Store, type StoredObject } from './store.js'

export interface Settings {
  /** Whether `alt=media` comes with x-goog-meta- headers. */
  readonly sendsCustomMetadata: boolean
  /** How long after a write of an object the next one is refused. */
  readonly writeIntervalMs: number | undefined
}

/** The methods of objects, apart from resumable uploads (cloud.google.com/storage/docs/json_api/v1/objects). */
export function serveObjects(store: Store, request: GcsRequest, body: Buffer, settings: Settings): Reply | undefined {
  const { operation, bucket, object: name, query, headers } = request
  switch (operation) {
    case 'objects.list':
      return { status: 200, body: listObjects(store.bucket(bucket), query) }
    case 'objects.get': {
      const object = store.object(bucket, name, query.get('generation'))
      checkPreconditions(query, object, { isRead: true })
      return { status: 200, headers: { etag: etagOf(object) }, body: objectResource(object) }
    }
    case 'objects.media': {
      const object = store.object(bucket, name, query.get('generation'))
      checkPreconditions(query, object, { isRead: true })
      return mediaReply(object, { range: headers.range, acceptEncoding: headers['accept-encoding'] ?? '' }, settings.sendsCustomMetadata)
    }
    case 'objects.download': // of the XML API, where custom metadata comes as headers (cloud.google.com/storage/docs/xml-api/reference-headers#xgoogmeta)
      return mediaReply(store.object(bucket, name, query.get('generation')), { range: headers.range, acceptEncoding: headers['accept-encoding'] ?? '' }, true)
    case 'objects.insert':
      return { status: 200, body: objectResource(insertAtOnce(store, request, body, settings)) }
    case 'objects.patch': {
      const object = store.object(bucket, name, query.get('generation'))
      checkPreconditions(query, object)
      checkWriteRate(object, settings)
      const patch = parseJson(body)
      if (patch.storageClass !== undefined && patch.storageClass !== object.fields.storageClass) throw invalid('The storage class of an object is changed by a rewrite.')
      return { status: 200, body: objectResource(store.update(object, { ...patchFields(object.fields, patch), storageClass: object.fields.storageClass })) }
    }
    case 'objects.delete': {
      const object = store.object(bucket, name, query.get('generation'))
      checkPreconditions(query, object)
      checkWriteRate(object, settings)
      store.bucket(bucket).objects.delete(name)
      return { status: 204 }
    }
    case 'objects.copy':
      return { status: 200, body: objectResource(copy(store, request, body, settings)) }
    case 'objects.rewrite': {
      const resource = copy(store, request, body, settings)
      const size = String(resource.data.length)
      return { status: 200, body: { kind: 'storage#rewriteResponse', totalBytesRewritten: size, objectSize: size, done: true, resource: objectResource(resource) } }
    }
    default:
      return undefined
  }
}

/** Writes an object if nothing stands against it; every kind of upload ends here. */
export function insertObject(store: Store, place: { readonly bucket: string; readonly name: string; readonly query: URLSearchParams }, data: Buffer, fields: ObjectFields, settings: Settings): StoredObject {
  const { bucket, name, query } = place
  const current = store.bucket(bucket).objects.get(name)
  checkPreconditions(query, current)
  if (current !== undefined) checkWriteRate(current, settings)
  return store.insert(bucket, name, data, fields)
}

/** The name of an upload: in the query or in the metadata, and the same if in both. */
export function uploadName(query: URLSearchParams, metadata: Readonly<Record<string, unknown>>): string {
  const inMetadata = typeof metadata.name === 'string' ? metadata.name : undefined
  const name = query.get('name') ?? inMetadata ?? ''
  if (inMetadata !== undefined && inMetadata !== name) throw invalid(`Value '${inMetadata}' in content does not agree with value '${name}'.`)
  checkObjectName(name)
  return name
}

/** The fields of an upload. A contentEncoding in the query goes before the one in the metadata (objects/insert). */
export function uploadFields(query: URLSearchParams, metadata: Readonly<Record<string, unknown>>, contentType: string | undefined): ObjectFields {
  const contentEncoding = query.get('contentEncoding')
  return readFields({ ...(contentType === undefined ? {} : { contentType }), ...metadata, ...(contentEncoding === null ? {} : { contentEncoding }) })
}

function insertAtOnce(store: Store, { bucket, query, headers }: GcsRequest, body: Buffer, settings: Settings): StoredObject {
  const uploadType = query.get('uploadType')
  if (uploadType !== 'multipart' && uploadType !== 'media') throw invalid(`Unknown upload type '${uploadType}'.`)
  store.bucket(bucket)
  const contentType = headers['content-type']
  const parts = uploadType === 'media' ? { metadata: Buffer.alloc(0), contentType, data: body } : parseMultipart(contentType ?? '', body)
  const metadata = parseJson(parts.metadata)
  const name = uploadName(query, metadata)
  const fields = uploadFields(query, metadata, parts.contentType)
  checkHashes(parts.data, expectedHashes(metadata, headers))
  return insertObject(store, { bucket, name, query }, parts.data, fields, settings)
}

/**
 * A body replaces all metadata; without one the source's are kept (objects/rewrite). The client's `setStorageClass` sends the class alone
 * and expects the rest to stay, so that is taken for "without".
 */
function copy(store: Store, { bucket, object, destination, query }: GcsRequest, body: Buffer, settings: Settings): StoredObject {
  const source = store.object(bucket, object, query.get('sourceGeneration'))
  checkPreconditions(query, source, { prefix: 'ifSource' })
  checkObjectName(destination.object)
  store.bucket(destination.bucket)
  const { storageClass, ...rest } = readFields(parseJson(body))
  const { storageClass: _, ...kept } = source.fields
  const fields = { ...(Object.keys(rest).length === 0 ? kept : rest), ...(storageClass === undefined ? {} : { storageClass }) }
  return insertObject(store, { bucket: destination.bucket, name: destination.object, query }, source.data, fields, settings)
}

/** An object may be written once a second (cloud.google.com/storage/quotas#objects); more is refused as .../docs/gcs429 has it. */
function checkWriteRate({ bucket, name, updated }: StoredObject, { writeIntervalMs }: Settings): void {
  if (writeIntervalMs === undefined || Date.now() - updated.getTime() >= writeIntervalMs) return
  const message = `The object ${bucket}/${name} exceeded the rate limit for object mutation operations (create, update, and delete). Please reduce your request rate. See https://cloud.google.com/storage/docs/gcs429.`
  throw new GcsError(429, 'rateLimitExceeded', message, { domain: 'usageLimits' })
}
