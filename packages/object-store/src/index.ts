// How an entry lies in a bucket
export { ObjectNames } from './names.js'
export { contentEncodingOf, contentTypeOf, decodeObjectMetadata, encodeObjectMetadata, keyInMetadata, MAX_USER_METADATA_BYTES, type ObjectHeader, type ObjectPayload, type ObjectReading } from './metadata.js'
export { isKept, recognize, type FoundObject, type Recognized } from './found-object.js'

// Payloads on their way
export { ObjectStream, type Arriving } from './object-stream.js'
export { sourceChunks } from './source-chunks.js'
export { md5Checksum, type StoreChecksum } from './store-checksum.js'

// What failures and refusals mean
export { AbsentKeys } from './absent-keys.js'
export { givenUp, isOfConnection, isUnanswered, LANDS_WITHIN_MS, type Place } from './failures.js'

// Lifecycle rules, and what adapters' options may be
export { checkLifecycleRules, idOfRule, namesOfRule, type LifecycleRule } from './lifecycle-rules.js'
export { LIFECYCLE, LifecycleComparison, type AppliedLifecycle, type BucketLifecycle } from './lifecycle.js'
export { checkObjectPrefix } from './object-prefix.js'
