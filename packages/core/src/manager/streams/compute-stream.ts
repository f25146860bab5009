import { Readable } from 'node:stream'
import type { Span } from '@opentelemetry/api'
import { CacheError, type ValidKey } from '@thermocline/backend'
import { ComputeWishes, type ComputeContext } from '../../compute/compute-context.js'
import { abortable } from '../../compute/abort.js'
import { beginWaiting, callingFlight, Computing } from '../../compute/waiting.js'
import type { Plan } from '../../policies/policy.js'
import type { Engine } from '../engine.js'
import { countOutcome } from '../count-outcome.js'
import { count } from '../counters.js'
import { countCompute, type ReadFlight } from '../get-or-compute.js'
import type { TenantState } from '../tenant-state.js'
import { Terms, type EntryWishes } from '../terms.js'
import { bytesFrom, type ByteSource, type SourceChunks } from './bytes-from.js'
import { openStream } from './open-stream.js'
import { begin, joinOrStart, landed, type SharedOpened } from './read-stream.js'
import { SharedStream } from './shared-stream.js'
import { storedForm } from './stored-form.js'
import { after, goneMeanwhile, readableOf, StreamFlight } from './stream-flight.js'
import { abandoned } from './tier-sink.js'
import { drained, StreamedWrite } from './write-stream.js'

/** A function that makes a stream that was not found. */
export type Produce = (context: ComputeContext) => ByteSource | Promise<ByteSource>

/** What the first caller of a flight asked for. */
export interface StreamRequest {
  readonly key: ValidKey
  readonly plan: Plan
  readonly produce: Produce
  readonly wishes: EntryWishes
}

