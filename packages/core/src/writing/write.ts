import { types } from 'node:util'
import {
  asCacheError,
  CacheEntry,
  CacheError,
  estimateBytes,
  Invalidation,
  isPromise,
  messageOf,
  NO_VALUE,
  type Awaitable,
  type EncodedPayload,
} from '@thermocline/backend'
import { isToBePacked } from '../codec/payloads.js'
import { cloneValue, takeIn } from '../codec/isolate.js'
import type { Fence } from '../flights/fence.js'
import type { Slot } from '../policies/policy.js'
import { NotApplied } from '../tiers/outcome.js'
import type { Tier } from '../tiers/tier.js'
import { noteHeldNowhere } from './held-nowhere.js'
import { InvalidationUnderWay, noteFailure, notRecorded } from '../invalidation/invalidate.js'
import type { OperationHost, Operation } from '../operation/operation.js'
import { Terms, type EntryWishes } from '../operation/terms.js'
import type { Belongs, QueuedWrites } from '../write-back/write-back.js'

/** What is to be stored, and the call's wishes. */
export interface Storable extends EntryWishes {
  readonly value: unknown
  /** Instead of terms that begin now. */
  readonly terms?: Terms | undefined
}

/** A value as it was when it was given: later changes to the caller's object change nothing of it. */
export class ValueSnapshot {
  readonly terms: Terms
  /** The bytes as the codec made them. */
  readonly encoded: EncodedPayload | undefined
  /** Resolves when the bytes that tiers are given are packed; `undefined`: they are given as they are. */
  readonly ready: Promise<void> | undefined
  readonly #live: unknown
  #forValues: CacheEntry | undefined
  readonly #forBytes: CacheEntry[] = []
  /** The bytes that tiers are given, once they are packed. */
  #packed: EncodedPayload | undefined

  /** @throws CacheError `not-encodable` when a tier of the plan needs bytes and the codec refuses the value */
  constructor(operation: Operation, item: Storable) {
    const { engine, plan } = operation
    const { codec, steps } = plan.policy
    this.terms = item.terms ?? new Terms(engine.clock.now(), plan, item)
    const goesAsBytes = plan.slots.some((slot) => slot.tier.capabilities.keeps === 'bytes')
    if (goesAsBytes || codec !== undefined) this.encoded = engine.codecs.encode(item.value, codec)
    this.#packed = this.encoded
    if (plan.slots.some((slot) => slot.tier.capabilities.keeps === 'value')) this.#live = this.#takeLive(engine, item.value)
    if (goesAsBytes && this.encoded !== undefined && isToBePacked(steps, this.encoded.bytes.byteLength)) this.ready = this.#pack(operation, this.encoded)
  }

