import {
  isPromise,
  NO_VALUE,
  type Awaitable,
  type CacheEntry,
  type ListOptions,
  type ReadOptions,
  type StoredEntryInfo,
  type ValidKey,
} from '@thermocline/backend'
import { isCompressed } from '../codec/compression.js'
import type { Tier } from '../tiers/tier.js'
import type { Engine } from './engine.js'
import type { TenantState } from './tenant-state.js'

/*
 * Who answers for a tier, about one key: the one place that decides it, for every verb that reads.
 *
 * First the copy of what the tier is still to have: what the tier itself holds is older. Then, while the tier is away, its fallback. Then the tier
 * itself, unless it cannot be read, or an operation on the key may still land there, or it owes the removal of the key. Otherwise nobody.
 */

/** Nobody answers for the tier about the key now. */
export const NOBODY = Symbol('nobody')

/** @param asStream whether the payload is wanted as a stream where whoever answers has streams */
export function askTier(engine: Engine, state: TenantState, key: ValidKey, tier: Tier, options: ReadOptions, asStream = false): Awaitable<CacheEntry | undefined> | typeof NOBODY {
  const pending = engine.writeBack.isIdle ? undefined : engine.writeBack.pending(tier, state, key)
  if (pending !== undefined) return pending(asStream ? 'stream' : options.want)
  const held = tier.fallback?.get(state.scope, key, options)
  if (held !== undefined) return held
  if (!tier.readable || !tier.queues.mayAsk(state.scope, key)) return NOBODY
  return tier.backend.get(state.scope, key, asStream && tier.capabilities.streams ? { ...options, want: 'stream' } : options)
}

/** What is answered at once, with its value: by a synchronous tier, without its layers, or by a fallback. */
export function peekTier(engine: Engine, state: TenantState, key: ValidKey, tier: Tier, options: ReadOptions): CacheEntry | undefined {
  const held = answersFor(engine, state, key, tier) ? tier.fallback?.get(state.scope, key, options) : undefined
  if (held !== undefined) return withValue(engine, held)
  if (tier.direct === undefined || !answersItself(engine, state, key, tier)) return undefined
  const answer = tier.direct.get(state.scope, key, options)
  return isPromise(answer) ? undefined : answer
}

/** What has to be decompressed first cannot be had at once. */
function withValue(engine: Engine, entry: CacheEntry): CacheEntry | undefined {
  if (entry.value !== NO_VALUE) return entry
  if (entry.encoded === undefined || isCompressed(entry.encoded.codec)) return undefined
  entry.value = engine.codecs.decode(entry.encoded)
  return entry
}

/** Those of the keys about which nobody but the tier itself answers. */
export function answeredByTier<K extends { readonly key: ValidKey }>(engine: Engine, state: TenantState, keys: readonly K[], tier: Tier): readonly K[] {
  if (!tier.readable || tier.fallback?.isActive === true) return []
  if (engine.writeBack.isIdle && !tier.queues.anySuspect) return keys
  return keys.filter(({ key }) => answersItself(engine, state, key, tier))
}

function answersItself(engine: Engine, state: TenantState, key: ValidKey, tier: Tier): boolean {
  return answersFor(engine, state, key, tier) && tier.readable && tier.queues.mayAsk(state.scope, key)
}

/** Whether no copy answers instead of the tier and its fallback. */
function answersFor({ writeBack }: Engine, state: TenantState, key: ValidKey, tier: Tier): boolean {
  return writeBack.isIdle || writeBack.pending(tier, state, key) === undefined
}

/** Everybody who answers for a tier about some key with the prefix, in the order in which they are asked; each lists what it would answer with. */
export function* listingsOf(engine: Engine, state: TenantState, tier: Tier, prefix: string, options: ListOptions): Generator<Listing, void, undefined> {
  const { writeBack } = engine
  if (!writeBack.isIdle) yield { entries: inOnePage(writeBack.pendingUnder(tier, state, prefix)), holds: (key) => writeBack.hasPending(tier, state, key) }
  const { fallback } = tier
  if (fallback?.isActive === true) yield { entries: fallback.list(state.scope, prefix, options), holds: (key) => answersFor(engine, state, key, tier) }
  if (tier.readable) yield { entries: tier.backend.list(state.scope, prefix, options), holds: (key) => answersItself(engine, state, key, tier) }
}

/** What one of them lists. */
export interface Listing {
  readonly entries: AsyncIterable<StoredEntryInfo>
  /** Whether it still answers about the key: to be asked when the entry is handed out. */
  readonly holds: (key: ValidKey) => boolean
}

async function* inOnePage(entries: readonly StoredEntryInfo[]): AsyncGenerator<StoredEntryInfo, void, undefined> {
  yield* entries
}
