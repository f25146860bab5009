import type { CacheEntry, Clock, ValidKey } from '@thermocline/backend'
import type { Engine } from './engine.js'
import type { TenantState } from '../state/tenant-state.js'

/*
 * The short way of a hit. It waits for nothing, allocates nothing after an entry's first hit, builds no string and finds no
 * policy again: of some 70 ns, 57 are the LRU lookup and the await (see docs/performance.md). Whatever is not plain takes
 * the long way: `engine.hot` is undefined then, or the entry is not there, not fresh, or not read first by its policy.
 */

/** One synchronous hit of so many is timed: timing costs as much as the hit. The first always is. */
const SAMPLE_MASK = 1023

const READ = Object.freeze({ want: 'payload', touch: true } as const)
const PEEK = Object.freeze({ want: 'payload', touch: false } as const)

/** A kept promise of the value, counted, if the fastest tier answers at once and holds it fresh. */
export function hotHit(engine: Engine, state: TenantState, key: string): Promise<unknown> | undefined {
  const { hot } = engine
  if (hot === undefined || engine.telemetry.wantsHotHit()) return undefined
  const entry = hot.get(state.scope, key as ValidKey, READ) as CacheEntry | undefined
  if (entry === undefined || !isFresh(entry, engine.clock)) return undefined
  const note = noteOf(entry, key, engine)
  if (note === undefined) return undefined
  const { cell } = note
  const { hits } = state.counters
  const count = (hits[cell] = (hits[cell] as number) + 1)
  if (entry.computeMicros !== 0) addSaved(state, cell, entry.computeMicros)
  if ((count & SAMPLE_MASK) === 1 && engine.telemetry.bound) sample(engine, state, key as ValidKey)
  return (note.promise ??= Promise.resolve(entry.value))
}

/** The entry, if the fastest tier answers at once and holds it fresh. Counts nothing. */
export function hotPeek(engine: Engine, state: TenantState, key: string): CacheEntry | undefined {
  const entry = engine.hot?.get(state.scope, key as ValidKey, PEEK) as CacheEntry | undefined
  return entry !== undefined && isFresh(entry, engine.clock) && noteOf(entry, key, engine) !== undefined ? entry : undefined
}

/** Whether an entry of a synchronous tier may be served, as of this turn of the event loop. */
export function isFresh(entry: CacheEntry, clock: Clock): boolean {
  return clock.recent() < (entry.details === undefined ? entry.expiresAt : entry.keepUntil)
}

/**
 * What a manager notes on an entry of its first tier at the first hit: that the key's policy reads that tier first, where to
 * count, and the promise to hand out. Finding the policy again would cost half as much as the rest of the hit.
 */
class HitNote {
  readonly engine: Engine
  readonly cell: number
  promise: Promise<unknown> | undefined

  constructor(engine: Engine, cell: number) {
    this.engine = engine
    this.cell = cell
    this.promise = undefined
  }
}

/** The entry's note, if the key's policy reads the first tier. */
function noteOf(entry: CacheEntry, key: string, engine: Engine): HitNote | undefined {
  const note = entry.hitNote as HitNote | undefined // nobody else writes it
  return note !== undefined && note.engine === engine ? note : makeNote(entry, key, engine)
}

function makeNote(entry: CacheEntry, key: string, engine: Engine): HitNote | undefined {
  const slot = engine.policies.forKey(key).hot
  if (slot === undefined || slot.tier !== engine.firstTier) return undefined
  const note = new HitNote(engine, slot.cell)
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
