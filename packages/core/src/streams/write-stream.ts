import { CacheEntry, Invalidation, type Awaitable } from '@thermocline/backend'
import type { Fence } from '../flights/fence.js'
import { onAbort } from '../flights/abort.js'
import type { Slot } from '../policies/policy.js'
import type { NotApplied } from '../tiers/outcome.js'
import type { Tier } from '../tiers/tier.js'
import { noteHeldNowhere } from '../writing/held-nowhere.js'
import { InvalidationUnderWay } from '../invalidation/invalidate.js'
import type { Operation } from '../operation/operation.js'
import { Terms, type EntryWishes } from '../operation/terms.js'
import { abandonQueue, enterIfKept, noted, settled, type Step } from '../writing/write.js'
import type { PreparedWrites } from '../write-back/write-back.js'
import type { SourceChunks } from './bytes-from.js'
import { CopyPut } from './copy-put.js'
import { abandoned } from '../tiers/held-back-put.js'
import { SharedStream } from './shared-stream.js'
import { storedForm, type StoredForm } from './stored-form.js'
import { mostOfStream, TierSink } from './tier-sink.js'

const HINT = 'Let the policy use a tier that takes streams, such as a disk or a bucket, or raise its limit (maxPayloadBytes, maxBytes); memory and Redis take streams of up to 8 MiB'

/**
 * The tiers that a stream is written to: those that take it as it passes, and those that are given it from the durable tier above once
 * that has it, because they want to know length and checksum beforehand.
 */
export class StreamedWrite {
  readonly #operation: Operation
  readonly #terms: Terms
  readonly #sinks = new Map<Slot, TierSink>()
  readonly #spooled = new Map<Slot, Slot>()
  readonly #source: SharedStream
  readonly #stream: SharedStream
  #queue: PreparedWrites | undefined
  readonly #keeper: Slot | undefined
  /** What the journal has no room for; its copy goes when the put that makes it has ended. */
  #refused: PreparedWrites | undefined

