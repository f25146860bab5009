import type { Readable } from 'node:stream'
import { abortable } from '../flights/abort.js'
import { callingFlight, type Waiter } from '../flights/waiting.js'
import { promotedUntil } from '../policies/policy.js'
import { travellingFields } from '../promotion/copies.js'
import { countOutcome } from '../operation/count-outcome.js'
import type { Found } from '../operation/found.js'
import type { ReadOperation } from '../operation/operation.js'
import { notePromotion, promote } from '../promotion/promote.js'
import { abandoned } from '../tiers/held-back-put.js'
import { openStream, type FoundStream } from './open-stream.js'
import { SharedStream, type Reader } from './shared-stream.js'
import { after, goneMeanwhile, readableOf, StreamFlight, type OpenedStream } from './stream-flight.js'
import { TierSink } from './tier-sink.js'

/** The verb `getStream`: the payload from the fastest tier that has it, on its way into faster ones at the same time. */
export async function getStream(operation: ReadOperation, signal: AbortSignal | undefined): Promise<Readable | undefined> {
  const { engine, state, key, plan } = operation
  const span = engine.telemetry.startGet(key, state.tenant, plan.policy.name)
  let served: Found | undefined
  let failure: { error: unknown } | undefined
  try {
    // a read does not wait for a compute, and leaves its flight to those who do
    const joined = await joinOrStart(operation, signal)
    if (joined === undefined) {
      countOutcome(operation, undefined)
      return undefined
    }
    joined.left() // what a tier holds waits for nobody
    served = (joined.opened.found as FoundStream).found
    countOutcome(operation, served)
    return readableOf(operation, joined.reader, joined.opened.codec, signal)
  } catch (error) {
    failure = { error }
    throw error
  } finally {
    engine.telemetry.endGet(span, served, failure)
  }
}

/** A caller's part in a flight. */
export interface Joined {
  readonly opened: OpenedStream
  readonly reader: Reader
  /** To be called when the caller waits for it no longer. */
  readonly left: () => void
}

/**
 * Joins a flight; what nobody waits for any more is given up. `undefined`: nothing was found. `passed`: its beginning has passed, and it is left to those who
 * read it; what a compute made is stored then.
 *
 * @param caller the flight that waits
 * @throws CacheError `circular` where the stream waits for the caller's own flight
 */
export async function joinStream(flight: StreamFlight, signal: AbortSignal | undefined, caller: Waiter | undefined, operation: string): Promise<Joined | undefined | 'passed'> {
  const { outcome, left } = flight.joinFrom(caller, signal, operation)
  let goesOn = false
  try {
    const opened = await outcome
    if (opened === undefined) return undefined
    const reader = opened.stream.join({ paces: true, patienceMs: opened.patienceMs, resume: opened.resume })
    goesOn = reader !== undefined
    if (reader !== undefined) return { opened, reader, left }
    if (opened.stored !== undefined) await abortable(opened.stored, signal)
    return 'passed'
  } finally {
    if (!goesOn) left()
  }
}

/** Joins the download under way, or starts one. */
async function joinOrStart(operation: ReadOperation, signal: AbortSignal | undefined): Promise<Joined | undefined> {
  const { state, key } = operation
  let passed: StreamFlight | undefined
  for (;;) {
    const running = state.downloads.get(key) as StreamFlight | undefined // nobody else starts any
    const flight = running === undefined || running === passed ? startReading(operation) : running
    const joined = await joinStream(flight, signal, callingFlight(), 'getStream')
    if (joined !== 'passed') return joined
    passed = flight
  }
}

/** A flight that looks for the key and reads it. */
export function startReading(operation: ReadOperation): StreamFlight {
  const { engine, state, key } = operation
  const flight = new StreamFlight(state.fences.open(key), state)
  state.downloads.set(key, flight)
  const land = (): undefined => {
    engine.agreement?.leave(operation)
    state.landed(flight)
  }
  flight.start(
    openStream(operation).then(
      (found) => (found === undefined ? land() : begin(operation, flight, found)),
      (error: unknown) => {
        land()
        throw error
      },
    ),
  )
  return flight
}

/** Shares what was found among callers and, where it is fresh, with the faster tiers that are to have it. */
export function begin(operation: ReadOperation, flight: StreamFlight, opening: FoundStream): OpenedStream {
  const { engine, state } = operation
  const { fence } = flight
  const { found, payload, isWhole } = opening
  if (found.isStale) state.leave(flight) // no caller who wants a fresh one joins it
  else state.onlyReads(flight)
  const stream = new SharedStream(payload.chunks(), { clock: engine.clock, cancel: () => payload.cancel(), deserted: () => stream.abort(abandoned()) })
  const sinks = isWhole || found.isStale ? [] : promotionSinks(operation, opening, stream, flight)
  if (isWhole && !found.isStale) promote(operation, found, fence)
  engine.streams.add(stream)
  stream.ended
    .then(
      () => {
        const release = state.fences.hold(fence) // the flight's own hold ends now, and the tiers may take a while
        const stored = sinks.map(async (sink) => notePromotion(operation, found.slot, sink.slot, await sink.fill(fence)))
        engine.background.run(
          Promise.all(stored).finally(() => {
            release()
            engine.agreement?.leave(operation)
          }),
        )
      },
      (error: unknown) => {
        for (const sink of sinks) engine.background.run(sink.abandon(error))
        engine.agreement?.leave(operation)
        if (!stream.isDeserted) operation.report(error, 'get', found.slot.tier)
      },
    )
    .finally(() => {
      engine.streams.delete(stream)
      state.landed(flight)
    })
  const resume = (offset: number): AsyncIterable<Uint8Array> => after(offset, again(operation, opening))
  return { stream, codec: payload.codec, found: opening, patienceMs: found.slot.tier.budgetMs, resume }
}

/** The same entry once more, for a caller who was left behind. */
async function* again(operation: ReadOperation, first: FoundStream): AsyncGenerator<Uint8Array, void, undefined> {
  const opened = await openStream(operation.again())
  if (opened === undefined || opened.found.entry.createdAt !== first.found.entry.createdAt || opened.payload.codec !== first.payload.codec) {
    opened?.payload.cancel()
    throw goneMeanwhile(operation.key)
  }
  yield* opened.payload.chunks()
}

function promotionSinks(operation: ReadOperation, { found, payload }: FoundStream, stream: SharedStream, { fence }: StreamFlight): TierSink[] {
  const { engine, plan } = operation
  if (engine.closed || fence.broken) return []
  return plan.slots.slice(0, found.position).flatMap((slot) => {
    if (!slot.promote || slot.write === 'demote' || !engine.background.hasRoom) return []
    const fields = travellingFields(found.entry)
    const { tier } = slot
    const keepUntil = promotedUntil(slot, fields.expiresAt, engine.clock.now())
    return TierSink.open(operation, stream, { slot, fields, keepUntil, onlyIfAbsent: true, payload, fence, patienceMs: tier.budgetMs, belief: operation.beliefOf(found.slot.tier) }) ?? []
  })
}
