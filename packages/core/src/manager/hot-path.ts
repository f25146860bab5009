import type { CacheEntry, Clock, EpochMs, ValidKey } from '@thermocline/backend'
import { valueRefresh } from '../computing/get-or-compute.js'
import { isDueEarly, noteGivenUp, refreshTask, type Seen } from '../computing/refresh.js'
import type { Compute } from '../flights/compute-context.js'
import { HitNote } from '../operation/hit-note.js'
import type { KeepsMark } from '../tiers/own-tier.js'
import { ComputeOperation } from '../operation/operation.js'
import type { EntryWishes } from '../operation/terms.js'
import type { Refresh, RefreshOutcome, RefreshTask } from '../state/refreshes.js'
import type { TenantState } from '../state/tenant-state.js'
import type { Engine } from './engine.js'

/*
 * The short way of a hit. It waits for nothing, allocates nothing after an entry's first hit, builds no string and finds no
 * policy again: of some 70 ns, 57 are the LRU lookup and the await (see docs/performance.md). Whatever is not plain takes
 * the long way: `engine.hot` is undefined then, or the entry is not there, not fresh, or not read first by its policy.
 */

/** One synchronous hit of so many is timed: timing costs as much as the hit. The first always is. */
const SAMPLE_MASK = 1023

const READ = Object.freeze({ want: 'payload', touch: true } as const)
const PEEK = Object.freeze({ want: 'payload', touch: false } as const)
const NO_WISHES: EntryWishes = Object.freeze({})

/**
 * A kept promise of the value, counted, if the fastest tier answers at once and holds it fresh.
 *
 * @param compute the caller's function: for one that computes an old value is a hit while it is refreshed, and a fresh one may be due for that
 */
export function hotHit(engine: Engine, state: TenantState, key: string, compute?: Compute<unknown>): Promise<unknown> | undefined {
  const entry = hotEntry(engine, state, key, compute)
  return entry === undefined ? undefined : ((entry.hitNote as HitNote).promise ??= Promise.resolve(entry.value))
}

/** The same without a promise: the entry. */
export function hotEntry(engine: Engine, state: TenantState, key: string, compute: Compute<unknown> | undefined): CacheEntry | undefined {
  const { hot } = engine
  if (hot === undefined || engine.telemetry.wantsHotHit()) return undefined
  const entry = hot.get(state.scope, key as ValidKey, READ) as CacheEntry | undefined
  if (entry === undefined) return undefined
  const now = engine.clock.recent()
  const isFreshNow = now < (entry.details === undefined ? entry.expiresAt : entry.freshUntil)
  if (!isFreshNow && (compute === undefined || entry.details === undefined)) return undefined // also what is no entry but a promise of one
  const note = noteOf(entry, key, engine)
  if (note === undefined) return undefined
  if (!isFreshNow) return staleHit(engine, state, entry, key, note, compute as Compute<unknown>, now)
  if (note.beta > 0 && compute !== undefined) refreshIfDue(engine, state, entry, key, note, compute)
  const { cell } = note
  const { hits } = state.counters
  const count = (hits[cell] = (hits[cell] as number) + 1)
  if (entry.computeMicros !== 0) addSaved(state, cell, entry.computeMicros)
  if ((count & SAMPLE_MASK) === 1 && engine.telemetry.bound) sample(engine, state, key as ValidKey)
  return entry
}

/** The entry, if the fastest tier answers at once and holds it fresh. Counts nothing. */
export function hotPeek(engine: Engine, state: TenantState, key: string): CacheEntry | undefined {
  const entry = engine.hot?.get(state.scope, key as ValidKey, PEEK) as CacheEntry | undefined
  return entry !== undefined && isFresh(entry, engine.clock) && noteOf(entry, key, engine) !== undefined ? entry : undefined
}

/** Whether an entry of a synchronous tier may be served as fresh, as of this turn of the event loop. */
export function isFresh(entry: CacheEntry, clock: Clock): boolean {
  return clock.recent() < (entry.details === undefined ? entry.expiresAt : entry.freshUntil)
}

