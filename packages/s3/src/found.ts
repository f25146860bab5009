import type { GetObjectCommandOutput, HeadObjectCommandOutput } from '@aws-sdk/client-s3'
import type { FoundObject } from '@thermocline/object-store'

/** What the answers to GET and HEAD both say of an object. */
export type Found = Pick<GetObjectCommandOutput & HeadObjectCommandOutput, 'Metadata' | 'ContentLength' | 'ContentType' | 'ContentEncoding' | 'ETag' | 'LastModified' | 'StorageClass' | 'ArchiveStatus' | 'Restore' | 'ServerSideEncryption'>

const ARCHIVES: ReadonlySet<string> = new Set(['GLACIER', 'DEEP_ARCHIVE'])

export function objectOf({ Metadata, ContentLength, ContentType, ContentEncoding, LastModified }: Found): FoundObject {
  return { metadata: Metadata, byteLength: ContentLength, contentType: ContentType, contentEncoding: ContentEncoding, updatedAt: LastModified?.getTime() ?? 0 }
}

/** Whether an object has to be restored before it can be read, by what a HEAD says. Stores that only name their classes so can read them. */
export function isArchived({ StorageClass, ArchiveStatus, Restore }: Found): boolean {
  if (ArchiveStatus !== undefined) return true
  return StorageClass !== undefined && ARCHIVES.has(StorageClass) && Restore?.includes('ongoing-request="false"') !== true
}
