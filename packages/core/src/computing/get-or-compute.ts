import { messageOf, type Awaitable, type EpochMs, type ValidKey } from '@thermocline/backend'
import { handOut } from '../codec/isolate.js'
import { abortable, onAbort } from '../flights/abort.js'
import { ComputeWishes, type Compute } from '../flights/compute-context.js'
import type { Fence } from '../flights/fence.js'
import { Flight } from '../flights/flight.js'
import { callingFlight, type Waiter } from '../flights/waiting.js'
import type { Slot } from '../policies/policy.js'
import { NO_SPAN } from '../telemetry/telemetry.js'
import { madeOrServed, type Part } from './beside-stale.js'
import { LeftOut } from './compute-batch.js'
import { ComputeRun, timedOut } from './compute-run.js'
import { enterMaking, isDueEarly, requestRefresh, type RefreshSteps } from './refresh.js'
import { countOutcome, type Served } from '../operation/count-outcome.js'
import { count } from '../state/counters.js'
import type { StaleReason } from '../state/events.js'
import { ReadOperation, type ComputeOperation } from '../operation/operation.js'
import { promote } from '../promotion/promote.js'
import { walk, walkThen } from '../reading/walk.js'
import { joinStream } from '../streams/read-stream.js'
import { StreamFlight } from '../streams/stream-flight.js'
import type { TenantState } from '../state/tenant-state.js'
import type { Found } from '../operation/found.js'
import { fillEverywhere, ValueSnapshot } from '../writing/write.js'

/** A flight that looks for the value and, where it is not found, computes it; the outcome is the value. */
export class ValueFlight extends Flight implements Served {
  /** Where the value was found; `undefined`: it was computed. */
  slot: Slot | undefined = undefined
  /** What computing it had cost. */
  savedMicros = 0
  /** Why it is an old value; `undefined`: it is not. */
  stale: StaleReason | undefined = undefined
  /** Whether the function that makes it may leave it out: callers with a function of their own call that then. */
  mayBeLeftOut = false
  /** Callers that get the outcome itself. They are counted together, when it is known. */
  plain = 0
}

/** The long way of getOrCompute: joins the key's flight or starts it. Each caller counts one hit, one stale hit or one miss. */
export function getOrComputeInFlight(operation: ComputeOperation, signal: AbortSignal | undefined): Promise<unknown> {
  const { engine, state, key, plan, isForced } = operation
  const running = isForced ? state.making(key) : state.flights.get(key)
  if (running instanceof StreamFlight) return wholeOrNext(operation, running, signal)
  const isJoined = running instanceof ValueFlight
  if (isJoined) count(state.counters.coalesced, plan.policy.index)
  const flight = isJoined ? running : isForced ? startMaking(operation, false) : start(operation)
  const caller = callingFlight()
  if (caller === undefined && signal === undefined && operation.span === NO_SPAN && engine.isolation === 'share' && !flight.mayBeLeftOut) {
    flight.plain++
    return flight.join(undefined)
  }
  return handedOut(operation, flight, caller, signal)
}

/** The outcome as one caller is to have it, counted and told. */
export async function handedOut(operation: ComputeOperation, flight: ValueFlight, caller: Waiter | undefined, signal: AbortSignal | undefined): Promise<unknown> {
  const { engine, span } = operation
  try {
    const { outcome, left } = flight.joinFrom(caller, signal, 'getOrCompute')
    const value = await outcome.finally(left)
    countOutcome(operation, flight)
    engine.telemetry.endGet(span, flight)
    return handOutAnyway(value, operation)
  } catch (error) {
    // what others have left out this caller's own function may make
    if (error instanceof LeftOut && !operation.mayLeaveOut) return getOrComputeInFlight(operation, signal)
    countOutcome(operation, undefined)
    engine.telemetry.endGet(span, undefined, { error })
    throw error
  }
}