/** A value that is not fresh any more, where its policy serves such at once, while one refresh runs behind. */
function staleHit(engine: Engine, state: TenantState, entry: CacheEntry, key: string, note: HitNote, compute: Compute<unknown>, now: EpochMs): CacheEntry | undefined {
  note.servedUntil ??= Math.min(entry.keepUntil, entry.staleAt + engine.policies.forKey(key).freshness.revalidateMs)
  if (now >= note.servedUntil || engine.tellsStale) return undefined
  if (note.refresh === undefined || now >= note.refresh.restsUntil) note.refresh = refresh(engine, state, entry, key, compute, true)
  const { staleHits } = state.counters
  staleHits[note.cell] = (staleHits[note.cell] as number) + 1
  if (entry.computeMicros !== 0) addSaved(state, note.cell, entry.computeMicros)
  return entry
}

/** Refreshes what is fresh still, by the chance that its policy gives it. */
function refreshIfDue(engine: Engine, state: TenantState, entry: CacheEntry, key: string, note: HitNote, compute: Compute<unknown>): void {
  const now = engine.clock.recent()
  if (!isDueEarly(entry, note.beta, now) || (note.refresh !== undefined && now < note.refresh.restsUntil)) return
  note.refresh = refresh(engine, state, entry, key, compute, false)
}

function refresh(engine: Engine, state: TenantState, { createdAt }: CacheEntry, key: string, compute: Compute<unknown>, isStale: boolean): Refresh | undefined {
  return engine.refreshes.request(new HotRefresh(engine, state, key as ValidKey, compute, { createdAt, isStale }))
}

/** What is made of it when its turn comes: the caller does not wait for that. */
class HotRefresh implements RefreshTask {
  readonly state: TenantState
  readonly key: ValidKey
  readonly #engine: Engine
  readonly #compute: Compute<unknown>
  readonly #seen: Seen

  constructor(engine: Engine, state: TenantState, key: ValidKey, compute: Compute<unknown>, seen: Seen) {
    this.state = state
    this.key = key
    this.#engine = engine
    this.#compute = compute
    this.#seen = seen
  }

  carryOut(): Promise<RefreshOutcome> {
    const operation = this.#operation()
    return refreshTask(operation, this.#seen, valueRefresh(operation)).carryOut()
  }

  givenUp(): void {
    noteGivenUp(this.state, this.#engine.policies.forKey(this.key))
  }

  #operation(): ComputeOperation {
    const engine = this.#engine
    const { state, key } = this
    const policy = engine.policies.forKey(key)
    // the compute's own span hangs below that of the read
    const span = engine.telemetry.startGet(key, state.tenant, policy.name)
    engine.telemetry.endGet(span, { slot: policy.hot, stale: this.#seen.isStale ? 'revalidate' : undefined })
    return new ComputeOperation(engine, state, key, policy, 'value', { make: this.#compute, wishes: NO_WISHES, span })
  }
}

/** The entry's note, if the key's policy reads the first tier. */
function noteOf(entry: CacheEntry, key: string, engine: Engine): HitNote | undefined {
  const note = entry.hitNote as HitNote | undefined // nobody else writes it
  return note !== undefined && note.engine === engine ? note : makeNote(entry, key, engine)
}

function makeNote(entry: CacheEntry, key: string, engine: Engine): HitNote | undefined {
  const policy = engine.policies.forKey(key)
  const slot = policy.hot
  if (slot === undefined || slot.tier !== engine.firstTier) return undefined
  const note = new HitNote(engine, slot.cell, policy.freshness.beta, (entry.hitNote as KeepsMark | undefined)?.mark)
  entry.hitNote = note
  return note
}

function addSaved(state: TenantState, cell: number, micros: number): void {
  const { savedMicros } = state.counters
  savedMicros[cell] = (savedMicros[cell] as number) + micros
}

/** Times a lookup like the one just made. */
function sample({ telemetry, clock, firstTier }: Engine, state: TenantState, key: ValidKey): void {
  const startedAt = clock.monotonic()
  void firstTier.direct?.get(state.scope, key, PEEK)
  telemetry.recordLatency({ ...firstTier.attributes, operation: 'get' }, clock.monotonic() - startedAt)
}
