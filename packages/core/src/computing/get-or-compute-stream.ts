import { Readable } from 'node:stream'
import { CacheError, type ValidKey } from '@thermocline/backend'
import { ComputeWishes, type ComputeContext } from '../flights/compute-context.js'
import { abortable } from '../flights/abort.js'
import { callingFlight } from '../flights/waiting.js'
import { ComputeRun } from './compute-run.js'
import { countOutcome } from '../operation/count-outcome.js'
import { count } from '../state/counters.js'
import type { OperationHost } from '../operation/operation.js'
import { ValueFlight } from './get-or-compute.js'
import type { ComputeOperation } from '../operation/operation.js'
import type { TenantState } from '../state/tenant-state.js'
import { Terms } from '../operation/terms.js'
import { bytesFrom, type ByteSource, type SourceChunks } from '../streams/bytes-from.js'
import { abandoned } from '../tiers/held-back-put.js'
import { openStream } from '../streams/open-stream.js'
import { begin, joinStream } from '../streams/read-stream.js'
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
  const { engine, state, key, plan, span } = operation
  let hit: string | undefined
  let failure: { error: unknown } | undefined
  let passed: StreamFlight | undefined
  try {
    for (;;) {
      const running = state.flights.get(key) ?? state.downloads.get(key)
      if (running instanceof ValueFlight) {
        const { slot, bytes } = await ofValue(operation, running, signal)
        hit = slot?.tier.name
        return Readable.from([bytes], { objectMode: false })
      }
      const isJoined = running instanceof StreamFlight && running !== passed
      const flight = isJoined ? running : start(operation)
      const joined = await joinStream(flight, signal, callingFlight(), 'getOrComputeStream')
      if (joined === 'passed') passed = flight
      if (joined === undefined || joined === 'passed') continue // it was one that only looked
      const { found, codec } = joined.opened
      if (isJoined) count(state.counters.coalesced, plan.policy.index)
      countOutcome(operation, found?.slot, found?.entry.computeMicros)
      hit = found?.slot.tier.name
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
    engine.telemetry.endGet(span, hit, failure)
  }
}

/** Somebody computes the value as a whole, and one compute is enough for both: its bytes. */
async function ofValue(operation: ProduceOperation, flight: ValueFlight, signal: AbortSignal | undefined): Promise<{ slot: ValueFlight['slot']; bytes: Buffer }> {
  const { engine, state, plan } = operation
  count(state.counters.coalesced, plan.policy.index)
  const { outcome, left } = flight.joinFrom(callingFlight(), signal, 'getOrComputeStream')
  const value = await outcome.finally(left)
  const bytes = Buffer.from(engine.codecs.encode(value, plan.policy.codec).bytes)
  const { slot, savedMicros } = flight
  countOutcome(operation, slot, savedMicros)
  return { slot, bytes }
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
  const { engine, state, key } = operation
  const flight = new StreamFlight(state.fences.open(key), state)
  state.flights.set(key, flight)
  const landing = openOrMake(operation, flight).catch((error: unknown) => {
    state.landed(flight)
    throw error
  })
  flight.start(landing)
  engine.computing(landing).catch(() => undefined) // told to whoever is still there
  return flight
}

async function openOrMake(operation: ProduceOperation, flight: StreamFlight): Promise<OpenedStream> {
  const look = async (): Promise<OpenedStream | undefined> => {
    const found = await openStream(operation)
    return found && begin(operation, flight, found)
  }
  const found = await look()
  if (found !== undefined) return found
  let made: OpenedStream | undefined
  const make = async (): Promise<OpenedStream> => (made = await produced(operation, flight))
  try {
    return await operation.engine.computePoint.run<OpenedStream>({ flight, policy: operation.plan.policy.name, make, look, stored: ({ stored }) => stored ?? Promise.resolve() })
  } catch (error) {
    made?.stream.abort(error) // nobody gets it
    throw error
  }
}

/** Makes the stream, shares it among the callers, and stores what passes. Its end is theirs once the tiers have it. */
async function produced(operation: ProduceOperation, flight: StreamFlight): Promise<OpenedStream> {
  const { engine, state, key, plan } = operation
  const run = new ComputeRun(operation, flight)
  const source = await run.begin()
  let chunks: SourceChunks
  try {
    chunks = bytesFrom(source, 'what produce returns')
  } catch (error) {
    run.failed()
    throw error
  }
  let begin!: () => void // set by the promise below
  let terms: Terms | undefined
  const stream: SharedStream = new SharedStream(run.chunks(chunks), {
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
  void stream.ended.then(() => run.ended(), () => run.failed())
  const resume = (offset: number): AsyncIterable<Uint8Array> => after(offset, again(operation, () => terms, stored))
  return { stream, stored, codec: 'buffer', found: undefined, patienceMs: OTHERS_WAIT_MS, resume }
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
  const found = await openStream(operation)
  if (found === undefined || found.entry.createdAt !== termsOf()?.createdAt) {
    found?.payload.cancel()
    throw goneMeanwhile(operation.key)
  }
  yield* readableOf(operation, oneReader(operation.engine, found.payload.chunks()), found.payload.codec, undefined) as AsyncIterable<Uint8Array>
}

function oneReader(engine: OperationHost, chunks: AsyncIterable<Uint8Array>): NonNullable<ReturnType<SharedStream['join']>> {
  return new SharedStream(chunks, { clock: engine.clock }).join({ paces: true, patienceMs: undefined }) as NonNullable<ReturnType<SharedStream['join']>>
}
