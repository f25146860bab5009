import type { Duration, Ttl } from '@thermocline/backend'
import type { Codec, PolicyOptions, TieredCacheManagerOptions, TierOptions, WriteBackOptions } from '@thermocline/core'
import type { JsonSchema } from './schema/json-schema.js'

/** A configuration as a file has it, in snake_case, as an object: with the key `caching` around it or without. */
export interface ConfigurationInput {
  readonly $schema?: string | undefined
  /** `development`, `test` or `production`: settings to begin with; own keys override them. */
  readonly preset?: string | undefined
  /** `false`: nothing is read or stored, every getOrCompute computes. Default true. */
  readonly enabled?: boolean | string | undefined
  /** Time to live where neither call, policy nor tier gives one. Default `'1h'`. */
  readonly default_ttl?: Ttl | undefined
  /** Fastest first. */
  readonly tiers?: Readonly<Record<string, TierInput>> | undefined
  readonly policies?: Readonly<Record<string, Readonly<Record<string, unknown>>>> | undefined
  /** Whether processes that share a tier agree, and tell each other what they invalidate. Default `off`. */
  readonly coordination?: 'auto' | 'off' | boolean | { readonly tier?: string | undefined; readonly max_staleness?: Duration | undefined } | undefined
  /** How many keys are refreshed in the background at once. Default 32. */
  readonly refresh_concurrency?: number | string | undefined
  /** Where and how much of what policies write back is kept until the slow tiers have it. */
  readonly write_back?: WriteBackInput | undefined
  readonly telemetry?: { readonly tenant_attribute?: boolean | string | undefined; readonly spans?: string | undefined } | undefined
}

/** `write_back` as a file has it. */
export interface WriteBackInput {
  readonly directory?: string | undefined
  readonly max_size?: number | string | undefined
  readonly max_entries?: number | string | undefined
  readonly concurrency?: number | string | undefined
}

/** A tier as a file has it. */
export interface TierInput {
  /** May be left out only where a preset has a tier of that name. */
  readonly backend?: string | undefined
  readonly config?: Readonly<Record<string, unknown>> | null | undefined
  readonly max_ttl?: Ttl | undefined
  readonly default_ttl?: Ttl | undefined
  readonly budget?: Duration | undefined
  readonly max_payload_bytes?: number | string | undefined
  readonly attempts?: number | string | undefined
  readonly max_records?: number | string | undefined
  /** Memory that stands in while the backend cannot be reached; for any backend but memory. */
  readonly fallback?: { readonly max_entries: number | string } | undefined
}

/** A configuration that is guaranteed to be valid, with its variables and preset put in. */
export interface CacheConfiguration {
  readonly enabled: boolean
  readonly defaultTtl?: Ttl | undefined
  /** Fastest first. */
  readonly tiers: Readonly<Record<string, TierConfiguration>>
  readonly policies: Readonly<Record<string, PolicyOptions>>
  readonly coordination?: TieredCacheManagerOptions['coordination']
  readonly refreshConcurrency?: number | undefined
  readonly writeBack?: WriteBackOptions | undefined
  readonly telemetry: { readonly tenantAttribute?: boolean | undefined; readonly spans?: 'parented' | 'all' | undefined }
}

/** A tier of a valid configuration: the manager's options for it, and what its backend is to be made from. */
export interface TierConfiguration extends Omit<TierOptions, 'backend' | 'layers' | 'fallback'> {
  /** As the file names it. */
  readonly backend: string
  /** The adapter's own settings, in the words of the file. May hold credentials. */
  readonly config: Readonly<Record<string, unknown>>
  /** Memory that stands in while the backend cannot be reached. */
  readonly fallback?: { readonly maxEntries: number } | undefined
}

/** What both {@link parseConfig} and {@link loadCache} take. */
export interface ReadingOptions {
  /** Where `${NAME}` is looked up. Default `process.env`. */
  readonly env?: Readonly<Record<string, string | undefined>> | undefined
  /** Codecs of your own that policies may name. */
  readonly codecs?: readonly Codec[] | undefined
}

/** The schemas of adapters that are known only once their packages are loaded, by the name in the file. */
export type AdapterSchemas = ReadonlyMap<string, JsonSchema>
