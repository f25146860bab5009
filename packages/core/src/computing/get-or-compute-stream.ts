import { Readable } from 'node:stream'
import { CacheError, type EpochMs, type ValidKey } from '@thermocline/backend'
import { ComputeWishes, type ComputeContext } from '../flights/compute-context.js'
import { abortable } from '../flights/abort.js'
import type { Flight } from '../flights/flight.js'
import { limitedChunks } from '../flights/time-limit.js'
import { callingFlight, type Waiter } from '../flights/waiting.js'
import { madeOrServed, type Part } from './beside-stale.js'
import { LeftOut } from './compute-batch.js'
import { ComputeRun, timedOut } from './compute-run.js'
import { enterMaking, isDueEarly, requestRefresh, type RefreshSteps } from './refresh.js'
import { countOutcome, type Served } from '../operation/count-outcome.js'
import { count } from '../state/counters.js'
import { ReadOperation, type OperationHost } from '../operation/operation.js'
import { ValueFlight } from './get-or-compute.js'
import type { ComputeOperation } from '../operation/operation.js'
import type { TenantState } from '../state/tenant-state.js'
import { Terms } from '../operation/terms.js'
import { bytesFrom, type ByteSource, type SourceChunks } from '../streams/bytes-from.js'
import { abandoned } from '../tiers/held-back-put.js'
import { openStream, type FoundStream } from '../streams/open-stream.js'
import { begin, joinStream, startReading } from '../streams/read-stream.js'
import { SharedStream } from '../streams/shared-stream.js'
import { storedForm } from '../streams/stored-form.js'
import { after, goneMeanwhile, readableOf, StreamFlight, type OpenedStream } from '../streams/stream-flight.js'
import { drained, StreamedWrite } from '../streams/write-stream.js'

/** A function that makes a stream that was not found. */
export type Produce = (context: ComputeContext) => ByteSource | Promise<ByteSource>

/** A call of `getOrComputeStream`. */
export type ProduceOperation = ComputeOperation<ByteSource>

/** The verb `getOrComputeStream`: callers of one key share one download or one compute. */
export async function getOrComputeStream(operation: ProduceOperation, signal: AbortSignal | undefined): Promise<Readable> {
  const { engine, state, key, plan, span, isForced } = operation
  let served: Served | undefined
  let failure: { error: unknown } | undefined
  let passed: StreamFlight | undefined
  try {
    for (;;) {
      const isNew = isForced && passed === undefined // what it came too late for is new enough
      const running = isNew ? state.making(key) : (state.flights.get(key) ?? state.downloads.get(key))
      if (running instanceof ValueFlight) {
        const bytes = await ofValue(operation, running, callingFlight(), signal).catch(leftOutToNothing)
        if (bytes === undefined) continue
        countOutcome(operation, (served = running))
        return Readable.from([bytes], { objectMode: false })
      }
      const isJoined = running instanceof StreamFlight && running !== passed
      const flight = isJoined ? running : isNew ? startProducing(operation, false) : start(operation)
      const joined = await joinStream(flight, signal, callingFlight(), 'getOrComputeStream')
      if (joined === 'passed') passed = flight
      if (joined === undefined || joined === 'passed') continue // it was one that only looked
      const { found, codec, stale } = joined.opened
      if (isJoined) count(state.counters.coalesced, plan.policy.index)
      served = found && { slot: found.found.slot, savedMicros: found.found.savedMicros, stale }
      countOutcome(operation, served)
      const readable = readableOf(operation, joined.reader, codec, signal)
      if (found === undefined) readable.once('close', joined.left)
      else joined.left()
      return readable
    }
  } catch (error) {
    countOutcome(operation, undefined)
    failure = { error }
    throw error
  } finally {
    engine.telemetry.endGet(span, served, failure)
  }
}

/** Somebody computes the value as a whole, and one compute is enough for both: its bytes. */
async function ofValue(operation: ProduceOperation, flight: ValueFlight, caller: Waiter | undefined, signal: AbortSignal | undefined): Promise<Buffer> {
  const { engine, state, plan } = operation
  count(state.counters.coalesced, plan.policy.index)
  const { outcome, left } = flight.joinFrom(caller, signal, 'getOrComputeStream')
  const value = await outcome.finally(left)
  return Buffer.from(engine.codecs.encode(value, plan.policy.codec).bytes)
}

/** What others have left out this caller's own function may make. */
function leftOutToNothing(error: unknown): undefined {
  if (!(error instanceof LeftOut)) throw error
}

