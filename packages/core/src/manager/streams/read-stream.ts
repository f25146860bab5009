import type { Readable } from 'node:stream'
import type { ValidKey } from '@thermocline/backend'
import { abortable } from '../../compute/abort.js'
import { beginWaiting, callingFlight, type Waiter } from '../../compute/waiting.js'
import { promotedUntil, type Plan } from '../../policies/policy.js'
import { travellingFields } from '../copies.js'
import { countOutcome } from '../count-outcome.js'
import type { Engine } from '../engine.js'
import { notePromotion, promote } from '../read.js'
import type { TenantState } from '../tenant-state.js'
import { openStream, type FoundStream } from './open-stream.js'
import { SharedStream, type Reader } from './shared-stream.js'
import { after, goneMeanwhile, readableOf, StreamFlight, type OpenedStream } from './stream-flight.js'
import { abandoned, TierSink } from './tier-sink.js'

/** The verb `getStream`: the payload from the fastest tier that has it, on its way into faster ones at the same time. */
export async function getStream(engine: Engine, state: TenantState, key: ValidKey, plan: Plan, signal: AbortSignal | undefined): Promise<Readable | undefined> {
  const span = engine.telemetry.startGet(key, state.tenant, plan.policy.name)
  let hit: string | undefined
  let failure: { error: unknown } | undefined
  try {
    const running = state.streams.get(key) as StreamFlight<SharedOpened> | undefined
    // a read does not wait for a compute, and leaves its flight to those who do
    const joined = await joinOrStart(state, running?.computes === true ? undefined : running, () => startReading(engine, state, key, plan), signal, callingFlight(), 'getStream')
    if (joined === undefined) {
      countOutcome(engine, state, key, plan, undefined)
      return undefined
    }
    joined.left() // what a tier holds waits for nobody
    const found = joined.opened.found as FoundStream
    hit = found.slot.tier.name
    countOutcome(engine, state, key, plan, found.slot, found.entry.computeMicros)
    return readableOf(joined.reader, joined.opened.codec, signal)
  } catch (error) {
    failure = { error }
    throw error
  } finally {
    engine.telemetry.endGet(span, hit, failure)
  }
}

/** What a flight that callers share has come to; `found`: in which tier, unless it was made. */
export interface SharedOpened extends OpenedStream {
  readonly found: FoundStream | undefined
}

/** A caller's part in a flight. */
export interface Joined {
  readonly opened: SharedOpened
  readonly reader: Reader
  /** To be called when the caller waits for it no longer. */
  readonly left: () => void
}

/**
 * Joins the key's flight, or starts one: a flight whose beginning has passed is left to those who read it. `undefined`: it found nothing, or
 * nothing was started.
 *
 * A caller whose signal fires while it waits leaves; what nobody waits for is given up.
 *
 * @param caller the flight that waits
 * @throws CacheError `circular` where the stream waits for the caller's own flight
 */
export async function joinOrStart(
  state: TenantState, running: StreamFlight<SharedOpened> | undefined, start: () => StreamFlight<SharedOpened> | undefined, signal: AbortSignal | undefined, caller: Waiter | undefined, operation: string,
): Promise<Joined | undefined> {
  let flight = running ?? start()
  while (flight !== undefined) {
    const joining: StreamFlight<SharedOpened> = flight
    const opening = flight.opened
    const left = beginWaiting(caller, flight, operation)
    let goesOn = false
    flight.waiting++
    try {
      const opened = await abortable(opening, signal)
      flight.isOpen = true
      if (opened === undefined) return undefined
      const reader = opened.stream.join({ paces: true, patienceMs: opened.patienceMs, resume: opened.resume })
      goesOn = reader !== undefined
      if (reader !== undefined) return { opened, reader, left }
      if (opened.stored !== undefined) await abortable(opened.stored, signal)
    } finally {
      if (!goesOn) left()
      if (--flight.waiting === 0) {
        if (!flight.isOpen) {
          if (state.streams.get(flight.key) === flight) state.detachKey(flight.key)
          flight.abort(signal?.reason)
        }
        void opening.then((opened) => leaveUnread(joining, opened), () => undefined)
      }
    }
    const current = state.streams.get(joining.key) as StreamFlight<SharedOpened> | undefined
    flight = current === undefined || current === joining ? start() : current
  }
  return undefined
}

