import {
  isPromise,
  isStreamed,
  NO_VALUE,
  type Awaitable,
  type CacheEntry,
  type EncodedPayload,
  type EpochMs,
  type ListOptions,
  type ReadOptions,
  type StoredEntryInfo,
  type StreamedEntry,
  type ValidKey,
} from '@thermocline/backend'
import { isPacked } from '../codec/payloads.js'
import type { Slot } from '../policies/policy.js'
import type { Tier } from '../tiers/tier.js'
import { Found } from '../operation/found.js'
import type { OperationHost, Operation, ReadOperation } from '../operation/operation.js'
import type { TenantState } from '../state/tenant-state.js'

/*
 * Who answers for a tier, about one key, and whether the answer may be served: the one place that decides it, for every verb that reads.
 *
 * First the copy of what the tier is still to have: what the tier itself holds is older. Then, while the tier is away, its fallback. Then the tier
 * itself, unless it cannot be read, or an operation on the key may still land there, or it owes the removal of the key. Otherwise nobody.
 */

/**
 * Why a tier has not answered with an entry:
 *
 * - `absent`, `expired`, `stale`: it was asked, and has none, none whose life there goes on, or none that is fresh
 * - `failed`: it was asked and could not answer, which has been reported
 * - `away`: it is not read now, since it failed
 * - `in-doubt`, `owed`: it is not asked for this key, as an operation on it may still land there, or its removal is owed
 */
export type Reason = 'absent' | 'expired' | 'stale' | 'failed' | 'away' | 'in-doubt' | 'owed'

/** No entry, and why. There is one for each reason. */
export class NoEntry {
  static readonly absent = new NoEntry('absent')
  static readonly expired = new NoEntry('expired')
  static readonly stale = new NoEntry('stale')
  static readonly failed = new NoEntry('failed')
  static readonly away = new NoEntry('away')
  static readonly 'in-doubt' = new NoEntry('in-doubt')
  static readonly owed = new NoEntry('owed')

  readonly reason: Reason

  private constructor(reason: Reason) {
    this.reason = reason
  }

  /** Whether the tier was asked at all. */
  get wasAsked(): boolean {
    return this === NoEntry.absent || this === NoEntry.expired || this === NoEntry.stale || this === NoEntry.failed
  }
}

export type Answer = Found | NoEntry

/**
 * Asks the tier at a place of the plan, and goes on with its answer in the step in which it is there. What a tier fails with is reported, and no
 * error of this. Not an async function: one promise for each tier that has to be waited for is enough.
 */
export function askThen<T>(operation: ReadOperation, position: number, goOn: (answer: Answer) => Awaitable<T>): Awaitable<T> {
  const { engine } = operation
  const slot = operation.plan.slots[position] as Slot
  const startedAt = engine.telemetry.bound ? engine.clock.monotonic() : 0
  let entry: ReturnType<typeof whoAnswers>
  try {
    entry = whoAnswers(operation, slot.tier)
  } catch (error) {
    entry = failed(operation, slot, error)
  }
  if (entry instanceof NoEntry) return goOn(entry)
  if (isPromise(entry)) return askedThen(operation, slot, position, goOn, entry, startedAt)
  const answer = adoptedOrFailed(operation, slot, position, entry, startedAt)
  return isPromise(answer) ? answer.then(goOn) : goOn(answer)
}

/** When the tier has to be waited for. */
function askedThen<T>(operation: ReadOperation, slot: Slot, position: number, goOn: (answer: Answer) => Awaitable<T>, entry: Promise<CacheEntry | undefined>, startedAt: number): Promise<T> {
  return entry.then(
    (entry) => {
      const answer = adoptedOrFailed(operation, slot, position, entry, startedAt)
      return isPromise(answer) ? answer.then(goOn) : goOn(answer)
    },
    (error: unknown) => goOn(failed(operation, slot, error)),
  )
}

function whoAnswers(operation: ReadOperation, tier: Tier): Awaitable<CacheEntry | undefined> | NoEntry {
  const { engine, state, key } = operation
  const pending = engine.writeBack.isIdle ? undefined : engine.writeBack.pending(tier, state, key)
  if (pending !== undefined) return pending(operation.want === 'value' ? 'payload' : operation.want)
  const options = operation.optionsFor(tier)
  const held = tier.fallback?.get(state.scope, key, options)
  if (held !== undefined) return held
  if (!tier.readable) return NoEntry.away
  const suspicion = tier.queues.suspicionOf(state.scope, key)
  return suspicion === undefined ? tier.backend.get(state.scope, key, options) : NoEntry[suspicion]
}

/** As {@link adopted}; what cannot be decoded is a failure. */
export function adoptedOrFailed(operation: ReadOperation, slot: Slot, position: number, entry: CacheEntry | undefined, startedAt: number, now?: EpochMs): Awaitable<Answer> {
  try {
    return adopted(operation, slot, position, entry, startedAt, now)
  } catch (error) {
    return failed(operation, slot, error)
  }
}

