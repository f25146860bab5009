// The contract: what a backend is, and what it is asked with
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
export { CacheEntry, freshUntilOf, NO_VALUE, type EncodedPayload, type EntryDetails, type EntryFields, type Metadata } from './contract/entry.js'
export { isStreamed, readOnce, StreamedEntry, withChunks, type PayloadStream } from './contract/stream.js'
export { ScopeSlot, TenantScope } from './contract/scope.js'
export { Invalidation } from './contract/invalidation.js'

// What only a disk keeps besides: the journal of writes that a slower tier does not have yet, and records of what tiers owe
export { isJournalKeeper, type JournalKeeper, type JournalOptions, type JournalSlot, type JournalStepOptions, type JournalWant, type PendingWrite, type Superseding, type WriteBackJournal } from './contract/journal.js'
export { isRecordKeeper, type InvalidationRecord, type RecordKeeper, type RecordLog } from './contract/records.js'

// What processes agree over
export { isCoordinator, LINE_LIFE_MS, type Coordination, type Coordinator, type Line, type LoggedMessage } from './contract/coordination.js'
export type { Lease, LogMessage } from './contract/lease.js'

// Parts that adapters are made of
export { getEach } from './contract/get-each.js'
export { Hosts } from './contract/hosts.js'
export { isPromise } from './contract/awaitable.js'
export { Paged, pagesOf } from './contract/paged.js'
export { WrappedBackend } from './contract/wrapped-backend.js'
export { isCodecName, isCount, isInstant, isKey, isMetadata, isTags, storedInstant } from './contract/stored-fields.js'

// Errors and options
export { asCacheError, CacheError, isCacheError, messageOf, type CacheErrorCode, type CacheErrorOptions } from './errors/cache-error.js'
export { isObject, kindOf, kindOfOption, kindOnly } from './errors/describe.js'
export { checkKnown } from './errors/known-options.js'
export { checkNothing, KnownNames } from './errors/known-names.js'
export { quietly } from './errors/quietly.js'

// Time
export { completeClock, systemClock, type CancelTimer, type Clock, type EpochMs } from './clock/clock.js'
export { oncePerTurn } from './clock/once-per-turn.js'
export { durationMs, instantAfter, positiveDurationMs, ttlMs, type Duration, type Ttl } from './time/duration.js'

// Keys and tenants, and names that stand for them in a store
export { MAX_KEY_BYTES, MAX_TENANT_BYTES, PROBE_TENANT, validateKey, validatePrefix, validateTenant, type TenantId, type ValidKey } from './keys/key.js'
export { decodeEscaped, encodeCaseExact, encodeCaseFolded, fitOrHash, isHashedName } from './keys/encode.js'
export { sha256 } from './keys/sha256.js'

// The frame: how an entry lies in a file and in Redis
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
export { crc32 } from './frame/crc32.js'

// Live values in memory
export { isOfTheLanguage, ownMemoryOf } from './values/own-memory.js'
export { estimateBytes } from './values/value-size.js'