  /** Of the payload, before it is compressed: an estimate where no tier needs bytes. */
  get bytes(): number {
    return this.encoded?.bytes.byteLength ?? estimateBytes(this.#live)
  }

  readonly what = 'a value'
  readonly hint = 'Raise the limit of a tier (maxPayloadBytes, maxBytes), or let the policy use one without'

  /** How {@link noteHeldNowhere} asks. */
  readonly sizeIn = (tier: Tier): { bytes: number; most: number } => ({ bytes: this.bytes, most: tier.maxPayloadBytes })

  /** The entry as one slot stores it. Slots with the same time to live share one entry per view. */
  entryFor(slot: Slot): CacheEntry {
    const expiresAt = this.terms.expiresAt(slot)
    if (slot.tier.capabilities.keeps === 'value') {
      if (this.#forValues?.expiresAt !== expiresAt) this.#forValues = new CacheEntry(this.#live, this.encoded, this.terms.fieldsFor(slot))
      return this.#forValues
    }
    let entry = this.#forBytes.find((made) => made.expiresAt === expiresAt)
    if (entry === undefined) this.#forBytes.push((entry = new CacheEntry(NO_VALUE, this.#packed, this.terms.fieldsFor(slot))))
    return entry
  }

  /** Whether the slot is to hold it, now or in a while: with a life, and not too large as far as that is known. */
  belongsIn(slot: Slot): boolean {
    return this.terms.livesIn(slot) && (this.ready !== undefined || slot.tier.takes(this.encoded?.bytes.byteLength ?? 0))
  }

  /** How {@link WriteBack.queue} asks. */
  readonly belongs: Belongs = (slot) => (this.belongsIn(slot) ? { expiresAt: this.terms.expiresAt(slot) } : undefined)

  /** What must not be stored as it is and cannot be packed is left without bytes, which no tier takes. */
  async #pack(operation: Operation, encoded: EncodedPayload): Promise<void> {
    let packed: EncodedPayload | undefined
    try {
      packed = await operation.engine.payloads.pack(encoded, operation.plan.policy.steps, operation.place)
    } catch (error) {
      operation.report(error, 'encode')
    }
    this.#packed = packed
    for (const entry of this.#forBytes) entry.encoded = packed
  }

  #takeLive(engine: OperationHost, value: unknown): unknown {
    try {
      // bytes are taken out of the caller's reach, and out of the reach of whoever gets them while a slower tier still writes
      return this.encoded !== undefined && types.isUint8Array(value) ? cloneValue(value) : takeIn(value, engine.isolation)
    } catch (cause) {
      throw new CacheError('not-encodable', `the value cannot be taken in for isolation '${engine.isolation}': ${messageOf(cause)}`, { operation: 'encode', cause })
    }
  }
}

/** Carries out a `set`: each tier that the plan concerns stores the value or loses the key. False when it is too large for all of them. */
export async function setEverywhere(operation: Operation, snapshot: ValueSnapshot): Promise<boolean> {
  const { engine, state, key, plan } = operation
  const underWay = new InvalidationUnderWay(engine, state, Invalidation.ofKey(key), { isAtOnce: true })
  const queue = engine.writeBack.queue(state, key, plan, snapshot.encoded?.bytes.byteLength ?? 0, snapshot.belongs)
  const announces = operation.isShared ? engine.agreement?.announcement(state.scope, Invalidation.ofKey(key)) : undefined
  const belief = operation.beliefOf()
  const steps: Step[] = []
  for (const slot of plan.slots) {
    if (queue?.slots.has(slot) === true) continue
    const { tier } = slot
    if (!snapshot.belongsIn(slot)) steps.push({ tier, outcome: tier.queues.delete(state.scope, key) })
    else {
      const entry = snapshot.entryFor(slot)
      const journal = slot === queue?.keeper ? queue.first : undefined
      const options = { onlyIfAbsent: false, keepUntil: snapshot.terms.keepUntil(slot, engine.clock.now()), journal, announces, belief }
      steps.push({ tier, outcome: tier.queues.set(state.scope, key, entry, options, readyFor(tier, snapshot)) })
    }
  }
  for (const tier of plan.leftOut) steps.push({ tier, outcome: tier.queues.delete(state.scope, key) })
  return settled(operation, steps, {
    underWay,
    queue,
    entryOf: (slot) => snapshot.entryFor(slot),
    through: (slot, fence) => fillNow(operation, slot, snapshot, fence),
    heldNowhere: () => noteHeldNowhere(operation, 'set', snapshot),
  })
}

/** What a set has asked of one tier. */
export interface Step {
  readonly tier: Tier
  readonly outcome: Awaitable<unknown>
}

/** What else a set has begun. */
export interface SetUnderWay {
  readonly underWay: InvalidationUnderWay
  readonly queue: QueuedWrites | undefined
  readonly entryOf: (slot: Slot) => CacheEntry
  /** Writes a slot through that was to be written back. */
  readonly through: (slot: Slot, fence: Fence) => Awaitable<boolean | NotApplied>
  /** To be called when no tier holds it, and none has failed: whether it is too large for all of them, which is told then. */
  readonly heldNowhere: () => boolean
}

/** Waits for what a set has asked of the tiers, and sees to what is to be written back. False when it is too large for all tiers. @throws CacheError `not-recorded` */
export async function settled(operation: Operation, steps: readonly Step[], { underWay, queue, entryOf, through, heldNowhere }: SetUnderWay): Promise<boolean> {
  const { engine, state, key } = operation
  const lost: CacheError[] = []
  let left: readonly CacheError[] = []
  let isKept = false
  let isHeldOrFailed = queue !== undefined
  try {
    for (const { tier, outcome } of steps) {
      const answer = isPromise(outcome) ? await timed(engine, tier, outcome) : outcome
      if (answer instanceof NotApplied) noteFailure(engine, state, key, 'set', tier, answer, lost)
      if (answer === true || (answer instanceof NotApplied && answer.error !== undefined)) isHeldOrFailed = true
      if (tier === queue?.keeper.tier) isKept = answer === true
    }
    if (queue !== undefined) {
      const answer = isKept ? await entered(operation, queue, entryOf(queue.keeper)) : 'no'
      if (answer !== 'yes') await giveUp(operation, queue, lost, answer === 'through' ? through : undefined)
    }
    const going = underWay.gone()
    left = isPromise(going) ? await going : going
    const telling = engine.agreement?.after(state, Invalidation.ofKey(key), steps.map(({ tier }) => tier))
    if (telling !== undefined) await telling
  } finally {
    underWay.end()
  }
  const isTooLarge = !isHeldOrFailed && heldNowhere()
  if (lost.length + left.length > 0) throw notRecorded('set', state, key, lost, left)
  return !isTooLarge
}

/** Whether what is to be written back has all its copies; `through`: it has not, and that was soon known. What went wrong is the journal's matter, not the tier's. */
async function entered(operation: Operation, queue: QueuedWrites, entry: CacheEntry): Promise<'yes' | 'no' | 'through'> {
  const { engine, state, key } = operation
  const { tier } = queue.keeper
  try {
    await queue.enter(entry)
    return 'yes'
  } catch (thrown) {
    const error = asCacheError(thrown, { operation: 'write-back', backend: tier.backend.name, tenant: state.tenant, key })
    engine.warnOnce(`${tier.name} ${error.code}`, `the journal of write-back takes no copies, and what is to be written back is written through or deleted in the slow tier: ${error.message}`)
    operation.report(error, 'write-back', tier)
    return error.code === 'timeout' || error.code === 'circuit-open' ? 'no' : 'through'
  }
}

/** Nothing is written back. A put that hangs is not waited for twice: the removal of its copy is owed then. */
export async function abandonQueue({ state, key }: Operation, queue: QueuedWrites): Promise<void> {
  const done = queue.abandon()
  if (queue.keeper.tier.queues.suspicionOf(state.scope, key) === undefined) await done
}

/** What was to be written back has no copy: it is written through, unless something newer was called; where that fails the key is deleted there. */
async function giveUp(operation: Operation, queue: QueuedWrites, lost: CacheError[], through: SetUnderWay['through'] | undefined): Promise<void> {
  const { engine, state, key } = operation
  const left: Tier[] = []
  for (const slot of queue.slots) {
    const fence = queue.fenceOf(slot)
    const written = through === undefined || fence.broken ? undefined : await through(slot, fence)
    if (written instanceof NotApplied && written.error !== undefined) operation.report(written.error, 'set', slot.tier)
    if (written !== true) left.push(slot.tier)
  }
  await abandonQueue(operation, queue)
  for (const tier of left) {
    const outcome = await tier.queues.delete(state.scope, key)
    if (outcome instanceof NotApplied) noteFailure(engine, state, key, 'set', tier, outcome, lost)
  }
}

/** Stores a value in one slot, unless the fence is broken. */
function fillNow(operation: Operation, slot: Slot, snapshot: ValueSnapshot, fence: Fence): Awaitable<boolean | NotApplied> {
  const { engine, state, key, line } = operation
  const entry = snapshot.entryFor(slot)
  return slot.tier.queues.fill(state.scope, key, entry, { onlyIfAbsent: false, keepUntil: snapshot.terms.keepUntil(slot, engine.clock.now()), lease: line, belief: operation.beliefOf() }, fence, readyFor(slot.tier, snapshot))
}

/** What a tier waits for before it takes the snapshot's bytes. */
function readyFor(tier: Tier, { ready }: ValueSnapshot): Promise<void> | undefined {
  return tier.capabilities.keeps === 'bytes' ? ready : undefined
}

/** Stores a computed value where the plan says, unless an invalidation has come since the fence was opened. */
export function fillEverywhere(operation: Operation, snapshot: ValueSnapshot, fence: Fence): Awaitable<unknown> {
  const { engine, state, key, plan } = operation
  const queue = fence.broken ? undefined : engine.writeBack.queue(state, key, plan, snapshot.encoded?.bytes.byteLength ?? 0, snapshot.belongs)
  let waits: Promise<unknown> | undefined = fence.broken ? undefined : engine.writeBack.outdate(state, key)
  const outcomes: Awaitable<unknown>[] = queue === undefined ? [] : [true]
  for (const slot of plan.slots) {
    if (queue?.slots.has(slot) === true) continue
    const filled = fillOne(operation, slot, snapshot, fence, slot === queue?.keeper ? queue : undefined, outcomes)
    if (filled !== undefined) waits = waits === undefined ? filled : Promise.all([waits, filled])
  }
  // a tier that the call left out was not asked; what it may hold is older than what was just computed
  for (const tier of plan.leftOut) {
    const left = noted(operation, tier, tier.queues.deleteUnlessBroken(state.scope, key, fence))
    if (left !== undefined) waits = waits === undefined ? left : Promise.all([waits, left])
  }
  if (outcomes.length > 0 && outcomes.every((outcome) => outcome === false || isPromise(outcome))) {
    const refused = Promise.all(outcomes.filter(isPromise)).then((settled) => {
      if (settled.every((outcome) => outcome === false)) noteHeldNowhere(operation, 'put', snapshot)
    })
    waits = waits === undefined ? refused : Promise.all([waits, refused])
  }
  return waits
}

function fillOne(operation: Operation, slot: Slot, snapshot: ValueSnapshot, fence: Fence, queue: QueuedWrites | undefined, outcomes: Awaitable<unknown>[]): Promise<unknown> | undefined {
  const { engine, state, key } = operation
  const { tier } = slot
  const belongs = snapshot.belongsIn(slot)
  if (tier.breaker.isOpen('write')) {
    outcomes.push(undefined)
    if (belongs && !fence.broken && tier.fallback?.isActive === true) {
      const entry = snapshot.entryFor(slot)
      tier.fallback.store(state.scope, key, entry, snapshot.terms.keepUntil(slot, engine.clock.now()))
    }
    return undefined
  }
  if (belongs) {
    const entry = snapshot.entryFor(slot)
    const options = { onlyIfAbsent: false, keepUntil: snapshot.terms.keepUntil(slot, engine.clock.now()), journal: queue?.first, lease: operation.line, belief: operation.beliefOf() }
    const filled = tier.queues.fill(state.scope, key, entry, options, fence, readyFor(tier, snapshot))
    const outcome = queue === undefined ? filled : enterIfKept(operation, queue, filled, entry, fence, (each) => fillNow(operation, each, snapshot, fence))
    outcomes.push(outcome)
    return noted(operation, tier, outcome)
  }
  if (snapshot.terms.livesIn(slot)) outcomes.push(false)
  return snapshot.terms.ttlFor(slot) === 0 ? noted(operation, tier, tier.queues.deleteUnlessBroken(state.scope, key, fence)) : undefined
}

/** What is to be written back is queued once its keeper has it; where the journal cannot have it, it is written through; where the keeper has not, nothing happens. */
export async function enterIfKept(
  operation: Operation,
  queue: QueuedWrites,
  filled: Awaitable<boolean | NotApplied>,
  entry: CacheEntry,
  fence: Fence,
  through: (slot: Slot) => Awaitable<boolean | NotApplied>,
): Promise<boolean | NotApplied> {
  const outcome = await filled
  const answer = outcome === true && !fence.broken ? await entered(operation, queue, entry) : 'no'
  if (answer === 'yes') return outcome
  if (answer === 'through') for (const slot of queue.slots) await noted(operation, slot.tier, through(slot))
  await abandonQueue(operation, queue)
  return outcome
}

/** Reports what went wrong; a promise only where there is something to wait for. */
export function noted(operation: Operation, tier: Tier, outcome: Awaitable<unknown>): Promise<void> | undefined {
  const note = (settled: unknown): void => {
    if (settled instanceof NotApplied && settled.error !== undefined) operation.report(settled.error, 'put', tier)
  }
  if (isPromise(outcome)) return timed(operation.engine, tier, outcome).then(note)
  note(outcome)
  return undefined
}

function timed<T>(engine: OperationHost, tier: Tier, outcome: Promise<T>): Promise<T> {
  if (!engine.telemetry.bound) return outcome
  const startedAt = engine.clock.monotonic()
  return outcome.then((settled) => {
    engine.telemetry.recordLatency({ ...tier.attributes, operation: 'put' }, engine.clock.monotonic() - startedAt)
    return settled
  })
}