/** Only computes: for a cache that is closed or switched off. */
export async function justProduce(state: TenantState, key: ValidKey, produce: Produce, signal: AbortSignal | undefined): Promise<Readable> {
  const run = async (): Promise<ByteSource> => produce(new ComputeWishes(key, state.tenant, { signal: signal ?? new AbortController().signal }))
  const chunks = bytesFrom(await abortable(run(), signal), 'what produce returns')
  const readable = Readable.from(chunks, { objectMode: false })
  readable.on('error', () => undefined)
  readable.once('close', () => chunks.cancel())
  return readable
}

function start(operation: ProduceOperation): StreamFlight {
  const { state, key } = operation
  const flight = new StreamFlight(state.fences.open(key), state)
  state.flights.set(key, flight)
  return landing(operation, flight, openOrMake(operation, flight))
}

/** Starts a flight that makes the stream without a look: something is at hand, or whatever is there is not wanted. */
function startProducing(asked: ProduceOperation, isBackground: boolean, replaces?: EpochMs): StreamFlight {
  const operation = asked.forMaking(replaces)
  const { state, key } = operation
  const flight = new StreamFlight(state.fences.open(key), state)
  enterMaking(operation, flight, isBackground)
  return landing(operation, flight, Promise.resolve().then(() => made(operation, flight, true)))
}

function landing(operation: ProduceOperation, flight: StreamFlight, outcome: Promise<OpenedStream>): StreamFlight {
  const { engine, state } = operation
  const tidied = outcome.catch((error: unknown) => {
    engine.agreement?.leave(operation)
    state.landed(flight)
    throw error
  })
  flight.start(tidied)
  engine.computing(tidied).catch(() => undefined) // told to whoever is still there
  return flight
}

async function openOrMake(operation: ProduceOperation, flight: StreamFlight): Promise<OpenedStream> {
  const { engine, state, key } = operation
  const opened = await openStream(operation)
  if (opened !== undefined) {
    if (operation.isContentWith(opened.found)) return served(operation, flight, opened)
    opened.payload.cancel() // it is opened anew where it is needed: a compute may take long
    return makeOrServe(operation, flight)
  }
  const remembered = state.errors.of(key, engine.clock.now())
  if (remembered !== undefined) throw remembered.error
  const refreshing = state.refreshes.get(key)
  return refreshing === undefined ? made(operation, flight, false) : endsWith(operation, flight, await openedBy(operation, flight, { making: refreshing }, flight.signal))
}

/** What was found, which is served at once; what is old, or soon will be, is refreshed behind it. */
function served(operation: ProduceOperation, flight: StreamFlight, opened: FoundStream): OpenedStream {
  const { entry, isStale, at } = opened.found
  if (isStale || isDueEarly(entry, operation.plan.freshness.beta, at)) requestRefresh(operation, { createdAt: entry.createdAt, isStale }, streamRefresh(operation))
  return { ...begin(operation, flight, opened), stale: isStale ? 'revalidate' : undefined }
}

/** How a stream is refreshed in the background. */
function streamRefresh(operation: ProduceOperation): RefreshSteps {
  return {
    makeAnew: async (replaces) => {
      const flight = startProducing(operation, true, replaces)
      await readToEnd(await flight.inBackground())
      return !flight.fence.broken
    },
    adopt: async () => {
      const { engine, state, key, plan } = operation
      const opened = await startReading(new ReadOperation(engine, state, key, plan, 'stream', true)).join(undefined)
      if (opened !== undefined) await readToEnd(opened)
    },
  }
}

/** Reads a stream for those who store it, as one of its callers: others come and go. @throws what its source fails with */
async function readToEnd(opened: OpenedStream | undefined): Promise<void> {
  if (opened === undefined) return
  await drained(opened.stream, true)
  await opened.stream.ended
  await opened.stored
}

/** A stale value is at hand: it is served when the compute fails before its first chunk, or takes too long for that. */
async function makeOrServe(operation: ProduceOperation, flight: StreamFlight): Promise<OpenedStream> {
  const result = await madeOrServed(operation, flight, {
    begin: () => startProducing(operation, false),
    outcome: (part, signal) => openedBy(operation, flight, part, signal),
    instead: () => stillThere(operation),
    inBackground: ofWhole,
  })
  if ('made' in result) return endsWith(operation, flight, result.made)
  const { served, reason } = result
  return { ...begin(operation, flight, served), stale: served.found.isStale ? reason : undefined }
}

/** What may be served instead of what was to be made, as it is now: it may have been changed or removed meanwhile. */
async function stillThere({ engine, state, key, plan }: ProduceOperation): Promise<FoundStream | undefined> {
  const reading = new ReadOperation(engine, state, key, plan, 'stream', true, true)
  return openStream(reading).finally(() => engine.agreement?.leave(reading))
}

