export { TieredCacheManager } from './manager/manager.js'
export { TenantCache } from './manager/tenant-cache.js'
export type {
  ClearVerbOptions,
  CloseOptions,
  DeleteOptions,
  GetOptions,
  GetOrComputeOptions,
  Lookup,
  LookupOptions,
  SetOptions,
  TieredCacheManagerOptions,
  Unfinished,
} from './manager/options.js'
export type { ListedEntry, ListVerbOptions } from './reading/list.js'
export type { LogFields, Logger } from './state/log.js'
export type { ByteSource } from './streams/bytes-from.js'
export type { Produce } from './computing/get-or-compute-stream.js'
export type { CacheEventName, CacheEvents } from './state/events.js'
export type { CacheHealth } from './manager/health.js'
export type { CacheStats, TierStats } from './manager/stats.js'
export type { FreshnessOptions } from './policies/freshness.js'
export type { PolicyOptions, TierUse, WriteMode } from './policies/policy.js'
export type { TierOptions } from './tiers/tier.js'
export type { WriteBackOptions } from './write-back/write-back.js'
export type { ComputeMany } from './computing/compute-batch.js'
export type { Compute, ComputeContext } from './flights/compute-context.js'
export type { TelemetryOptions } from './telemetry/telemetry.js'
export type { Codec } from './codec/codec.js'
export { CircuitBreaker, type CircuitBreakerOptions } from './layers/circuit-breaker.js'
export { retry, type RetryOptions } from './layers/retry.js'
export { timeout, type TimeoutOptions } from './layers/timeout.js'

// What an application needs of the contract; adapters import @thermocline/backend
export { CacheError, isCacheError, type CacheBackend, type CacheErrorCode, type Clock, type Duration, type Layer, type Ttl } from '@thermocline/backend'
