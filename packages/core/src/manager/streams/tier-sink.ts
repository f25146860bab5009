import {
  CacheEntry,
  CacheError,
  messageOf,
  NO_VALUE,
  StreamedEntry,
  type Awaitable,
  type EntryFields,
  type JournalSlot,
  type PayloadStream,
} from '@thermocline/backend'
import { decompressedUpTo, isCompressed } from '../../codec/compression.js'
import type { Fence } from '../../compute/fence.js'
import type { Slot } from '../../policies/policy.js'
import type { NotApplied } from '../../tiers/outcome.js'
import type { Tier } from '../../tiers/tier.js'
import { onPool } from '../on-pool.js'
import type { Operation } from '../operation.js'
import type { Reader, SharedStream } from './shared-stream.js'

/*
 * A tier on the side of a stream: it is given the bytes as they pass, and stores them only when it is told to.
 *
 * The put begins at once and outside of the tier's queue, or a long stream would hold up everything else on its key. All but the last
 * chunk goes to the backend; the last is held back, and with it the end, until the put's turn comes in the queue. So nothing can become visible
 * before every byte was verified and every invalidation called before was applied, whatever the backend does with a known length.
 */

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
  /** Told how many bytes it was given so far. */
  readonly grown?: ((bytes: number) => void) | undefined
}

/** The most bytes of a stream that a tier takes. */
export function mostOfStream({ capabilities, maxPayloadBytes }: Tier): number {
  return capabilities.streams ? maxPayloadBytes : Math.min(maxPayloadBytes, MOST_COLLECTED)
}

export class TierSink {
  readonly slot: Slot
  readonly #operation: Operation
  readonly #options: SinkOptions
  readonly #reader: Reader
  /** The most bytes the tier is given. */
  readonly #most: number
  /** The put that is under way, or the bytes that are collected; `undefined`: more than are. */
  readonly #putting: Promise<boolean> | undefined
  readonly #collecting: Promise<Uint8Array | undefined> | undefined
  #open!: () => void // both set by the constructor
  #shut!: (error: unknown) => void
  #isSettled = false
  #isTooLarge = false

  /** `undefined` when the tier takes nothing of that size, or cannot be written now. */
  static open(operation: Operation, stream: SharedStream, options: SinkOptions): TierSink | undefined {
    const { tier } = options.slot
    const { byteLength } = options.payload
    const most = mostOfStream(tier)
    if ((byteLength ?? 0) > most || tier.breaker.isOpen('write')) return undefined
    const reader = stream.join({ paces: false, patienceMs: options.patienceMs })
    return reader === undefined ? undefined : new TierSink(operation, reader, options, most)
  }

  private constructor(operation: Operation, reader: Reader, options: SinkOptions, most: number) {
    this.slot = options.slot
    this.#operation = operation
    this.#options = options
    this.#reader = reader
    this.#most = most
    const { tier } = options.slot
    const { codec, byteLength, crc32 } = options.payload
    if (!tier.capabilities.streams || (byteLength !== undefined && byteLength <= SMALL_BYTES)) {
      this.#collecting = this.#collect(most)
      this.#collecting.catch(() => undefined) // seen when it is asked for
      return
    }
    const gate = new Promise<void>((resolve, reject) => {
      this.#open = resolve
      this.#shut = reject
    })
    gate.catch(() => undefined)
    const chunks = (): AsyncIterable<Uint8Array> => this.#heldBack(gate, most)
    const entry = new StreamedEntry({ codec, byteLength, crc32, chunks, cancel: () => void reader.return() }, options.fields)
    const { onlyIfAbsent, keepUntil, journal } = options
    this.#putting = (async () => tier.backend.put(operation.state.scope, operation.key, entry, { onlyIfAbsent, keepUntil, journal }))()
    this.#putting.catch(() => undefined)
    void this.#putting.finally(() => reader.return()).catch(() => undefined) // one that ended early reads no further
  }

  /** Everything has passed and was verified: stores it in its turn, for a `set`. Where that fails, the key is deleted. */
  set(): Awaitable<boolean | NotApplied> {
    const { queues } = this.slot.tier
    const { state, key } = this.#operation
    if (this.#collecting === undefined) return this.#ending(queues.commit(state.scope, key, this.#release))
    return queues.commit(state.scope, key, () => this.#putCollected())
  }

  /** The same for a promotion or a compute, unless the fence is broken. Where that fails, nothing happens. */
  fill(fence: Fence): Awaitable<boolean | NotApplied> {
    const { queues } = this.slot.tier
    const { state, key } = this.#operation
    if (this.#collecting === undefined) return this.#ending(queues.commitFill(state.scope, key, this.#release, fence))
    return queues.commitFill(state.scope, key, () => this.#putCollected(), fence)
  }

  /** Nothing is to be stored. Resolves when the put has ended. */
  async abandon(error: unknown): Promise<void> {
    if (this.#isSettled) return
    this.#isSettled = true
    await this.#reader.return()
    if (this.#putting === undefined) return
    this.#shut(error)
    await this.#putting.catch(() => undefined)
  }

  readonly #release = (): Promise<boolean> => {
    this.#isSettled = true
    this.#open()
    // as a value that is too large: refused, which is no failure of the tier
    return (this.#putting as Promise<boolean>).catch((error: unknown) => {
      if (this.#isTooLarge) return false
      throw error
    })
  }

  /** A put whose turn never comes is given up. */
  async #ending(outcome: Awaitable<boolean | NotApplied>): Promise<boolean | NotApplied> {
    const answer = await outcome
    void this.abandon(abandoned())
    return answer
  }

  async #putCollected(): Promise<boolean> {
    this.#isSettled = true
    const bytes = await (this.#collecting as Promise<Uint8Array | undefined>)
    if (bytes === undefined) return false
    const { tier } = this.slot
    const { engine, state, key } = this.#operation
    const { fields, payload, onlyIfAbsent, keepUntil, journal } = this.#options
    const encoded = { codec: payload.codec, bytes }
    let entry = CacheEntry.ofBytes(encoded, fields)
    if (tier.capabilities.keeps === 'value') {
      const isPacked = isCompressed(encoded.codec)
      const plain = isPacked ? await onPool('decode', bytes.byteLength, decompressedUpTo(this.#most, encoded)) : encoded
      if (plain === undefined) return false // small only as long as it is compressed
      entry = new CacheEntry(engine.codecs.decode(plain), plain, fields)
    } else if (entry.value !== NO_VALUE) throw new TypeError('an entry of bytes has no value')
    return tier.backend.put(state.scope, key, entry, { onlyIfAbsent, keepUntil, journal })
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

  async *#heldBack(gate: Promise<void>, most: number): AsyncGenerator<Uint8Array, void, undefined> {
    let held: Uint8Array | undefined
    let bytes = 0
    for (let step = await this.#reader.next(); step.done !== true; step = await this.#reader.next()) {
      bytes += step.value.byteLength
      if (bytes > most) this.#isTooLarge = true
      if (bytes > most) throw new CacheError('failed', `a streamed payload is larger than the ${most} bytes that the tier takes`, { operation: 'put', backend: this.slot.tier.backend.name, key: this.#operation.key })
      if (this.#options.fence?.broken === true) throw abandoned()
      this.#options.grown?.(bytes)
      if (held !== undefined) yield held
      held = step.value
    }
    await gate
    if (held !== undefined) yield held
  }
}

export function abandoned(reason?: unknown): CacheError {
  const why = reason === undefined ? '' : `: ${messageOf(reason)}`
  return new CacheError('failed', `a stream was given up before its end${why}`, { operation: 'stream', cause: reason })
}