/** What another flight makes, as this one's stream; where that leaves it out, one with this call's own function is started, and `part` says so. */
async function openedBy(operation: ProduceOperation, flight: StreamFlight, part: Part, signal: AbortSignal): Promise<OpenedStream> {
  const { engine } = operation
  const { making } = part
  if (making instanceof ValueFlight) {
    const bytes = await ofValue(operation, making, flight, signal).catch(leftOutToNothing)
    if (bytes === undefined) {
      part.making = startProducing(operation, false)
      return openedBy(operation, flight, part, signal)
    }
    const chunks = async function* (): AsyncGenerator<Uint8Array> {
      yield bytes
    }
    const stream: SharedStream = new SharedStream(chunks(), { clock: engine.clock, deserted: () => stream.abort(abandoned()) })
    return { stream, codec: 'buffer', found: undefined, patienceMs: OTHERS_WAIT_MS, resume: (offset) => after(offset, chunks()) }
  }
  const { outcome, left } = making.joinFrom(flight, signal, 'getOrComputeStream')
  return (await outcome.finally(left)) as OpenedStream // what makes has always something
}

/** What another flight has made is this one's too: nobody joins it when that is stored. */
function endsWith(operation: ProduceOperation, flight: StreamFlight, opened: OpenedStream): OpenedStream {
  const { engine, state } = operation
  engine.agreement?.leave(operation)
  void Promise.resolve(opened.stored).finally(() => state.landed(flight)).catch(() => undefined)
  return opened
}

/** All of what a flight makes is there. */
async function ofWhole(making: Flight): Promise<void> {
  const opened = await making.inBackground()
  if (making instanceof StreamFlight) await readToEnd(opened as OpenedStream)
}

/** @param isPrimed whether it counts as made only when there is a first chunk */
async function made(operation: ProduceOperation, flight: StreamFlight, isPrimed: boolean): Promise<OpenedStream> {
  const { engine, plan } = operation
  if (!flight.isMaking) flight.making(engine.clock)
  let opened: OpenedStream | undefined
  const make = async (): Promise<OpenedStream> => (opened = await produced(operation, flight, isPrimed))
  const look = async (): Promise<OpenedStream | undefined> => {
    const fresh = operation.forFresh()
    const found = await openStream(fresh)
    if (found === undefined || fresh.isContentWith(found.found)) return found && begin(operation, flight, found)
    found.payload.cancel()
    return undefined
  }
  try {
    return await engine.computePoint.run<OpenedStream>({
      flight,
      call: operation,
      policy: plan.policy.name,
      hardTimeoutMs: plan.freshness.hardTimeoutMs,
      timedOut: (error) => timedOut(operation, flight, error),
      make,
      look,
      stored: ({ stored }) => stored ?? Promise.resolve(),
    })
  } catch (error) {
    opened?.stream.abort(error) // nobody gets it
    throw error
  }
}

/** Makes the stream, shares it among the callers, and stores what passes. Its end is theirs once the tiers have it. */
async function produced(operation: ProduceOperation, flight: StreamFlight, isPrimed: boolean): Promise<OpenedStream> {
  const { engine, state, key, plan } = operation
  const { hardTimeoutMs } = plan.freshness
  const run = new ComputeRun(operation, flight)
  const source = await run.begin()
  let chunks: SourceChunks
  let passing: AsyncIterable<Uint8Array>
  try {
    chunks = bytesFrom(source, 'what produce returns')
    const made = run.chunks(chunks)
    passing = await whileWaitedFor(flight, chunks, isPrimed || hardTimeoutMs !== undefined ? primed(made) : { chunks: made, ready: undefined })
    passing = limitedChunks(passing, {
      clock: engine.clock,
      flight,
      hardTimeoutMs,
      late: (error) => {
        timedOut(operation, flight, error)
        flight.giveUp(error)
        chunks.cancel()
      },
    })
  } catch (error) {
    run.failed(error)
    throw error
  }
  let begin!: () => void // set by the promise below
  let terms: Terms | undefined
  const stream: SharedStream = new SharedStream(passing, {
    clock: engine.clock,
    cancel: () => chunks.cancel(),
    begins: () => begin(),
    beforeEnd: () => stored,
    deserted: () => {
      const reason = new CacheError('failed', 'the last caller has left', { operation: 'stream', key })
      flight.abort(reason)
      stream.abort(reason)
    },
  })
  const storing = new Promise<unknown>((resolve) => {
    const end = stream.ended.catch(() => undefined)
    // a generator has said nothing before its first chunk
    begin = () => {
      run.described()
      if (!run.mayStore) return resolve(end)
      terms = new Terms(engine.clock.now(), plan, run.wishes)
      resolve(store(operation, stream, terms, flight, run))
    }
    stream.ended.catch(() => resolve(undefined)) // perhaps before it has begun
  })
  engine.streams.add(stream)
  const stored: Promise<unknown> = storing.finally(() => {
    engine.streams.delete(stream)
    state.landed(flight)
  })
  void engine.computing(stored).catch(() => undefined)
  void stream.ended.then(() => run.ended(), (error: unknown) => run.failed(error))
  const resume = (offset: number): AsyncIterable<Uint8Array> => after(offset, again(operation, () => terms, stored))
  return { stream, stored, codec: 'buffer', found: undefined, patienceMs: OTHERS_WAIT_MS, resume }
}