/** The verb `getOrComputeStream`: callers of one key share one download or one compute. */
export async function getOrComputeStream(engine: Engine, state: TenantState, request: StreamRequest, signal: AbortSignal | undefined): Promise<Readable> {
  const { key, plan } = request
  const caller = callingFlight()
  const span = engine.telemetry.startGet(key, state.tenant, plan.policy.name)
  let hit: string | undefined
  let failure: { error: unknown } | undefined
  try {
    for (;;) {
      const flight = state.flights.get(key)
      if (flight !== undefined) {
        // somebody computes the value as a whole: one compute is enough for both
        count(state.counters.coalesced, plan.policy.index)
        const left = beginWaiting(caller, flight, 'getOrComputeStream')
        const value = await flight.join(signal).finally(left)
        const { slot, savedMicros } = flight as Partial<ReadFlight>
        const bytes = Buffer.from(engine.codecs.encode(value, plan.policy.codec).bytes)
        countOutcome(engine, state, key, plan, slot, savedMicros)
        hit = slot?.tier.name
        return Readable.from([bytes], { objectMode: false })
      }
      const startUnlessOther = (): StreamFlight<SharedOpened> | undefined => (state.flights.has(key) ? undefined : start(engine, state, request, span))
      const running = state.streams.get(key) as StreamFlight<SharedOpened> | undefined
      const joined = await joinOrStart(state, running, startUnlessOther, signal, caller, 'getOrComputeStream')
      if (joined === undefined) continue // it was one that only looked, or the value is computed as a whole now
      const { found, codec } = joined.opened
      if (running !== undefined) count(state.counters.coalesced, plan.policy.index)
      countOutcome(engine, state, key, plan, found?.slot, found?.entry.computeMicros)
      hit = found?.slot.tier.name
      const readable = readableOf(joined.reader, codec, signal)
      if (found === undefined) readable.once('close', joined.left)
      else joined.left()
      return readable
    }
  } catch (error) {
    countOutcome(engine, state, key, plan, undefined)
    failure = { error }
    throw error
  } finally {
    engine.telemetry.endGet(span, hit, failure)
  }
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

function start(engine: Engine, state: TenantState, request: StreamRequest, span: Span): StreamFlight<SharedOpened> {
  const { key, plan } = request
  const flight = new StreamFlight<SharedOpened>(key, state.tenant, state.fences.open(key), true)
  state.streams.set(key, flight)
  flight.opened = openStream(engine, state, key, plan)
    .then((found) => (found === undefined ? produced(engine, state, request, flight, span) : begin(engine, state, key, plan, flight, found)))
    .catch((error: unknown) => {
      landed(state, flight)
      throw error
    })
  engine.computing(flight.opened).catch(() => undefined) // told to whoever is still there
  return flight
}

/** Makes the stream, shares it among the callers, and stores what passes. Its end is theirs once the tiers have it. */
async function produced(engine: Engine, state: TenantState, request: StreamRequest, flight: StreamFlight<SharedOpened>, span: Span): Promise<SharedOpened> {
  const { key, plan } = request
  const { fence } = flight
  const wishes = new ComputeWishes(key, state.tenant, flight)
  const startedAt = engine.clock.monotonic()
  const part = new Computing(flight)
  let chunks: SourceChunks
  try {
    chunks = bytesFrom(await part.run(() => engine.telemetry.compute(span, () => request.produce(wishes))), 'what produce returns')
  } catch (error) {
    part.end()
    throw error
  }
  let begin!: () => void // set by the promise below
  let terms: Terms | undefined
  const stream: SharedStream = new SharedStream(part.chunks(chunks), {
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
  void stream.ended.catch(() => undefined).then(() => part.end())
  const storing = new Promise<unknown>((resolve) => {
    const end = stream.ended.catch(() => undefined)
    // a generator has said nothing before its first chunk
    begin = () => {
      wishes.described()
      if (wishes.uncached || fence.broken || engine.stopped) return resolve(end)
      terms = termsOf(engine, request, wishes, engine.clock.monotonic() - startedAt)
      resolve(store(engine, state, key, plan, stream, terms, flight, wishes))
    }
    stream.ended.catch(() => resolve(undefined)) // perhaps before it has begun
  })
  engine.streams.add(stream)
  const stored: Promise<unknown> = storing.finally(() => {
    engine.streams.delete(stream)
    landed(state, flight)
  })
  void engine.computing(stored).catch(() => undefined)
  void stream.ended.then(() => countCompute(engine, state, { key, plan }, engine.clock.monotonic() - startedAt), () => undefined)
  const resume = (offset: number): AsyncIterable<Uint8Array> => after(offset, again(engine, state, key, plan, () => terms, stored))
  return { stream, stored, codec: 'buffer', found: undefined, patienceMs: OTHERS_WAIT_MS, resume }
}

/** What is known of the entry with its first chunk; how long the compute takes to its end is not. */
function termsOf(engine: Engine, { plan, wishes: given }: StreamRequest, wishes: ComputeWishes, untilFirstMs: number): Terms {
  return new Terms(engine.clock.now(), plan, {
    ttlMs: wishes.ttlMs ?? given.ttlMs,
    computeMicros: Math.round(untilFirstMs * 1000),
    tags: wishes.tags === undefined ? given.tags : [...(given.tags ?? []), ...wishes.tags],
    metadata: given.metadata,
  })
}

/** How long callers of a compute wait for one that does not read. */
const OTHERS_WAIT_MS = 5000

async function store(engine: Engine, state: TenantState, key: ValidKey, plan: Plan, stream: SharedStream, terms: Terms, { fence }: StreamFlight, wishes: ComputeWishes): Promise<void> {
  const { compression } = plan.policy
  const side = compression === undefined ? undefined : stream.join({ paces: false, patienceMs: OTHERS_WAIT_MS })
  let write: StreamedWrite | undefined
  try {
    // without compression at once: the tiers join at the beginning
    const form = compression === undefined ? { stream, codec: 'buffer' } : await storedForm(stream, side, compression, engine.clock)
    write = new StreamedWrite(engine, state, key, plan, stream, form, terms, fence)
    if (write.isEmpty) await side?.return()
    if (form.stream !== stream && !write.isEmpty) void drained(form.stream) // also when no tier reads it any more
    await Promise.all([stream.ended, form.stream === stream || write.isEmpty ? undefined : form.stream.ended])
    if (wishes.uncached) await write.abandon(abandoned())
    else await write.fill(fence)
  } catch (error) {
    await write?.abandon(abandoned(error))
    if (!stream.hasFailed) engine.report(error, { operation: 'stream', state, key }) // else its callers are told
  }
}

/** What was stored, for a caller who was left behind. */
async function* again(engine: Engine, state: TenantState, key: ValidKey, plan: Plan, termsOf: () => Terms | undefined, stored: Promise<unknown>): AsyncGenerator<Uint8Array, void, undefined> {
  await stored
  const found = await openStream(engine, state, key, plan)
  if (found === undefined || found.entry.createdAt !== termsOf()?.createdAt) {
    found?.payload.cancel()
    throw goneMeanwhile(key)
  }
  yield* readableOf(oneReader(engine, found.payload.chunks()), found.payload.codec, undefined) as AsyncIterable<Uint8Array>
}

function oneReader(engine: Engine, chunks: AsyncIterable<Uint8Array>): NonNullable<ReturnType<SharedStream['join']>> {
  return new SharedStream(chunks, { clock: engine.clock }).join({ paces: true, patienceMs: undefined }) as NonNullable<ReturnType<SharedStream['join']>>
}