  /**
   * @param source the stream as it came, before it was compressed
   * @param fence for a compute; a set has none, and waits for each tier as long as its put makes progress
   */
  constructor(operation: Operation, source: SharedStream, { stream, codec }: StoredForm, terms: Terms, fence: Fence | undefined) {
    const { engine, state, key, plan } = operation
    this.#operation = operation
    this.#terms = terms
    this.#source = source
    this.#stream = stream
    this.#queue = engine.writeBack.prepare(state, key, plan, 0, (slot) => (terms.livesIn(slot) ? { expiresAt: terms.expiresAt(slot) } : undefined))
    this.#keeper = this.#queue?.keeper
    for (const [at, slot] of plan.slots.entries()) {
      if (!terms.livesIn(slot) || this.#queue?.slots.has(slot) === true) continue
      const spool = slot.tier.capabilities.plain === undefined ? undefined : plan.slots.slice(0, at).find((above) => this.#canSpool(above))
      if (spool !== undefined) {
        this.#spooled.set(slot, spool)
        continue
      }
      const sink = TierSink.open(operation, stream, {
        slot,
        fields: terms.fieldsFor(slot),
        keepUntil: terms.keepUntil(slot, engine.clock.now()),
        onlyIfAbsent: false,
        belief: operation.beliefOf(),
        payload: { codec, byteLength: undefined, crc32: undefined },
        fence,
        patienceMs: fence === undefined ? undefined : slot.tier.budgetMs,
        journal: slot === this.#queue?.keeper ? this.#queue.first : undefined,
        grown: slot === this.#queue?.keeper ? (bytes) => this.#makeRoom(bytes) : undefined,
      })
      if (sink !== undefined) this.#sinks.set(slot, sink)
    }
  }

  /** Whether no tier takes it as it passes. */
  get isEmpty(): boolean {
    return this.#sinks.size === 0
  }

  /** Everything has passed: each tier stores it or loses the key, as for a set that is called now. False when it is too large for all of them. */
  async set(): Promise<boolean> {
    const { engine, state, key, plan } = this.#operation
    this.#makeRoom(this.#stream.bytes) // the disk may not have read all of it yet
    const underWay = new InvalidationUnderWay(engine, state, Invalidation.ofKey(key))
    this.#queue?.register()
    this.#refused?.register()
    const steps: Step[] = []
    const outcomes = new Map<Slot, Awaitable<unknown>>()
    for (const slot of plan.slots) {
      if (this.#queue?.slots.has(slot) === true) continue
      const outcome = this.#setOne(slot, outcomes)
      outcomes.set(slot, outcome)
      steps.push({ tier: slot.tier, outcome })
    }
    for (const tier of plan.leftOut) steps.push({ tier, outcome: tier.queues.delete(state.scope, key) })
    const settling = settled(this.#operation, steps, {
      underWay,
      queue: this.#queue,
      entryOf: (slot) => CacheEntry.head(this.#terms.fieldsFor(slot)),
      through: (slot, fence) => this.#through(slot, fence),
      heldNowhere: () => this.#noteHeldNowhere('set'),
    })
    return settling.finally(() => this.#removeRefused())
  }

  /** Everything has passed: each tier stores it, unless an invalidation has come since the fence was opened. */
  async fill(fence: Fence): Promise<void> {
    const operation = this.#operation
    const { engine, state, key, plan } = operation
    this.#makeRoom(this.#stream.bytes)
    if (!fence.broken) for (const queue of [this.#queue, this.#refused]) queue?.register()
    const outcomes = new Map<Slot, Awaitable<boolean | NotApplied>>()
    const noting: Promise<void>[] = fence.broken ? [] : [engine.writeBack.outdate(state, key) ?? Promise.resolve()]
    const kept: Awaitable<unknown>[] = this.#queue === undefined ? [] : [true]
    for (const slot of plan.slots) {
      if (this.#terms.ttlFor(slot) === 0) {
        noting.push(noted(operation, slot.tier, slot.tier.queues.deleteUnlessBroken(state.scope, key, fence)) ?? Promise.resolve())
        continue
      }
      if (this.#queue?.slots.has(slot) === true) continue
      const filled = this.#fillOne(slot, outcomes, fence)
      if (this.#terms.livesIn(slot)) kept.push(filled)
      if (filled === undefined) continue
      outcomes.set(slot, filled)
      const queue = slot === this.#queue?.keeper ? this.#queue : undefined
      const outcome = queue === undefined ? filled : enterIfKept(operation, queue, filled, CacheEntry.head(this.#terms.fieldsFor(slot)), fence, (each) => this.#through(each, fence))
      noting.push(noted(operation, slot.tier, outcome) ?? Promise.resolve())
    }
    if (this.#queue !== undefined && !outcomes.has(this.#queue.keeper)) await this.#queue.abandon()
    for (const tier of plan.leftOut) noting.push(noted(operation, tier, tier.queues.deleteUnlessBroken(state.scope, key, fence)) ?? Promise.resolve())
    await Promise.all(noting).finally(() => this.#removeRefused())
    if (kept.length > 0 && (await Promise.all(kept)).every((outcome) => outcome === false)) this.#noteHeldNowhere('put')
  }

  /** As for values: told where it is larger than all tiers take of a stream. */
  #noteHeldNowhere(verb: 'set' | 'put'): boolean {
    const [source, stored] = [this.#source.bytes, this.#stream.bytes]
    // a tier of values is given it unpacked
    const sizeIn = (tier: Tier): { bytes: number; most: number } => ({ bytes: tier.capabilities.keeps === 'value' ? source : stored, most: mostOfStream(tier) })
    return noteHeldNowhere(this.#operation, verb, { terms: this.#terms, what: 'a stream', bytes: source, sizeIn, hint: HINT })
  }

  /** Nothing is stored, and nothing changes. */
  async abandon(error: unknown): Promise<void> {
    await Promise.all([...this.#sinks.values()].map((sink) => sink.abandon(error)))
    await this.#queue?.abandon()
    await this.#refused?.abandon()
  }

  async #removeRefused(): Promise<void> {
    if (this.#refused !== undefined) await abandonQueue(this.#operation, this.#refused)
  }

  /** What the journal has no room for is written through, from the disk once that has it. */
  #makeRoom(bytes: number): void {
    const queue = this.#queue
    if (queue === undefined || queue.grow(bytes)) return
    this.#queue = undefined
    this.#refused = queue
    for (const slot of queue.slots) if (slot.tier.capabilities.streams) this.#spooled.set(slot, queue.keeper)
  }

  #setOne(slot: Slot, outcomes: ReadonlyMap<Slot, Awaitable<unknown>>): Awaitable<unknown> {
    const { state, key } = this.#operation
    const { queues } = slot.tier
    const sink = this.#sinks.get(slot)
    if (sink !== undefined) return sink.set()
    const spool = this.#spooled.get(slot)
    if (spool === undefined) return queues.delete(state.scope, key)
    return new CopyPut(this.#operation, spool, slot, this.#terms, Promise.resolve(outcomes.get(spool))).set()
  }

  #fillOne(slot: Slot, outcomes: ReadonlyMap<Slot, Awaitable<unknown>>, fence: Fence): Awaitable<boolean | NotApplied> | undefined {
    const sink = this.#sinks.get(slot)
    if (sink !== undefined) return sink.fill(fence)
    const spool = this.#spooled.get(slot)
    if (spool === undefined || slot.tier.breaker.isOpen('write')) return undefined
    return new CopyPut(this.#operation, spool, slot, this.#terms, Promise.resolve(outcomes.get(spool))).fill(fence)
  }

  /** Writes through what was to be written back, from the durable tier above that has it. */
  #through(slot: Slot, fence: Fence): Awaitable<boolean | NotApplied> {
    const keeper = this.#keeper
    if (keeper === undefined || !slot.tier.capabilities.streams) return false
    return new CopyPut(this.#operation, keeper, slot, this.#terms, Promise.resolve()).fill(fence)
  }

  #canSpool({ tier, write }: Slot): boolean {
    const { durable, streams, plain } = tier.capabilities
    return write === 'through' && durable && streams && plain === undefined && !tier.breaker.isOpen('write')
  }
}

/** The verb `setStream`; false when no tier takes so much. It takes its place in the order of calls when its source has ended: until then it only reads. */
export async function setStream(operation: Operation, source: SourceChunks, wishes: EntryWishes, signal: AbortSignal | undefined): Promise<boolean> {
  const { engine, plan } = operation
  const stream = new SharedStream(source, { clock: engine.clock, cancel: () => source.cancel() })
  const side = plan.policy.steps.length === 0 ? undefined : stream.join({ paces: false, patienceMs: undefined })
  const drain = drained(stream)
  const stop = signal === undefined ? undefined : onAbort(signal, () => stream.abort(signal.reason))
  if (signal?.aborted === true) stream.abort(signal.reason)
  engine.streams.add(stream)
  let write: StreamedWrite | undefined
  try {
    const form = await storedForm(operation, stream, side)
    write = new StreamedWrite(operation, stream, form, new Terms(engine.clock.now(), plan, wishes), undefined)
    if (form.stream !== stream) void drained(form.stream)
    await drain
    await Promise.all([stream.ended, form.stream.ended])
  } catch (error) {
    await write?.abandon(abandoned(error))
    throw error
  } finally {
    stop?.()
    engine.streams.delete(stream)
  }
  return write.set()
}

/**
 * Reads everything, so that a stream goes on when no tier takes it.
 *
 * @param paces as a caller does, who is waited for. Default: as a tier on the side
 */
export async function drained(stream: SharedStream, paces = false): Promise<void> {
  const reader = stream.join({ paces, patienceMs: undefined })
  try {
    while (reader !== undefined && (await reader.next()).done !== true);
  } catch {
    // told by the stream itself
  }
}
