import type { Span } from '@opentelemetry/api'
import { messageOf, type Awaitable, type Metadata, type ValidKey } from '@thermocline/backend'
import { handOut } from '../codec/isolate.js'
import { abortable, onAbort } from '../compute/abort.js'
import { ComputeWishes, type Compute } from '../compute/compute-context.js'
import type { Fence } from '../compute/fence.js'
import { Flight } from '../compute/flight.js'
import { beginWaiting, callingFlight, computing, type Waiter } from '../compute/waiting.js'
import { NO_SPAN } from '../telemetry/telemetry.js'
import type { Plan, Slot } from '../policies/policy.js'
import { countOutcome } from './count-outcome.js'
import { count } from './counters.js'
import type { Engine } from './engine.js'
import { promote, walkThen, type Found } from './read.js'
import { joinOrStart, type SharedOpened } from './streams/read-stream.js'
import type { StreamFlight } from './streams/stream-flight.js'
import type { TenantState } from './tenant-state.js'
import { fillEverywhere, ValueSnapshot } from './write.js'

const VALUE_IN_USE = Object.freeze({ want: 'value', use: true } as const)

/** What the first caller of a flight asked for. */
export interface FlightRequest {
  readonly key: ValidKey
  readonly plan: Plan
  readonly compute: Compute<unknown>
  readonly ttlMs: number | undefined
  readonly tags: readonly string[] | undefined
  readonly metadata: Metadata | undefined
}

/** A flight that looks for the value and, where it is not found, computes it; the outcome is the value. */
export class ReadFlight extends Flight {
  /** Where the value was found; `undefined`: it was computed. */
  slot: Slot | undefined = undefined
  /** What computing it had cost. */
  savedMicros = 0
  /** Callers that get the outcome itself. They are counted together, when it is known. */
  plain = 0
}

/** The long way of getOrCompute: joins the key's flight or starts it. Each caller counts one hit or one miss. */
export function getOrComputeInFlight(engine: Engine, state: TenantState, request: FlightRequest, signal: AbortSignal | undefined): Promise<unknown> {
  const { key, plan } = request
  const span = engine.telemetry.startGet(key, state.tenant, plan.policy.name)
  let flight = state.flights.get(key) as ReadFlight | undefined // nobody else starts any
  if (flight === undefined) flight = start(engine, state, request, span)
  else count(state.counters.coalesced, plan.policy.index)
  const joined = flight
  const caller = callingFlight()
  if (caller === undefined && signal === undefined && span === NO_SPAN && engine.isolation === 'share') {
    joined.plain++
    return joined.join(undefined)
  }
  return joinFrom(caller, joined, signal).then(
    (value) => {
      countOutcome(engine, state, key, plan, joined.slot, joined.savedMicros)
      engine.telemetry.endGet(span, joined.slot?.tier.name)
      return handOutAnyway(value, engine)
    },
    (error: unknown) => {
      countOutcome(engine, state, key, plan, undefined)
      engine.telemetry.endGet(span, undefined, { error })
      throw error
    },
  )
}

function joinFrom(caller: Waiter | undefined, flight: Flight, signal: AbortSignal | undefined): Promise<unknown> {
  if (caller === undefined) return flight.join(signal)
  try {
    const left = beginWaiting(caller, flight, 'getOrCompute')
    return flight.join(signal).finally(left)
  } catch (error) {
    flight.notJoined()
    return Promise.reject(error)
  }
}

/** Only computes: for a cache that is closed or switched off. */
export function justCompute(state: TenantState, key: ValidKey, compute: Compute<unknown>, signal: AbortSignal | undefined): Promise<unknown> {
  const run = async (): Promise<unknown> => compute(new ComputeWishes(key, state.tenant, { signal: signal ?? new AbortController().signal }))
  return abortable(run(), signal)
}

function start(engine: Engine, state: TenantState, request: FlightRequest, span: Span): ReadFlight {
  const { key } = request
  const fence = state.fences.open(key)
  const flight = new ReadFlight(key, state)
  state.flights.set(key, flight) // before anything of the caller's runs
  flight.start(land(engine, state, request, fence, span, flight))
  return flight
}

/**
 * Finds the value or makes it, and ends the flight whatever happens. Not an async function: a hit in a tier that is waited for
 * is worth one promise, not five.
 */
function land(engine: Engine, state: TenantState, request: FlightRequest, fence: Fence, span: Span, flight: ReadFlight): Promise<unknown> {
  const { key, plan } = request
  const end = (): void => {
    countOutcome(engine, state, key, plan, flight.slot, flight.savedMicros, flight.plain)
    state.landed(flight, fence)
  }
  const goOn = (found: Found | undefined): Awaitable<unknown> => {
    // the compute must not run before the flight can be joined
    if (!flight.isStarted) return Promise.resolve(found).then(goOn)
    if (found === undefined) return engine.computing(compute(engine, state, request, fence, span, flight, end))
    try {
      promote(engine, state, key, plan, found, fence)
      flight.slot = found.slot
      flight.savedMicros = found.entry.computeMicros
      return found.entry.value
    } finally {
      end()
    }
  }
  try {
    const streaming = streamOf(state, key)
    if (streaming !== undefined) return streamedOr(state, plan, streaming, flight, () => walkThen(engine, state, key, plan, VALUE_IN_USE, 0, goOn), end)
    return Promise.resolve(walkThen(engine, state, key, plan, VALUE_IN_USE, 0, goOn))
  } catch (error) {
    end()
    return Promise.reject(error)
  }
}

