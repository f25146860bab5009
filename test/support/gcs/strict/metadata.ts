import { invalid } from './reply.js'

/** What a client may say of an object when it writes it; all but the storage class it may also patch. */
export interface ObjectFields {
  readonly contentType?: string
  readonly contentEncoding?: string
  readonly contentDisposition?: string
  readonly contentLanguage?: string
  readonly cacheControl?: string
  readonly customTime?: string
  readonly metadata?: Readonly<Record<string, string>>
  readonly storageClass?: string
}

const TEXT_FIELDS = ['contentType', 'contentEncoding', 'contentDisposition', 'contentLanguage', 'cacheControl', 'customTime', 'storageClass'] as const
const STORAGE_CLASSES = ['STANDARD', 'NEARLINE', 'COLDLINE', 'ARCHIVE', 'MULTI_REGIONAL', 'REGIONAL', 'DURABLE_REDUCED_AVAILABILITY']
/** Of all keys and values of an object together (cloud.google.com/storage/quotas#objects). */
const CUSTOM_METADATA_BYTES = 8_192
/** In UTF-8 (the same page). */
const NAME_BYTES = 1_024

/** "Object naming requirements" of cloud.google.com/storage/docs/objects. */
export function checkObjectName(name: string): void {
  if (name === '') throw invalid('Required parameter: name')
  const length = Buffer.byteLength(name)
  if (length > NAME_BYTES) throw invalid(`The maximum object length is ${NAME_BYTES} characters, but got a name with ${length} characters: '${name.slice(0, 32)}...'`)
  if (/[\r\n]/.test(name) || name === '.' || name === '..' || name.startsWith('.well-known/acme-challenge/')) throw invalid(`Disallowed object name: ${JSON.stringify(name)}`)
}

/** "Bucket names" (cloud.google.com/storage/docs/buckets#naming), without the rules for names that are domains. */
export function checkBucketName(name: unknown): string {
  if (typeof name === 'string' && /^[a-z0-9][a-z0-9_-]{1,61}[a-z0-9]$/.test(name) && !/^goog|google/.test(name)) return name
  throw invalid(`Invalid bucket name: '${String(name)}'`)
}

export function checkStorageClass(storageClass: unknown): string {
  if (typeof storageClass === 'string' && STORAGE_CLASSES.includes(storageClass)) return storageClass
  throw invalid('Invalid argument.')
}

/** The fields that a JSON body sets; `null` and absent are the same. Fields of no interest (acl, kind) are left out. */
export function readFields(body: Readonly<Record<string, unknown>>): ObjectFields {
  return patchFields({}, body)
}

/**
 * The fields with a patch applied: `null` removes a field, also one key of `metadata`
 * (cloud.google.com/storage/docs/json_api/v1/how-tos/performance#patch).
 */
export function patchFields(old: ObjectFields, body: Readonly<Record<string, unknown>>): ObjectFields {
  const texts = TEXT_FIELDS.flatMap((field): [string, string][] => {
    const value = body[field] === undefined ? old[field] : (body[field] ?? undefined)
    if (value === undefined) return []
    if (typeof value !== 'string') throw invalid(`Invalid value for field: ${field}`)
    return [[field, value]]
  })
  const metadata = patchCustomMetadata(old.metadata, body.metadata)
  const fields: ObjectFields = { ...Object.fromEntries(texts), ...(metadata === undefined ? {} : { metadata }) }
  if (fields.storageClass !== undefined) checkStorageClass(fields.storageClass)
  checkCustomTime(old.customTime, fields.customTime)
  return fields
}

function patchCustomMetadata(old: ObjectFields['metadata'], patch: unknown): ObjectFields['metadata'] {
  if (patch === undefined) return old
  if (patch === null) return undefined
  if (typeof patch !== 'object') throw invalid('Invalid value for field: metadata')
  const metadata = new Map(Object.entries(old ?? {}))
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) metadata.delete(key)
    else if (typeof value === 'string' && key !== '') metadata.set(key, value)
    else throw invalid(`Invalid value for field: metadata[${JSON.stringify(key)}]`)
  }
  const bytes = [...metadata].flat().reduce((sum, text) => sum + Buffer.byteLength(text), 0)
  // the limit is documented, the words of the JSON API are not
  if (bytes > CUSTOM_METADATA_BYTES) throw invalid(`The custom metadata of ${bytes} bytes exceeds the maximum of ${CUSTOM_METADATA_BYTES} bytes.`)
  return metadata.size === 0 ? undefined : Object.fromEntries(metadata)
}

/** Once set, it is neither removed nor set to an earlier time (cloud.google.com/storage/docs/metadata#custom-time). */
function checkCustomTime(old: string | undefined, next: string | undefined): void {
  if (next !== undefined && Number.isNaN(Date.parse(next))) throw invalid('Invalid value for field: customTime')
  if (old !== undefined && (next === undefined || Date.parse(next) < Date.parse(old))) throw invalid('Custom time cannot be removed or set to an earlier time.')
}
