import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import { GcsError, invalid, notModelled } from './reply.js'

/** What a request asks for, in the words of the JSON API's reference (an upload's parts have none there). `objects.download` is the XML API's "Get Object". */
export type Operation =
  | 'buckets.list' | 'buckets.insert' | 'buckets.get' | 'buckets.patch' | 'buckets.delete'
  | 'objects.list' | 'objects.download' | 'objects.insert' | 'objects.get' | 'objects.media' | 'objects.patch' | 'objects.delete' | 'objects.rewrite' | 'objects.copy'
  | 'uploads.start' | 'uploads.put' | 'uploads.cancel'

export interface GcsRequest {
  readonly operation: Operation
  readonly bucket: string
  readonly object: string
  /** Of `objects.rewrite` and `objects.copy`. */
  readonly destination: { readonly bucket: string; readonly object: string }
  readonly query: URLSearchParams
  readonly headers: IncomingHttpHeaders
}

const READS: readonly Operation[] = ['buckets.list', 'buckets.get', 'objects.list', 'objects.get', 'objects.media', 'objects.download']

export function isRead({ operation }: GcsRequest): boolean {
  return READS.includes(operation)
}

/**
 * Reads the path. Names come with their slashes encoded, so a path is split before it is decoded. The prefix is what the
 * official client sends: `/storage/v1`, `/upload/storage/v1`, or nothing when it takes the server for an emulator.
 */
export function parseRequest({ method = 'GET', url = '/', headers }: IncomingMessage): GcsRequest {
  const [rawPath = '', search = ''] = url.split('?', 2)
  const query = new URLSearchParams(search)
  const found = /^(\/upload)?(?:\/download)?(?:\/storage\/v1)?\/b(?=\/|$)(.*)$/.exec(rawPath)
  if (found === null) return parseXmlRequest(method, rawPath, query, headers)
  const [, upload, path = ''] = found
  const [bucket = '', o, object = '', verb, ...target] = path.split('/').slice(1).map(decode)
  const destination = { bucket: target[1] ?? '', object: target[3] ?? '' }
  const is = (pattern: string): boolean => pattern === [method, ...(bucket === '' ? [] : ['B']), ...(o === undefined ? [] : [o]), ...(object === '' ? [] : ['O']), ...(verb === undefined ? [] : [verb])].join(' ')
  const operation = upload === undefined ? plainOperation(is, query) : uploadOperation(is, query)
  if (operation === undefined) throw notModelled(`${method} ${rawPath}`)
  return { operation, bucket, object, destination, query, headers }
}

const OTHER_PATHS: readonly string[] = ['b', 'batch', 'storage', 'upload', 'download']

/** Of the XML API only "Get Object" is modelled: what follows the bucket's name is the object's, slashes and all (cloud.google.com/storage/docs/xml-api/get-object-download). */
function parseXmlRequest(method: string, rawPath: string, query: URLSearchParams, headers: IncomingHttpHeaders): GcsRequest {
  const [, bucket = '', object = ''] = /^\/([^/]+)\/(.+)$/.exec(rawPath) ?? []
  if (method !== 'GET' || object === '' || OTHER_PATHS.includes(bucket)) throw notModelled(`${method} ${rawPath}`)
  return { operation: 'objects.download', bucket: decode(bucket), object: decode(object), destination: { bucket: '', object: '' }, query, headers }
}

function plainOperation(is: (pattern: string) => boolean, query: URLSearchParams): Operation | undefined {
  if (is('GET')) return 'buckets.list'
  if (is('POST')) return 'buckets.insert'
  if (is('GET B')) return 'buckets.get'
  if (is('PATCH B')) return 'buckets.patch'
  if (is('DELETE B')) return 'buckets.delete'
  if (is('GET B o')) return 'objects.list'
  if (is('GET B o O')) return query.get('alt') === 'media' ? 'objects.media' : 'objects.get'
  if (is('PATCH B o O')) return 'objects.patch'
  if (is('DELETE B o O')) return 'objects.delete'
  if (is('POST B o O rewriteTo')) return 'objects.rewrite'
  if (is('POST B o O copyTo')) return 'objects.copy'
  return undefined
}

function uploadOperation(is: (pattern: string) => boolean, query: URLSearchParams): Operation | undefined {
  if (query.has('upload_id')) return is('PUT B o') ? 'uploads.put' : is('DELETE B o') ? 'uploads.cancel' : undefined
  if (!is('POST B o')) return undefined
  return query.get('uploadType') === 'resumable' ? 'uploads.start' : 'objects.insert'
}

function decode(segment: string): string {
  try {
    return decodeURIComponent(segment)
  } catch {
    throw invalid('the path is not encoded properly')
  }
}

/** A JSON body; an empty one is an empty object. */
export function parseJson(body: Buffer): Record<string, unknown> {
  if (body.length === 0) return {}
  try {
    const value: unknown = JSON.parse(body.toString())
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>
  } catch {
    // the same answer
  }
  throw new GcsError(400, 'parseError', 'Parse Error')
}