function leaveUnread(flight: StreamFlight<SharedOpened>, opened: SharedOpened | undefined): void {
  if (opened === undefined || flight.waiting > 0 || opened.stream.isWanted) return
  opened.stream.desert()
}

/** A flight that looks for the key and reads it. */
function startReading(engine: Engine, state: TenantState, key: ValidKey, plan: Plan): StreamFlight<SharedOpened> {
  const flight = new StreamFlight<SharedOpened>(key, state.tenant, state.fences.open(key), false)
  if (state.streams.get(key)?.computes !== true) state.streams.set(key, flight)
  flight.opened = openStream(engine, state, key, plan).then(
    (found) => (found === undefined ? landed(state, flight) : begin(engine, state, key, plan, flight, found)),
    (error: unknown) => {
      landed(state, flight)
      throw error
    },
  )
  return flight
}

/** The flight is over: nobody joins it any more. */
export function landed(state: TenantState, flight: StreamFlight): undefined {
  state.fences.close(flight.fence)
  if (state.streams.get(flight.key) === flight) state.streams.delete(flight.key)
  return undefined
}

/** Shares what was found among callers and the faster tiers that are to have it. */
export function begin(engine: Engine, state: TenantState, key: ValidKey, plan: Plan, flight: StreamFlight<SharedOpened>, found: FoundStream): SharedOpened {
  const stream = new SharedStream(found.payload.chunks(), { clock: engine.clock, cancel: () => found.payload.cancel(), deserted: () => stream.abort(abandoned()) })
  const sinks = found.whole === undefined ? promotionSinks(engine, state, key, plan, found, stream, flight) : []
  if (found.whole !== undefined) promote(engine, state, key, plan, found.whole, flight.fence)
  engine.streams.add(stream)
  stream.ended
    .then(
      () => {
        flight.fence.holders++ // the flight's own hold ends now, and the tiers may take a while
        const stored = sinks.map(async (sink) => notePromotion(engine, state, key, plan, found.slot, sink.slot, await sink.fill(flight.fence)))
        engine.background.run(Promise.all(stored).finally(() => state.fences.close(flight.fence)))
      },
      (error: unknown) => {
        for (const sink of sinks) engine.background.run(sink.abandon(error))
        if (!stream.isDeserted) engine.report(error, { operation: 'get', tier: found.slot.tier, state, key })
      },
    )
    .finally(() => {
      engine.streams.delete(stream)
      landed(state, flight)
    })
  const resume = (offset: number): AsyncIterable<Uint8Array> => after(offset, again(engine, state, key, plan, found))
  return { stream, codec: found.payload.codec, found, patienceMs: found.slot.tier.budgetMs, resume }
}

/** The same entry once more, for a caller who was left behind. */
async function* again(engine: Engine, state: TenantState, key: ValidKey, plan: Plan, first: FoundStream): AsyncGenerator<Uint8Array, void, undefined> {
  const found = await openStream(engine, state, key, plan)
  if (found === undefined || found.entry.createdAt !== first.entry.createdAt || found.payload.codec !== first.payload.codec) {
    found?.payload.cancel()
    throw goneMeanwhile(key)
  }
  yield* found.payload.chunks()
}

function promotionSinks(engine: Engine, state: TenantState, key: ValidKey, plan: Plan, found: FoundStream, stream: SharedStream, { fence }: StreamFlight): TierSink[] {
  if (engine.closed || fence.broken) return []
  return plan.slots.slice(0, found.position).flatMap((slot) => {
    if (!slot.promote || slot.write === 'demote' || !engine.background.hasRoom) return []
    const fields = travellingFields(found.entry)
    const { tier } = slot
    const keepUntil = promotedUntil(slot, fields.expiresAt, engine.clock.now())
    return TierSink.open(engine, state, key, stream, { slot, fields, keepUntil, onlyIfAbsent: true, payload: found.payload, fence, patienceMs: tier.budgetMs }) ?? []
  })
}
