import { gunzipSync } from 'node:zlib'
import { GcsError, type Reply } from './reply.js'
import { etagOf, type StoredObject } from './store.js'

/**
 * The bytes of an object. The headers are those that the service was seen to send at `alt=media`; custom metadata among them is documented
 * of the XML API only, so it is left out unless `hasCustomMetadata`.
 */
export function mediaReply(object: StoredObject, headers: { readonly range?: string | undefined; readonly acceptEncoding: string }, hasCustomMetadata: boolean): Reply {
  const { data, fields } = object
  const isGzip = fields.contentEncoding === 'gzip'
  const common: Record<string, string> = {
    'content-type': fields.contentType ?? 'application/octet-stream',
    'cache-control': fields.cacheControl ?? 'no-cache, no-store, max-age=0, must-revalidate',
    'last-modified': object.timeCreated.toUTCString(),
    'x-goog-generation': String(object.generation),
    'x-goog-metageneration': String(object.metageneration),
    'x-goog-storage-class': fields.storageClass,
    'x-goog-stored-content-encoding': fields.contentEncoding ?? 'identity',
    'x-goog-stored-content-length': String(data.length),
    'x-goog-hash': `crc32c=${object.crc32c},md5=${object.md5Hash}`,
    etag: etagOf(object),
    ...(fields.contentDisposition === undefined ? {} : { 'content-disposition': fields.contentDisposition }),
    ...(fields.contentLanguage === undefined ? {} : { 'content-language': fields.contentLanguage }),
  }
  if (hasCustomMetadata) for (const [key, value] of Object.entries(fields.metadata ?? {})) common[`x-goog-meta-${key}`] = value

  // "Decompressive transcoding" (cloud.google.com/storage/docs/transcoding): unless the request accepts gzip, or Cache-Control has
  // no-transform. The response then has neither Content-Encoding nor Content-Length, and a Range is ignored.
  const mayTransform = !/\bno-transform\b/.test(fields.cacheControl ?? '')
  if (isGzip && mayTransform && !/\bgzip\b/.test(headers.acceptEncoding)) {
    const plain = gunzipOrNot(data)
    if (plain !== undefined) return { status: 200, headers: { ...common, warning: '214 UploadServer gunzipped' }, body: plain, isLengthUnknown: true }
  }
  if (fields.contentEncoding !== undefined) common['content-encoding'] = fields.contentEncoding
  const range = parseRange(headers.range, data.length)
  if (range === undefined) return { status: 200, headers: common, body: data }
  if (range === 'unsatisfiable') {
    throw new GcsError(416, 'requestedRangeNotSatisfiable', 'Request range not satisfiable', { locationType: 'header', location: 'Range', headers: { 'content-range': `bytes */${data.length}` } })
  }
  const [from, to] = range
  return { status: 206, headers: { ...common, 'content-range': `bytes ${from}-${to}/${data.length}` }, body: data.subarray(from, to + 1) }
}

/** One range of RFC 9110, section 14.1.2. What is no such range is ignored, as that section has it. */
function parseRange(header: string | undefined, length: number): readonly [from: number, to: number] | 'unsatisfiable' | undefined {
  const [, first = '', last = ''] = /^bytes=(\d*)-(\d*)$/.exec(header ?? '') ?? []
  if (first === '' && last === '') return undefined
  if (first === '') return Number(last) === 0 || length === 0 ? 'unsatisfiable' : [Math.max(0, length - Number(last)), length - 1]
  const [from, to] = [Number(first), last === '' ? length - 1 : Math.min(Number(last), length - 1)]
  if (last !== '' && Number(last) < from) return undefined
  return from >= length ? 'unsatisfiable' : [from, to]
}

/** Only what is gzip can be transcoded; other bytes under that name are served as they are. */
function gunzipOrNot(data: Buffer): Buffer | undefined {
  try {
    return gunzipSync(data)
  } catch {
    return undefined
  }
}
