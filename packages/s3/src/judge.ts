import type { GetObjectCommandOutput, HeadObjectCommandOutput } from '@aws-sdk/client-s3'
import { decodeObjectMetadata, type ObjectHeader } from '@thermocline/object-store'
import type { TenantScope, ValidKey } from '@thermocline/backend'

/** What the answers to GET and HEAD both say of an object. */
export type Found = Pick<GetObjectCommandOutput & HeadObjectCommandOutput, 'Metadata' | 'ContentLength' | 'ContentType' | 'ContentEncoding' | 'ETag' | 'LastModified' | 'StorageClass' | 'ArchiveStatus' | 'Restore' | 'ServerSideEncryption'>

/** What an object turned out to be; `isOurs` is false for one that was adopted. */
export type Judged =
  | { readonly status: 'ok'; readonly header: ObjectHeader; readonly isOurs: boolean }
  | { readonly status: 'foreign' | 'corrupt'; readonly reason: string }

/** Compressions that core's codecs undo. */
const COMPRESSIONS: ReadonlySet<string> = new Set(['gzip', 'br', 'zstd'])
const ARCHIVES: ReadonlySet<string> = new Set(['GLACIER', 'DEEP_ARCHIVE'])

/**
 * @param key whose entry it ought to be; `undefined`: any key of the tenant
 * @param adopt whether an object that is not ours is an entry of raw bytes
 */
export function judge(found: Found, scope: TenantScope, key: ValidKey | undefined, adopt: boolean): Judged {
  const reading = decodeObjectMetadata(found.Metadata, scope, key)
  if (reading.status === 'plain') return adopt ? adopted(found) : { status: 'foreign', reason: 'it has no metadata of ours' }
  if (reading.status !== 'ok') return reading
  const { byteLength } = reading.header.payload
  if (byteLength !== undefined && found.ContentLength !== undefined && found.ContentLength !== byteLength) {
    return { status: 'corrupt', reason: `it has ${found.ContentLength} payload bytes instead of ${byteLength}` }
  }
  return { status: 'ok', header: reading.header, isOurs: true }
}

/** Whether an object has to be restored before it can be read, by what a HEAD says. Stores that only name their classes so can read them. */
export function isArchived({ StorageClass, ArchiveStatus, Restore }: Found): boolean {
  if (ArchiveStatus !== undefined) return true
  return StorageClass !== undefined && ARCHIVES.has(StorageClass) && Restore?.includes('ongoing-request="false"') !== true
}

function adopted({ LastModified, ContentLength, ContentEncoding, ContentType }: Found): Judged {
  const encoding = ContentEncoding === undefined || ContentEncoding === '' || ContentEncoding === 'identity' ? undefined : ContentEncoding.toLowerCase()
  if (encoding !== undefined && !COMPRESSIONS.has(encoding)) return { status: 'foreign', reason: `nothing here undoes its Content-Encoding ${JSON.stringify(encoding)}` }
  const codec = encoding === undefined ? 'buffer' : `buffer+${encoding}`
  const createdAt = LastModified?.getTime() ?? 0
  const details = ContentType === undefined ? undefined : { contentType: ContentType }
  const payload = { codec, byteLength: ContentLength, crc32: undefined }
  return { status: 'ok', header: { createdAt, expiresAt: Number.POSITIVE_INFINITY, keepUntil: Number.POSITIVE_INFINITY, details, payload }, isOurs: false }
}