/** Only computes: for a cache that is closed or switched off. */
export function justCompute(state: TenantState, key: ValidKey, compute: Compute<unknown>, signal: AbortSignal | undefined): Promise<unknown> {
  const run = async (): Promise<unknown> => compute(new ComputeWishes(key, state.tenant, { signal: signal ?? new AbortController().signal }))
  return abortable(run(), signal)
}

/** How a value is refreshed in the background. */
export function valueRefresh(operation: ComputeOperation): RefreshSteps {
  return {
    makeAnew: async (replaces) => {
      const flight = startMaking(operation, true, replaces)
      await flight.inBackground()
      return !flight.fence.broken
    },
    adopt: async (fence) => {
      const { engine, state, key, plan } = operation
      const reading = new ReadOperation(engine, state, key, plan, 'value', true)
      const found = await walk(reading)
      if (found !== undefined) promote(reading, found, fence)
      engine.agreement?.leave(reading)
    },
  }
}

function newFlight({ state, key, mayLeaveOut }: ComputeOperation): ValueFlight {
  const flight = new ValueFlight(state.fences.open(key), state)
  flight.mayBeLeftOut = mayLeaveOut
  return flight
}

/** A flight that looks; it can be found before anything of the caller's runs. */
function enterLooking(operation: ComputeOperation): ValueFlight {
  const flight = newFlight(operation)
  operation.state.flights.set(operation.key, flight)
  return flight
}

function start(operation: ComputeOperation): ValueFlight {
  const flight = enterLooking(operation)
  flight.start(land(operation, flight))
  return flight
}

/** The same for several keys, which look together. */
export function startTogether(operations: readonly ComputeOperation[], look: () => Promise<readonly (Found | undefined)[]>): ValueFlight[] {
  const flights = operations.map(enterLooking)
  const looking = look()
  flights.forEach((flight, at) => {
    const operation = operations[at] as ComputeOperation
    const gone = (error: unknown): never => {
      end(operation, flight)
      throw error
    }
    flight.start(looking.then((found) => landed(operation, flight, found[at]), gone))
  })
  return flights
}

/** Starts a flight that computes without a look: something is at hand, or whatever is there is not wanted. */
function startMaking(asked: ComputeOperation, isBackground: boolean, replaces?: EpochMs): ValueFlight {
  const operation = asked.forMaking(replaces)
  const flight = newFlight(operation)
  enterMaking(operation, flight, isBackground)
  // in a moment: the compute must not run before the flight can be joined
  flight.start(operation.engine.computing(Promise.resolve().then(() => compute(operation, flight))))
  return flight
}

/**
 * Finds the value or makes it, and ends the flight whatever happens. Not an async function: a hit in a tier that is waited for
 * is worth one promise, not five.
 */
function land(operation: ComputeOperation, flight: ValueFlight): Promise<unknown> {
  const goOn = (found: Found | undefined): Awaitable<unknown> => {
    // the compute must not run before the flight can be joined
    return flight.isStarted ? landed(operation, flight, found) : Promise.resolve(found).then(goOn)
  }
  try {
    return Promise.resolve(walkThen(operation, 0, goOn))
  } catch (error) {
    end(operation, flight)
    return Promise.reject(error)
  }
}

/** What was found decides. */
function landed(operation: ComputeOperation, flight: ValueFlight, found: Found | undefined): Awaitable<unknown> {
  if (found === undefined) return operation.engine.computing(shareOrCompute(operation, flight))
  if (!operation.isContentWith(found)) return operation.engine.computing(computeOrServe(operation, flight, found))
  try {
    return taken(operation, flight, found)
  } finally {
    end(operation, flight)
  }
}

/** The value that was found, which is served at once; what is old, or soon will be, is refreshed behind it. */
function taken(operation: ComputeOperation, flight: ValueFlight, found: Found): unknown {
  const { entry, isStale, slot, at } = found
  if (!isStale) promote(operation, found, flight.fence)
  flight.slot = slot
  flight.savedMicros = entry.computeMicros
  if (isStale) flight.stale = 'revalidate'
  if (isStale || isDueEarly(entry, operation.plan.freshness.beta, at)) requestRefresh(operation, { createdAt: entry.createdAt, isStale }, valueRefresh(operation))
  return entry.value
}