async function compute(engine: Engine, state: TenantState, request: FlightRequest, fence: Fence, span: Span, flight: Flight, end: () => void): Promise<unknown> {
  try {
    flight.throwIfAborted()
    const streaming = streamOf(state, request.key)
    const streamed = streaming === undefined ? undefined : await wholeOf(state, streaming, flight)
    if (streamed !== undefined) {
      count(state.counters.coalesced, request.plan.policy.index)
      return streamed
    }
    const wishes = new ComputeWishes(request.key, state.tenant, flight)
    const startedAt = engine.clock.monotonic()
    const value = await computing(flight, () => engine.telemetry.compute(span, () => request.compute(wishes)))
    const ms = engine.clock.monotonic() - startedAt
    countCompute(engine, state, request, ms)
    if (!wishes.uncached && !fence.broken && !engine.stopped) await store(engine, state, request, wishes, value, ms, fence)
    return value
  } finally {
    end()
  }
}

/** The stream that somebody computes of the key: one compute is enough for both. */
function streamOf(state: TenantState, key: ValidKey): StreamFlight<SharedOpened> | undefined {
  const streaming = state.streams.get(key) as StreamFlight<SharedOpened> | undefined
  return streaming?.computes === true ? streaming : undefined
}

/** What the stream gives as a value; where a tier had it, or its beginning has passed, what `look` finds. */
async function streamedOr(state: TenantState, plan: Plan, streaming: StreamFlight<SharedOpened>, flight: Flight, look: () => Awaitable<unknown>, end: () => void): Promise<unknown> {
  let bytes: Buffer | undefined
  try {
    bytes = await wholeOf(state, streaming, flight)
  } catch (error) {
    end()
    throw error
  }
  if (bytes === undefined) return look()
  count(state.counters.coalesced, plan.policy.index)
  end()
  return bytes
}

/** All bytes of the stream, as one of its callers; `undefined`: a tier had it, or its beginning has passed. */
async function wholeOf(state: TenantState, streaming: StreamFlight<SharedOpened>, flight: Flight): Promise<Buffer | undefined> {
  const { signal } = flight
  const joined = await joinOrStart(state, streaming, () => undefined, signal, flight, 'getOrCompute')
  if (joined === undefined) return undefined
  const { reader, opened } = joined
  const leave = (): void => void reader.return()
  if (opened.found !== undefined) {
    joined.left()
    leave()
    return undefined
  }
  const stop = onAbort(signal, leave) // the last one who waits for the value has left
  try {
    const chunks: Uint8Array[] = []
    for await (const chunk of reader) chunks.push(chunk)
    signal.throwIfAborted()
    return Buffer.concat(chunks)
  } finally {
    joined.left()
    stop()
  }
}

/** Stores what was computed. A value the codec refuses is still the callers'; the failure is reported. */
function store(engine: Engine, state: TenantState, request: FlightRequest, wishes: ComputeWishes, value: unknown, ms: number, fence: Fence): Awaitable<unknown> {
  const { key, plan } = request
  let snapshot: ValueSnapshot
  try {
    snapshot = new ValueSnapshot(engine, plan, {
      value,
      ttlMs: wishes.ttlMs ?? request.ttlMs,
      computeMicros: Math.round(ms * 1000),
      tags: wishes.tags === undefined ? request.tags : [...(request.tags ?? []), ...wishes.tags],
      metadata: request.metadata,
    })
  } catch (error) {
    engine.report(error, { operation: 'encode', state, key })
    engine.warnOnce(`encode ${plan.policy.name}`, `a value computed for policy ${plan.policy.name} cannot be stored and is computed each time: ${messageOf(error)}`, { code: 'not-encodable', policy: plan.policy.name, tenant: state.tenant, key })
    return undefined
  }
  return fillEverywhere(engine, state, key, plan, snapshot, fence)
}

/** What cannot be copied was not stored either (and that was reported): the callers get what was computed. */
function handOutAnyway(value: unknown, engine: Engine): unknown {
  try {
    return handOut(value, engine.isolation)
  } catch {
    return value
  }
}

export function countCompute(engine: Engine, state: TenantState, { key, plan }: Pick<FlightRequest, 'key' | 'plan'>, ms: number): void {
  count(state.counters.computes, plan.policy.index)
  count(state.counters.computeMicros, plan.policy.index, Math.round(ms * 1000))
  engine.telemetry.recordCompute({ policy: plan.policy.name }, ms)
  if (engine.events.wants('compute')) engine.events.emit('compute', { tenant: state.tenant, key, policy: plan.policy.name, ms })
}
