import type { Clock, Duration, Metadata, Ttl } from '@thermocline/backend'
import type { CodecName } from '../codec/standard.js'
import type { Codec } from '../codec/codec.js'
import type { FreshnessOptions } from '../policies/freshness.js'
import type { PolicyOptions, TierUse } from '../policies/policy.js'
import type { TelemetryOptions } from '../telemetry/telemetry.js'
import type { TierOptions } from '../tiers/tier.js'
import type { Logger } from '../state/log.js'
import type { WriteBackOptions } from '../write-back/write-back.js'

export interface TieredCacheManagerOptions {
  /** Fastest first: the order of the keys is the order of the tiers. */
  readonly tiers: Readonly<Record<string, TierOptions>>
  /** By name; see {@link PolicyOptions}. A policy `default` exists in any case and uses every tier. */
  readonly policies?: Readonly<Record<string, PolicyOptions>> | undefined
  /** Time to live where neither call, policy nor tier gives one. Default `'1h'`. */
  readonly defaultTtl?: Ttl | undefined
  /** Codecs that readers should know besides the built-in ones and those that policies name. */
  readonly codecs?: readonly Codec[] | undefined
  /** `false`: nothing is read or stored, every getOrCompute computes. Default true. */
  readonly enabled?: boolean | undefined
  /** Where time comes from; at least `{ now() }`. Default: the system's. */
  readonly clock?: (Pick<Clock, 'now'> & Partial<Clock>) | undefined
  /** Told when a tier degrades or recovers, and what a close could not finish. Default: the text to stderr; `false`: silent. */
  readonly logger?: Logger | false | undefined
  readonly telemetry?: TelemetryOptions | undefined
  /** How many keys are refreshed in the background at once; others wait for their turn. Default 32. */
  readonly refreshConcurrency?: number | undefined
  /**
   * Whether processes that share a tier agree about who makes a value, and tell each other what they invalidate. `auto`: over the first
   * Redis tier, else the first one on disk. `maxStaleness` (default `'1m'`, at least 500 ms): for so long a process that cannot hear others goes on serving what it keeps itself. Default `'auto'`.
   */
  readonly coordination?: CoordinationOption | undefined
  /** Where and how much of what is written back is kept until the slow tier has it. */
  readonly writeBack?: WriteBackOptions | undefined
}

/** Over which tier processes agree, and how. */
export type CoordinationOption = 'auto' | false | { readonly tier?: string | undefined; readonly maxStaleness?: Duration | undefined }

/** Options of every verb that concerns a key. */
export interface KeyOptions {
  /** The policy's name. Default: the one named like the key's first path segment, else `default`. */
  readonly policy?: string | undefined
  /** Overrides by tier name, for this call. */
  readonly tiers?: Readonly<Record<string, TierUse | undefined>> | undefined
}

export interface GetOptions extends KeyOptions {
  /** Rejects this call, with the signal's own reason, when it fires. */
  readonly signal?: AbortSignal | undefined
}

/** Options of `get`. */
export interface GetValueOptions<D = unknown> extends GetOptions {
  /** What a miss is answered with, instead of `undefined`. A stored `undefined` stays `undefined`. */
  readonly default?: D | undefined
}

/** How long an entry is kept when its ttl is over. */
export type WindowOptions = Pick<FreshnessOptions, 'staleWhileRevalidate' | 'staleIfError'>

export interface SetOptions extends KeyOptions, Confirmable, WindowOptions, Pick<FreshnessOptions, 'jitter'> {
  /** Time to live; see {@link Ttl}. */
  readonly ttl?: Ttl | undefined
  readonly tags?: readonly string[] | undefined
  /** Kept beside the entry and shown by `lookup`. */
  readonly metadata?: Metadata | undefined
  readonly signal?: AbortSignal | undefined
}

/** Options of verbs that make what they do not find. */
export interface RefreshOptions extends Omit<SetOptions, 'confirmed'>, FreshnessOptions {}

export interface GetOrComputeOptions extends RefreshOptions {
  /** Makes a new value, whatever is there. Callers who ask for that meanwhile share it, and so do those who find nothing. Default false. */
  readonly refresh?: boolean | undefined
}

/** Options of `expire`. */
export interface ExpireOptions extends DeleteOptions, WindowOptions {}

/** The tenant that a verb on the manager is for. */
export interface ForTenant {
  readonly tenant: string
}

export interface LookupOptions extends GetOptions, WindowOptions {
  /** `false`: the payload is not read and `value` is absent. Default true. */
  readonly value?: boolean | undefined
}

/** For verbs that change something. */
export interface Confirmable {
  /**
   * Resolves only when it is done in every tier, not only recorded for later, and what is written back has arrived; rejects with `not-confirmed` when
   * that takes longer than half a minute. Default false.
   */
  readonly confirmed?: boolean | undefined
}

export interface CloseOptions {
  /** How long to wait: for `close` `'2s'` by default, for `flush` `'30s'`. */
  readonly deadline?: Duration | undefined
  /** Rejects with `not-confirmed` when anything is left at the deadline. Default false. */
  readonly confirmed?: boolean | undefined
}

/** What could not be finished. */
export interface Unfinished {
  /** Entries that are still to be written back. */
  readonly pending: number
  /** Invalidations that tiers still owe (until they are paid, other processes may read there what was set, deleted or cleared), and copies that could not be removed from the journal. */
  readonly owed: number
}

export interface DeleteOptions extends GetOptions, Confirmable {}

export type ClearVerbOptions = Confirmable

/** What `lookup` tells about a key. */
export type Lookup<T> =
  | { readonly status: 'miss' }
  | {
      readonly status: 'fresh' | 'stale'
      /** Absent when it was not asked for (`{ value: false }`). */
      readonly value: T
      readonly tier: string
      /** Epoch milliseconds. */
      readonly createdAt: number
      /** When its ttl is over, in epoch milliseconds; `null`: never. */
      readonly expiresAt: number | null
      /** Until when it may be served as stale, in epoch milliseconds. Absent: not at all. */
      readonly staleUntil?: number | undefined
      readonly metadata?: Metadata | undefined
      readonly tags?: readonly string[] | undefined
    }

export type { Codec, CodecName }
