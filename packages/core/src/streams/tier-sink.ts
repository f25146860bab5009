import {
  CacheEntry,
  NO_VALUE,
  type Awaitable,
  type EntryFields,
  type JournalSlot,
  type PayloadStream,
  type PutOptions,
} from '@thermocline/backend'
import { isPacked } from '../codec/payloads.js'
import type { Fence } from '../flights/fence.js'
import type { Slot } from '../policies/policy.js'
import type { NotApplied } from '../tiers/outcome.js'
import type { Tier } from '../tiers/tier.js'
import type { Operation } from '../operation/operation.js'
import { HeldBackPut } from '../tiers/held-back-put.js'
import type { Reader, SharedStream } from './shared-stream.js'

/** The most bytes that are collected for a tier that takes no streams. */
const MOST_COLLECTED = 8 * 1024 ** 2
/** What is known to be at most this long is collected for any tier: one put is cheaper than a streamed one. */
const SMALL_BYTES = 64 * 1024

export interface SinkOptions {
  readonly slot: Slot
  readonly fields: EntryFields
  readonly keepUntil: number
  readonly onlyIfAbsent: boolean
  readonly payload: Pick<PayloadStream, 'codec' | 'byteLength' | 'crc32'>
  /** For fills: broken, it stops at once. */
  readonly fence: Fence | undefined
  /** How long the tier may be a window behind; `undefined`: as long as its put makes progress. */
  readonly patienceMs: number | undefined
  readonly journal?: JournalSlot | undefined
  readonly belief?: PutOptions['belief']
  /** Told how many bytes it was given so far. */
  readonly grown?: ((bytes: number) => void) | undefined
}

/** The most bytes of a stream that a tier takes. */
export function mostOfStream({ capabilities, maxPayloadBytes }: Tier): number {
  return capabilities.streams ? maxPayloadBytes : Math.min(maxPayloadBytes, MOST_COLLECTED)
}

/** A tier on the side of a stream: it is given the bytes as they pass, and stores them only when it is told to. */
export class TierSink {
  readonly slot: Slot
  readonly #operation: Operation
  readonly #options: SinkOptions
  readonly #reader: Reader
  /** The most bytes the tier is given. */
  readonly #most: number
  /** The put that is under way, or the bytes that are collected. */
  readonly #put: HeldBackPut | Promise<Uint8Array | undefined>

  /** `undefined` when the tier takes nothing of that size, or cannot be written now. */
  static open(operation: Operation, stream: SharedStream, options: SinkOptions): TierSink | undefined {
    const { tier } = options.slot
    const { byteLength } = options.payload
    const most = mostOfStream(tier)
    if ((byteLength ?? 0) > most || tier.breaker.isOpen('write')) return undefined
    if (options.fence !== undefined && tier.queues.isAgreed && operation.line === undefined) return undefined
    const reader = stream.join({ paces: false, patienceMs: options.patienceMs })
    return reader === undefined ? undefined : new TierSink(operation, reader, options, most)
  }

  private constructor(operation: Operation, reader: Reader, options: SinkOptions, most: number) {
    this.slot = options.slot
    this.#operation = operation
    this.#options = options
    this.#reader = reader
    this.#most = most
    const { slot: { tier }, payload: { codec, byteLength, crc32 } } = options
    if (!tier.capabilities.streams || (byteLength !== undefined && byteLength <= SMALL_BYTES)) {
      this.#put = this.#collect(most)
      this.#put.catch(() => undefined) // seen when it is asked for
      return
    }
    const payload = { codec, byteLength, crc32, chunks: () => reader, cancel: () => void reader.return() }
    this.#put = new HeldBackPut(operation.state.scope, operation.key, tier, { ...options, ...this.#agreed, payload, most })
  }

  /** Everything has passed and was verified: stores it in its turn, for a `set`. Where that fails, the key is deleted. */
  set(): Awaitable<boolean | NotApplied> {
    const { state, key } = this.#operation
    const put = this.#put
    return put instanceof HeldBackPut ? put.set() : this.slot.tier.queues.commit(state.scope, key, () => this.#putCollected(put))
  }

  /** The same for a promotion or a compute, unless the fence is broken. Where that fails, nothing happens. */
  async fill(fence: Fence): Promise<boolean | NotApplied> {
    const { state, key, line } = this.#operation
    const put = this.#put
    line?.hold(fence) // until it is known what has become of it
    try {
      return await (put instanceof HeldBackPut ? put.fill(fence) : this.slot.tier.queues.commitFill(state.scope, key, () => this.#putCollected(put), fence))
    } finally {
      line?.release()
    }
  }

  /** Nothing is to be stored. Resolves when the put has ended. */
  async abandon(error: unknown): Promise<void> {
    if (this.#put instanceof HeldBackPut) await this.#put.abandon(error)
    else await this.#reader.return()
  }

  async #putCollected(collecting: Promise<Uint8Array | undefined>): Promise<boolean> {
    const bytes = await collecting
    if (bytes === undefined) return false
    const { tier } = this.slot
    const { engine, state, key } = this.#operation
    const { fields, payload, onlyIfAbsent, keepUntil, journal, fence, belief } = this.#options
    const encoded = { codec: payload.codec, bytes }
    let entry = CacheEntry.ofBytes(encoded, fields)
    if (tier.capabilities.keeps === 'value') {
      const plain = isPacked(encoded.codec) ? await engine.payloads.unpackUpTo(this.#most, encoded, this.#operation.place) : encoded
      if (plain === undefined) return false // small only as long as it is packed
      entry = new CacheEntry(engine.codecs.decode(plain), plain, fields)
    } else if (entry.value !== NO_VALUE) throw new TypeError('an entry of bytes has no value')
    if (fence !== undefined && tier.queues.isAgreed && this.#operation.line === undefined) return false
    const agreed = this.#agreed
    return tier.queues.telling(state.scope, key, agreed?.announces, () => tier.backend.put(state.scope, key, entry, { onlyIfAbsent, keepUntil, journal, belief, ...agreed }))
  }

  /** What a tier over which processes agree takes with a put. */
  get #agreed(): Pick<PutOptions, 'lease' | 'announces'> | undefined {
    const { slot: { tier } } = this
    const { state, key, line } = this.#operation
    if (!tier.queues.isAgreed) return undefined
    return this.#options.fence === undefined ? { announces: tier.queues.message(state.scope, key) } : { lease: line }
  }

  async #collect(most: number): Promise<Uint8Array | undefined> {
    const chunks: Uint8Array[] = []
    let bytes = 0
    for (let step = await this.#reader.next(); step.done !== true; step = await this.#reader.next()) {
      bytes += step.value.byteLength
      if (bytes > most || this.#options.fence?.broken === true) {
        await this.#reader.return()
        return undefined
      }
      this.#options.grown?.(bytes)
      chunks.push(step.value)
    }
    const own = Buffer.allocUnsafeSlow(bytes)
    let at = 0
    for (const chunk of chunks) {
      own.set(chunk, at)
      at += chunk.byteLength
    }
    return own
  }
}