function end(operation: ComputeOperation, flight: ValueFlight): void {
  if (flight.plain > 0) countOutcome(operation, flight, flight.plain)
  operation.engine.agreement?.leave(operation)
  operation.state.landed(flight)
}

/** Nothing is at hand: what somebody makes already, or what the compute makes. */
async function shareOrCompute(operation: ComputeOperation, flight: ValueFlight): Promise<unknown> {
  const { engine, state, key } = operation
  const remembered = state.errors.of(key, engine.clock.now())
  const refreshing = state.refreshes.get(key)
  if (remembered === undefined && refreshing === undefined) return compute(operation, flight)
  try {
    if (remembered !== undefined) throw remembered.error
    return await outcomeOf(operation, flight, { making: refreshing as Flight }, flight.signal)
  } finally {
    end(operation, flight)
  }
}

/** A stale value is at hand: it is served when the compute fails or takes too long. */
async function computeOrServe(operation: ComputeOperation, flight: ValueFlight, stale: Found): Promise<unknown> {
  try {
    const result = await madeOrServed(operation, flight, {
      begin: () => startMaking(operation, false),
      outcome: (part, signal) => outcomeOf(operation, flight, part, signal),
      instead: () => stillServed(operation, flight, stale),
      inBackground: wholeInBackground,
    })
    return 'made' in result ? result.made : use(flight, result.served.found, result.reason)
  } finally {
    end(operation, flight)
  }
}

function use(flight: ValueFlight, { entry, slot, isStale }: Found, reason: StaleReason): unknown {
  flight.slot = slot
  flight.savedMicros = entry.computeMicros
  if (isStale) flight.stale = reason
  return entry.value
}

/** What may be served instead of what was to be computed: the stale value, or what is there where it was changed or removed meanwhile. */
async function stillServed(operation: ComputeOperation, { fence }: Flight, stale: Found): Promise<{ readonly found: Found } | undefined> {
  const { engine, state, key, plan } = operation
  const now = engine.clock.now()
  const isStillThere = now < stale.entry.keepUntil && operation.mayServeStale(stale.entry, now)
  const found = fence.broken ? await walk(new ReadOperation(engine, state, key, plan, 'value', false, true)) : isStillThere ? stale : undefined
  return found && { found }
}

/** What another flight makes goes on, as it was waited for: of a stream, its whole. */
function wholeInBackground(making: Flight): Promise<unknown> {
  const ended = making.inBackground()
  return making instanceof StreamFlight && making.whole !== undefined ? making.whole.inBackground() : ended
}

/**
 * What another flight makes, as a value. Where that leaves it out, or its beginning has passed and nothing was stored, one with this call's own function is
 * started; `part` says which is waited for.
 */
async function outcomeOf(operation: ComputeOperation, flight: ValueFlight, part: Part, signal: AbortSignal): Promise<unknown> {
  const { engine, state, key, plan } = operation
  const { making } = part
  const isStream = making instanceof StreamFlight
  const joined = isStream ? (making.whole ?? startWhole(state, making)) : making
  try {
    const { outcome, left } = joined.joinFrom(flight, signal, 'getOrCompute')
    const value = await outcome.finally(left)
    if (!isStream || value !== undefined) return value
    const reading = new ReadOperation(engine, state, key, plan, 'value', true)
    const found = await walk(reading)
    engine.agreement?.leave(reading)
    if (found !== undefined) return found.entry.value
  } catch (error) {
    if (!(error instanceof LeftOut) || operation.mayLeaveOut) throw error
  }
  const other = state.refreshes.get(key)
  part.making = other === undefined || other === making ? startMaking(operation, false) : other
  return outcomeOf(operation, flight, part, signal)
}

async function compute(operation: ComputeOperation, flight: ValueFlight): Promise<unknown> {
  try {
    return (await computed(operation, flight)).value
  } finally {
    end(operation, flight)
  }
}

