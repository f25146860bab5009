import type { Span } from '@opentelemetry/api'
import { handOut } from '../codec/isolate.js'
import { abortable, onAbort } from '../compute/abort.js'
import { ComputeWishes, type Compute } from '../compute/compute-context.js'
import type { Fence } from '../compute/fence.js'
import type { Awaitable } from '../contract/backend.js'
import { Flight } from '../compute/flight.js'
import { messageOf } from '../errors/cache-error.js'
import type { ValidKey } from '../keys/key.js'
import type { Plan, Slot } from '../policies/policy.js'
import type { Metadata } from '../contract/entry.js'
import { count } from './counters.js'
import type { Engine } from './engine.js'
import { promote, walk } from './read.js'
import { joinOrStart, type SharedOpened } from './streams/read-stream.js'
import type { StreamFlight } from './streams/stream-flight.js'
import type { TenantState } from './tenant-state.js'
import { fillEverywhere, Taken } from './write.js'

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

/** What a flight brought: the value, and unless it was computed where it was found and what it had cost. */
export interface Landing {
  readonly value: unknown
  readonly foundIn: Slot | undefined
  readonly savedMicros: number
}

/** The long way of getOrCompute: joins the key's flight or starts it. Each caller counts one hit or one miss. */
export function getOrComputeInFlight(engine: Engine, state: TenantState, request: FlightRequest, signal: AbortSignal | undefined): Promise<unknown> {
  const { key, plan } = request
  const span = engine.telemetry.startGet(key, state.tenant, plan.policy.name)
  let flight = state.flights.get(key)
  if (flight === undefined) flight = start(engine, state, request, span)
  else count(state.counters.coalesced, plan.policy.index)
  return flight.join(signal).then(
    (landing) => {
      const { value, foundIn } = landing as Landing
      countOutcome(engine, state, request, landing as Landing)
      engine.telemetry.endGet(span, foundIn?.tier.name)
      return handOutAnyway(value, engine)
    },
    (error: unknown) => {
      countMiss(engine, state, request)
      engine.telemetry.endGet(span, undefined, { error })
      throw error
    },
  )
}

/** Only computes: for a cache that is closed or switched off. */
export function justCompute(state: TenantState, key: ValidKey, compute: Compute<unknown>, signal: AbortSignal | undefined): Promise<unknown> {
  const run = async (): Promise<unknown> => compute(new ComputeWishes(key, state.tenant, { signal: signal ?? new AbortController().signal }))
  return abortable(run(), signal)
}

function start(engine: Engine, state: TenantState, request: FlightRequest, span: Span): Flight {
  const { key } = request
  const fence = state.fences.open(key)
  const flight = new Flight(key, state)
  state.flights.set(key, flight) // before anything of the caller's runs
  flight.start(land(engine, state, request, fence, span, flight))
  return flight
}

/**
 * Finds the value or makes it, and ends the flight whatever happens. Not an async function: a hit in a tier that is waited for
 * is worth two promises, not five.
 */
function land(engine: Engine, state: TenantState, request: FlightRequest, fence: Fence, span: Span, flight: Flight): Promise<Landing> {
  const streaming = streamOf(state, request.key)
  if (streaming === undefined) return look(engine, state, request, fence, span, flight)
  return landing(state, streaming, flight).then(
    (streamed) => {
      if (streamed === undefined) return look(engine, state, request, fence, span, flight)
      state.landed(flight, fence)
      return streamed
    },
    (error: unknown) => {
      state.landed(flight, fence)
      throw error
    },
  )
}

function look(engine: Engine, state: TenantState, request: FlightRequest, fence: Fence, span: Span, flight: Flight): Promise<Landing> {
  // a promise in any case: the compute must not run before the flight can be joined
  return begun(() => walk(engine, state, request.key, request.plan, VALUE_IN_USE)).then(
    (found) => {
      if (found === undefined) return compute(engine, state, request, fence, span, flight).finally(() => state.landed(flight, fence))
      try {
        promote(engine, state, request.key, request.plan, found, fence)
        return { value: found.entry.value, foundIn: found.slot, savedMicros: found.entry.computeMicros }
      } finally {
        state.landed(flight, fence)
      }
    },
    (error: unknown) => {
      state.landed(flight, fence)
      throw error
    },
  )
}