/** Chunks, and when they count as there. */
interface Ready {
  readonly chunks: AsyncIterable<Uint8Array>
  readonly ready: Promise<unknown> | undefined
}

/** Waits before callers have the stream. When they have all left, or it takes too long, the source is ended, and not waited for. */
async function whileWaitedFor(flight: StreamFlight, source: SourceChunks, { chunks, ready }: Ready): Promise<AsyncIterable<Uint8Array>> {
  const { signal } = flight
  try {
    signal.throwIfAborted()
    if (ready !== undefined) await abortable(ready, signal)
    return chunks
  } catch (error) {
    source.cancel()
    void chunks[Symbol.asyncIterator]().return?.().then(undefined, () => undefined)
    throw error
  }
}

/** The same chunks; ready when the first one, or the end, is there. */
function primed(source: AsyncIterable<Uint8Array>): Ready {
  const iterator = source[Symbol.asyncIterator]()
  const ready = iterator.next()
  ready.catch(() => undefined) // seen by whoever asks for the first chunk
  let first: Promise<IteratorResult<Uint8Array>> | undefined = ready
  const chunks = {
    [Symbol.asyncIterator]: () => ({
      next: () => {
        const step = first ?? iterator.next()
        first = undefined
        return step
      },
      return: () => iterator.return?.() ?? Promise.resolve({ done: true as const, value: undefined }),
    }),
  }
  return { chunks, ready }
}

/** How long callers of a compute wait for one that does not read. */
const OTHERS_WAIT_MS = 5000

async function store(operation: ProduceOperation, stream: SharedStream, terms: Terms, { fence }: StreamFlight, run: ComputeRun<ByteSource>): Promise<void> {
  const isPlain = operation.plan.policy.steps.length === 0
  const side = isPlain ? undefined : stream.join({ paces: false, patienceMs: OTHERS_WAIT_MS })
  let write: StreamedWrite | undefined
  try {
    // without steps at once: the tiers join at the beginning
    const form = isPlain ? { stream, codec: 'buffer' } : await storedForm(operation, stream, side)
    write = new StreamedWrite(operation, stream, form, terms, fence)
    if (write.isEmpty) await side?.return()
    if (form.stream !== stream && !write.isEmpty) void drained(form.stream) // also when no tier reads it any more
    await Promise.all([stream.ended, form.stream === stream || write.isEmpty ? undefined : form.stream.ended])
    if (run.isUncached) await write.abandon(abandoned())
    else await write.fill(fence)
  } catch (error) {
    await write?.abandon(abandoned(error))
    if (!stream.hasFailed) operation.report(error, 'stream') // else its callers are told
    await stream.ended.catch(() => undefined) // the compute goes on for its callers, and others share it
  }
}

/** What was stored, for a caller who was left behind. */
async function* again(operation: ProduceOperation, termsOf: () => Terms | undefined, stored: Promise<unknown>): AsyncGenerator<Uint8Array, void, undefined> {
  await stored
  const opened = await openStream(operation.again())
  if (opened === undefined || opened.found.entry.createdAt !== termsOf()?.createdAt) {
    opened?.payload.cancel()
    throw goneMeanwhile(operation.key)
  }
  yield* readableOf(operation, oneReader(operation.engine, opened.payload.chunks()), opened.payload.codec, undefined) as AsyncIterable<Uint8Array>
}

function oneReader(engine: OperationHost, chunks: AsyncIterable<Uint8Array>): NonNullable<ReturnType<SharedStream['join']>> {
  return new SharedStream(chunks, { clock: engine.clock }).join({ paces: true, patienceMs: undefined }) as NonNullable<ReturnType<SharedStream['join']>>
}