function computed(operation: ComputeOperation, flight: ValueFlight): Promise<Value> {
  if (!flight.isMaking) flight.making(operation.engine.clock)
  return operation.engine.computePoint.run<Value>({
    flight,
    call: operation,
    policy: operation.plan.policy.name,
    hardTimeoutMs: operation.plan.freshness.hardTimeoutMs,
    timedOut: (error) => timedOut(operation, flight, error),
    make: () => make(operation, flight),
    look: async () => {
      const fresh = operation.forFresh()
      const found = await walk(fresh)
      return found !== undefined && fresh.isContentWith(found) ? { value: taken(operation, flight, found) } : undefined
    },
    stored: () => Promise.resolve(),
  })
}

/** A value that may be `undefined`. */
interface Value {
  readonly value: unknown
}

async function make(operation: ComputeOperation, flight: ValueFlight): Promise<Value> {
  const run = new ComputeRun(operation, flight)
  const value = await run.begin()
  run.ended()
  if (run.mayStore) await store(operation, run, value, flight.fence)
  return { value }
}

/** Somebody computes the key as a stream, and one compute is enough for both: what that gives as a value; where a tier had it, or its beginning has passed, what is found now. */
async function wholeOrNext(operation: ComputeOperation, streaming: StreamFlight, signal: AbortSignal | undefined): Promise<unknown> {
  const { engine, state, plan, span } = operation
  let bytes: Buffer | undefined
  try {
    const { outcome, left } = (streaming.whole ?? startWhole(state, streaming)).joinFrom(callingFlight(), signal, 'getOrCompute')
    bytes = await outcome.finally(left)
  } catch (error) {
    countOutcome(operation, undefined)
    engine.telemetry.endGet(span, undefined, { error })
    throw error
  }
  if (bytes === undefined) return getOrComputeInFlight(operation, signal)
  count(state.counters.coalesced, plan.policy.index)
  countOutcome(operation, undefined)
  engine.telemetry.endGet(span, undefined)
  return handOutAnyway(bytes, operation)
}

/** All bytes of a stream, as one of its callers, for all who want its value. */
function startWhole({ tenant }: TenantState, streaming: StreamFlight): Flight<Buffer | undefined> {
  const flight = new Flight<Buffer | undefined>(streaming.fence, { tenant, deserted: () => (streaming.whole = undefined) })
  streaming.whole = flight
  flight.start(wholeOf(streaming, flight))
  return flight
}

async function wholeOf(streaming: StreamFlight, flight: Flight): Promise<Buffer | undefined> {
  const { signal } = flight
  const joined = await joinStream(streaming, signal, flight, 'getOrCompute')
  if (joined === undefined || joined === 'passed') return undefined
  const { reader, opened } = joined
  const leave = (): void => void reader.return()
  if (opened.found !== undefined) {
    joined.left()
    leave()
    return undefined
  }
  const stop = onAbort(signal, leave) // the last one who waits for the value has left
  if (signal.aborted) leave()
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
function store(operation: ComputeOperation, run: ComputeRun<unknown>, value: unknown, fence: Fence): Awaitable<unknown> {
  const { engine, state, key, plan } = operation
  let snapshot: ValueSnapshot
  try {
    snapshot = new ValueSnapshot(operation, { value, ...run.wishes })
  } catch (error) {
    operation.report(error, 'encode')
    engine.warnOnce(`encode ${plan.policy.name}`, `a value computed for policy ${plan.policy.name} cannot be stored and is computed each time: ${messageOf(error)}`, { code: 'not-encodable', policy: plan.policy.name, tenant: state.tenant, key })
    return undefined
  }
  return fillEverywhere(operation, snapshot, fence)
}

/** What cannot be copied was not stored either (and that was reported): the callers get what was computed. */
function handOutAnyway(value: unknown, { engine }: ComputeOperation): unknown {
  try {
    return handOut(value, engine.isolation)
  } catch {
    return value
  }
}
