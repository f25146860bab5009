import { messageOf, type Awaitable, type ValidKey } from '@thermocline/backend'
import { handOut } from '../codec/isolate.js'
import { abortable, onAbort } from '../flights/abort.js'
import { ComputeWishes, type Compute } from '../flights/compute-context.js'
import type { Fence } from '../flights/fence.js'
import { Flight } from '../flights/flight.js'
import { callingFlight, type Waiter } from '../flights/waiting.js'
import type { Slot } from '../policies/policy.js'
import { NO_SPAN } from '../telemetry/telemetry.js'
import { ComputeRun } from './compute-run.js'
import { countOutcome } from '../operation/count-outcome.js'
import { count } from '../state/counters.js'
import type { ComputeOperation } from '../operation/operation.js'
import { promote } from '../promotion/promote.js'
import { walk, walkThen } from '../reading/walk.js'
import { joinStream } from '../streams/read-stream.js'
import { StreamFlight } from '../streams/stream-flight.js'
import type { TenantState } from '../state/tenant-state.js'
import type { Found } from '../operation/found.js'
import { fillEverywhere, ValueSnapshot } from '../writing/write.js'

/** A flight that looks for the value and, where it is not found, computes it; the outcome is the value. */
export class ValueFlight extends Flight {
  /** Where the value was found; `undefined`: it was computed. */
  slot: Slot | undefined = undefined
  /** What computing it had cost. */
  savedMicros = 0
  /** Callers that get the outcome itself. They are counted together, when it is known. */
  plain = 0
}

/** The long way of getOrCompute: joins the key's flight or starts it. Each caller counts one hit or one miss. */
export function getOrComputeInFlight(operation: ComputeOperation, signal: AbortSignal | undefined): Promise<unknown> {
  const { engine, state, key, plan } = operation
  const running = state.flights.get(key)
  if (running instanceof StreamFlight) return wholeOrNext(operation, running, signal)
  const isJoined = running instanceof ValueFlight
  if (isJoined) count(state.counters.coalesced, plan.policy.index)
  const flight = isJoined ? running : start(operation)
  const caller = callingFlight()
  if (caller === undefined && signal === undefined && operation.span === NO_SPAN && engine.isolation === 'share') {
    flight.plain++
    return flight.join(undefined)
  }
  return handedOut(operation, flight, caller, signal)
}

/** The outcome as one caller is to have it, counted and told. */
async function handedOut(operation: ComputeOperation, flight: ValueFlight, caller: Waiter | undefined, signal: AbortSignal | undefined): Promise<unknown> {
  const { engine, span } = operation
  try {
    const { outcome, left } = flight.joinFrom(caller, signal, 'getOrCompute')
    const value = await outcome.finally(left)
    countOutcome(operation, flight.slot, flight.savedMicros)
    engine.telemetry.endGet(span, flight.slot?.tier.name)
    return handOutAnyway(value, operation)
  } catch (error) {
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

function start(operation: ComputeOperation): ValueFlight {
  const { state, key } = operation
  const flight = new ValueFlight(state.fences.open(key), state)
  state.flights.set(key, flight) // before anything of the caller's runs
  flight.start(land(operation, flight))
  return flight
}

/**
 * Finds the value or makes it, and ends the flight whatever happens. Not an async function: a hit in a tier that is waited for
 * is worth one promise, not five.
 */
function land(operation: ComputeOperation, flight: ValueFlight): Promise<unknown> {
  const goOn = (found: Found | undefined): Awaitable<unknown> => {
    // the compute must not run before the flight can be joined
    if (!flight.isStarted) return Promise.resolve(found).then(goOn)
    if (found === undefined) return operation.engine.computing(compute(operation, flight))
    try {
      return taken(operation, flight, found)
    } finally {
      end(operation, flight)
    }
  }
  try {
    return Promise.resolve(walkThen(operation, 0, goOn))
  } catch (error) {
    end(operation, flight)
    return Promise.reject(error)
  }
}

/** The value that was found. */
function taken(operation: ComputeOperation, flight: ValueFlight, found: Found): unknown {
  promote(operation, found, flight.fence)
  flight.slot = found.slot
  flight.savedMicros = found.entry.computeMicros
  return found.entry.value
}

function end(operation: ComputeOperation, flight: ValueFlight): void {
  countOutcome(operation, flight.slot, flight.savedMicros, flight.plain)
  operation.state.landed(flight)
}

async function compute(operation: ComputeOperation, flight: ValueFlight): Promise<unknown> {
  try {
    const made = await operation.engine.computePoint.run<Value>({
      flight,
      policy: operation.plan.policy.name,
      make: () => make(operation, flight),
      look: async () => {
        const found = await walk(operation)
        return found && { value: taken(operation, flight, found) }
      },
      stored: () => Promise.resolve(),
    })
    return made.value
  } finally {
    end(operation, flight)
  }
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
