export { TieredCacheManager } from './manager/manager.js'
export { TenantCache } from './manager/tenant-cache.js'
export type {
  ClearVerbOptions,
  CloseOptions,
  Confirmable,
  DeleteOptions,
  ForTenant,
  GetOptions,
  GetOrComputeOptions,
  KeyOptions,
  ListedEntry,
  ListVerbOptions,
  Lookup,
  LookupOptions,
  SetOptions,
  TieredCacheManagerOptions,
  Unfinished,
} from './manager/options.js'
export type { LogFields, Logger } from './manager/log.js'
export type { ByteSource } from './manager/streams/bytes-from.js'
export type { Produce } from './manager/streams/compute-stream.js'
export type { CacheEventName, CacheEvents, KeyEvent } from './manager/events.js'
export type { CacheStats, PolicyStats, TenantStats, TierStats } from './manager/stats.js'
export type { PolicyOptions, TierUse, WriteMode } from './policies/policy.js'
export type { TierOptions } from './tiers/tier.js'
export type { WriteBackOptions, WriteBackStats } from './manager/write-back/write-back.js'
export type { Compute, ComputeContext } from './compute/compute-context.js'
export type { TelemetryOptions } from './telemetry/telemetry.js'

export { asCacheError, CacheError, isCacheError, messageOf, type CacheErrorCode, type CacheErrorOptions } from './errors/cache-error.js'
export { checkKnown } from './errors/known-options.js'
export { plainCause, scrubbed } from './errors/plain-cause.js'
export { durationMs, positiveDurationMs, ttlMs, type Duration, type Ttl } from './time/duration.js'
export { systemClock, type CancelTimer, type Clock, type EpochMs } from './clock/clock.js'

export type {
  Awaitable,
  BackendCapabilities,
  BackendHost,
  BackendStats,
  CacheBackend,
  ClearOptions,
  Detach,
  EvictionReason,
  Isolation,
  Layer,
  ListOptions,
  OperationOptions,
  PutOptions,
  ReadOptions,
  StoredEntryInfo,
} from './contract/backend.js'
export { isPromise } from './contract/awaitable.js'
export { getEach } from './contract/get-each.js'
export { Hosts } from './contract/hosts.js'
export { Paged } from './contract/paged.js'
export { CacheEntry, NO_VALUE, type EncodedPayload, type EntryDetails, type EntryFields, type Metadata } from './contract/entry.js'
export { isStreamed, StreamedEntry, withChunks, type PayloadStream } from './contract/stream.js'
export { isJournalKeeper, type JournalKeeper, type JournalOptions, type JournalSlot, type JournalStepOptions, type JournalWant, type PendingWrite, type Superseding, type WriteBackJournal } from './contract/journal.js'
export { ScopeSlot, TenantScope } from './contract/scope.js'
export { isRecordKeeper, type InvalidationRecord, type RecordKeeper, type RecordLog } from './contract/records.js'

export { MAX_KEY_BYTES, MAX_TENANT_BYTES, validateKey, validatePrefix, validateTenant, type TenantId, type ValidKey } from './keys/key.js'
export { decodeEscaped, encodeCaseExact, encodeCaseFolded, fitOrHash, isHashedName } from './keys/encode.js'

export type { Codec } from './codec/codec.js'
export { DEFAULT_MAX_BUFFERED_BYTES, type CompressionName, type CompressionOption } from './codec/compression.js'
export { CodecTable, type CodecName } from './codec/standard.js'
export { isOfTheLanguage, ownMemoryOf } from './codec/own-memory.js'
export { estimateBytes } from './codec/value-size.js'

export {
  decodeFrameHeader,
  encodeFrameHeader,
  encodeHeaderOf,
  entryOfFrame,
  FRAME_MAGIC,
  FRAME_PREAMBLE_BYTES,
  payloadProblem,
  type FrameHeader,
  type FrameOwner,
  type FrameReading,
  type PayloadDescription,
} from './frame/frame.js'
export { ownMemory, readFrame, readFrameHead, type FrameContent } from './frame/read-frame.js'

export { checkedChunks, type ExpectedPayload } from './frame/checked-chunks.js'
export { sourceChunks } from './frame/source-chunks.js'
export { crc32 } from './frame/crc32.js'
export { ObjectNames } from './objects/names.js'
export {
  contentEncodingOf,
  contentTypeOf,
  decodeObjectMetadata,
  encodeObjectMetadata,
  keyInMetadata,
  MAX_OBJECT_METADATA_BYTES,
  MAX_USER_METADATA_BYTES,
  type ObjectHeader,
  type ObjectPayload,
  type ObjectReading,
} from './objects/metadata.js'
export { CircuitBreaker, PROBE_TENANT, type CircuitBreakerOptions } from './layers/circuit-breaker.js'
export type { Circuit } from './layers/resilience-parts.js'
export { retry, type RetryOptions } from './layers/retry.js'
export { timeout, type TimeoutOptions } from './layers/timeout.js'
export { WrappedBackend } from './layers/wrapped-backend.js'