/** The stream that somebody computes of the key: one compute is enough for both. */
function streamOf(state: TenantState, key: ValidKey): StreamFlight<SharedOpened> | undefined {
  const streaming = state.streams.get(key) as StreamFlight<SharedOpened> | undefined
  return streaming?.computes === true ? streaming : undefined
}

/** What the stream gives as a value, as one of its callers; `undefined`: a tier had it, or its beginning has passed. */
async function landing(state: TenantState, streaming: StreamFlight<SharedOpened>, { signal }: Flight): Promise<Landing | undefined> {
  const joined = await joinOrStart(state, streaming, () => undefined, signal)
  if (joined === undefined) return undefined
  const { reader, opened } = joined
  const leave = (): void => void reader.return()
  if (opened.isFound) {
    leave()
    return undefined
  }
  const stop = onAbort(signal, leave) // the last one who waits for the value has left
  try {
    const chunks: Uint8Array[] = []
    for await (const chunk of reader) chunks.push(chunk)
    signal.throwIfAborted()
    return { value: Buffer.concat(chunks), foundIn: undefined, savedMicros: 0 }
  } finally {
    stop()
  }
}

/** What the work answers, or throws, as a promise. */
function begun<T>(work: () => Awaitable<T>): Promise<T> {
  try {
    return Promise.resolve(work())
  } catch (error) {
    return Promise.reject(error)
  }
}

async function compute(engine: Engine, state: TenantState, request: FlightRequest, fence: Fence, span: Span, flight: Flight): Promise<Landing> {
  flight.throwIfAborted()
  const streaming = streamOf(state, request.key)
  const streamed = streaming === undefined ? undefined : await landing(state, streaming, flight)
  if (streamed !== undefined) return streamed
  const wishes = new ComputeWishes(request.key, state.tenant, flight)
  const startedAt = engine.clock.monotonic()
  const value = await engine.telemetry.compute(span, () => request.compute(wishes))
  const ms = engine.clock.monotonic() - startedAt
  countCompute(engine, state, request, ms)
  if (!wishes.uncached && !fence.broken && !engine.closed) await store(engine, state, request, wishes, value, ms, fence)
  return { value, foundIn: undefined, savedMicros: 0 }
}

/** Stores what was computed. A value the codec refuses is still the callers'; the failure is reported. */
function store(engine: Engine, state: TenantState, request: FlightRequest, wishes: ComputeWishes, value: unknown, ms: number, fence: Fence): Awaitable<unknown> {
  const { key, plan } = request
  let taken: Taken
  try {
    taken = new Taken(engine, plan, {
      value,
      ttlMs: wishes.ttlMs ?? request.ttlMs,
      computeMicros: Math.round(ms * 1000),
      tags: wishes.tags === undefined ? request.tags : [...(request.tags ?? []), ...wishes.tags],
      metadata: request.metadata,
    })
  } catch (error) {
    engine.report(error, { operation: 'encode', state, key })
    engine.warnOnce(`encode ${plan.policy.name}`, `a value computed for policy ${plan.policy.name} cannot be stored and is computed each time: ${messageOf(error)}`)
    return undefined
  }
  return fillEverywhere(engine, state, key, plan, taken, fence)
}

export function countOutcome(engine: Engine, state: TenantState, { key, plan }: Pick<FlightRequest, 'key' | 'plan'>, { foundIn, savedMicros }: Landing): void {
  const policy = plan.policy.name
  if (foundIn === undefined) countMiss(engine, state, { key, plan })
  else {
    count(state.counters.hits, foundIn.cell)
    count(state.counters.savedMicros, foundIn.cell, savedMicros)
    if (engine.events.wants('hit')) engine.events.emit('hit', { tenant: state.tenant, key, tier: foundIn.tier.name, policy })
  }
}

function countMiss(engine: Engine, state: TenantState, { key, plan }: Pick<FlightRequest, 'key' | 'plan'>): void {
  count(state.counters.misses, plan.policy.index)
  if (engine.events.wants('miss')) engine.events.emit('miss', { tenant: state.tenant, key, policy: plan.policy.name })
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
