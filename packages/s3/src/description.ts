import type { CreateMultipartUploadCommandInput, PutObjectCommandInput } from '@aws-sdk/client-s3'
import type { CacheEntry, EpochMs, TenantScope, ValidKey } from '@thermocline/backend'
import { contentEncodingOf, contentTypeOf, encodeObjectMetadata, type ObjectPayload } from '@thermocline/object-store'
import type { CheckedOptions } from './options.js'

/** All that is said of an object when it is stored, in one piece or in parts, but not the payload nor a condition. */
export type Description = Pick<PutObjectCommandInput & CreateMultipartUploadCommandInput, 'Bucket' | 'Key' | 'Metadata' | 'ContentType' | 'ContentEncoding' | 'StorageClass' | 'ServerSideEncryption' | 'SSEKMSKeyId'>

/** Whether an object may be stored only where nothing is, or only over the one that was looked at. */
export type Condition = { readonly IfNoneMatch: '*' } | { readonly IfMatch: string | undefined } | undefined

/** @throws CacheError `not-encodable` when the metadata is more than a store takes */
export function describe(options: CheckedOptions, name: string, scope: TenantScope, key: ValidKey, entry: CacheEntry, keepUntil: EpochMs, payload: ObjectPayload): Description {
  return {
    Bucket: options.bucket,
    Key: name,
    Metadata: encodeObjectMetadata(scope, key, entry, keepUntil, payload),
    ContentType: contentTypeOf(key, payload.codec, entry.details),
    ContentEncoding: contentEncodingOf(payload.codec),
    StorageClass: options.storageClass,
    ServerSideEncryption: options.serverSideEncryption,
    SSEKMSKeyId: options.sseKmsKeyId,
  }
}