/** What a tier answered, if it may be served; its value is made if it is wanted. A promise only where its bytes have to be unpacked. */
function adopted(operation: ReadOperation, slot: Slot, position: number, entry: CacheEntry | undefined, startedAt: number, now = operation.engine.clock.now()): Awaitable<Answer> {
  const { clock, telemetry, codecs } = operation.engine
  if (telemetry.bound) telemetry.recordLatency({ ...slot.tier.attributes, operation: 'get' }, clock.monotonic() - startedAt)
  if (entry === undefined) return NoEntry.absent
  if (isStreamed(entry)) return adoptedStream(operation, entry, slot, position, now)
  const refusal = refusalOf(operation, entry, now)
  if (refusal !== undefined) return refusal
  if (operation.want !== 'head' && entry.value === NO_VALUE && entry.encoded !== undefined) {
    if (isPacked(entry.encoded.codec)) return unpacked(operation, new Found(entry, slot, position, now), entry.encoded)
    entry.value = codecs.decode(entry.encoded)
  }
  return new Found(entry, slot, position, now)
}

/** Why an entry is not to be served; `undefined`: it may be. */
function refusalOf(operation: ReadOperation, entry: CacheEntry, now: EpochMs): NoEntry | undefined {
  if (now < entry.freshUntil) return undefined
  if (now >= entry.keepUntil) return NoEntry.expired
  return operation.mayServeStale(entry, now) ? undefined : NoEntry.stale
}

/** A stream that is not served is not left open. */
function adoptedStream(operation: ReadOperation, entry: StreamedEntry, slot: Slot, position: number, now: EpochMs): Answer {
  let isServed = false
  try {
    const refusal = refusalOf(operation, entry, now)
    if (refusal !== undefined) return refusal
    operation.engine.payloads.check(entry.payload.codec)
    isServed = true
    return new Found(entry, slot, position, now)
  } finally {
    if (!isServed) entry.payload.cancel()
  }
}

/** Makes the value of bytes that went through steps; they stay as they are, for faster tiers. */
async function unpacked(operation: ReadOperation, found: Found, encoded: EncodedPayload): Promise<Answer> {
  const { codecs, payloads } = operation.engine
  try {
    found.entry.value = codecs.decode(await payloads.unpack(encoded, operation.place))
    return found
  } catch (error) {
    return failed(operation, found.slot, error)
  }
}

function failed(operation: Operation, slot: Slot, error: unknown): NoEntry {
  operation.report(error, 'get', slot.tier)
  return NoEntry.failed
}

/** What is answered at once, with its value: by a synchronous tier, without its layers, or by a fallback. */
export function peekTier(engine: OperationHost, state: TenantState, key: ValidKey, tier: Tier, options: ReadOptions): CacheEntry | undefined {
  const held = answersFor(engine, state, key, tier) ? tier.fallback?.get(state.scope, key, options) : undefined
  if (held !== undefined) return withValue(engine, held)
  if (tier.direct === undefined || !answersItself(engine, state, key, tier)) return undefined
  const answer = tier.direct.get(state.scope, key, options)
  return isPromise(answer) ? undefined : answer
}

/** What has to be unpacked first cannot be had at once. */
function withValue(engine: OperationHost, entry: CacheEntry): CacheEntry | undefined {
  if (entry.value !== NO_VALUE) return entry
  if (entry.encoded === undefined || isPacked(entry.encoded.codec)) return undefined
  entry.value = engine.codecs.decode(entry.encoded)
  return entry
}

/** Those of the keys about which nobody but the tier itself answers. */
export function answeredByTier<K extends { readonly key: ValidKey }>(engine: OperationHost, state: TenantState, keys: readonly K[], tier: Tier): readonly K[] {
  if (!tier.readable || tier.fallback?.isActive === true) return []
  if (engine.writeBack.isIdle && !tier.queues.anySuspect) return keys
  return keys.filter(({ key }) => answersItself(engine, state, key, tier))
}

function answersItself(engine: OperationHost, state: TenantState, key: ValidKey, tier: Tier): boolean {
  return answersFor(engine, state, key, tier) && tier.readable && tier.queues.suspicionOf(state.scope, key) === undefined
}

/** Whether no copy answers instead of the tier and its fallback. */
function answersFor({ writeBack }: OperationHost, state: TenantState, key: ValidKey, tier: Tier): boolean {
  return writeBack.isIdle || writeBack.pending(tier, state, key) === undefined
}

/** Everybody who answers for a tier about some key with the prefix, in the order in which they are asked; each lists what it would answer with. */
export function* listingsOf(engine: OperationHost, state: TenantState, tier: Tier, prefix: string, options: ListOptions): Generator<Listing, void, undefined> {
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
