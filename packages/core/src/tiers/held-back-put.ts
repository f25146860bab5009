import {
  CacheError,
  messageOf,
  StreamedEntry,
  type Awaitable,
  type EntryFields,
  type JournalSlot,
  type PayloadStream,
  type PutOptions,
  type TenantScope,
  type ValidKey,
} from '@thermocline/backend'
import type { Fence } from '../flights/fence.js'
import type { NotApplied } from './outcome.js'
import type { Tier } from './tier.js'

/*
 * A put of a stream that begins at once and outside of the tier's queue, or a long one would hold up everything else on its key. All but the last
 * chunk goes to the backend; the last is held back, and with it the end, until the put's turn comes in the queue. So nothing can become visible
 * before every byte was verified and every invalidation called before was applied, whatever the backend does with a known length; and what is
 * called meanwhile waits for nothing.
 */

export interface HeldBackOptions {
  readonly fields: EntryFields
  readonly keepUntil: number
  readonly onlyIfAbsent: boolean
  readonly journal?: JournalSlot | undefined
  readonly belief?: PutOptions['belief']
  /** For a fill of a tier over which processes agree. */
  readonly lease?: PutOptions['lease']
  /** For a set there: what others are told when the entry has its name. */
  readonly announces?: PutOptions['announces']
  /** What is given; it is cancelled when the put has ended early or is given up. */
  readonly payload: PayloadStream
  /** The most bytes that the tier takes: with more the put is answered with `false`. */
  readonly most: number
  /** Broken, it stops with the next chunk. */
  readonly fence: Fence | undefined
  /** Told how many bytes have come so far. */
  readonly grown?: ((bytes: number) => void) | undefined
}

export class HeldBackPut {
  readonly #tier: Tier
  readonly #scope: TenantScope
  readonly #key: ValidKey
  readonly #options: HeldBackOptions
  readonly #putting: Promise<boolean>
  readonly #gate: Promise<void>
  #open!: () => void // these are set by the constructor
  #shut!: (error: unknown) => void
  #hold!: () => void
  #isSettled = false
  #isTooLarge = false
  /** Resolves when all but the end has been given to the backend, or the put has ended before. */
  readonly held: Promise<void>

  constructor(scope: TenantScope, key: ValidKey, tier: Tier, options: HeldBackOptions) {
    const { fields, keepUntil, onlyIfAbsent, journal, belief, lease, announces, payload } = options
    this.#tier = tier
    this.#scope = scope
    this.#key = key
    this.#options = options
    this.#gate = new Promise<void>((resolve, reject) => {
      this.#open = resolve
      this.#shut = reject
    })
    this.#gate.catch(() => undefined)
    this.held = new Promise((resolve) => (this.#hold = resolve))
    const { codec, byteLength, crc32 } = payload
    const entry = new StreamedEntry({ codec, byteLength, crc32, chunks: () => this.#chunks(), cancel: () => payload.cancel() }, fields)
    this.#putting = (async () => tier.backend.put(scope, key, entry, { onlyIfAbsent, keepUntil, journal, belief, lease, announces }))()
    const ended = (): void => {
      this.#hold()
      payload.cancel() // one that ended early reads no further
    }
    this.#putting.then(ended, ended)
  }

  /** Its turn may come, for a `set`. Where that fails, the key is deleted. */
  set(): Promise<boolean | NotApplied> {
    return this.#ending(this.#tier.queues.commit(this.#scope, this.#key, () => this.release()))
  }

  /** The same for a promotion, a compute or an upload, unless the fence is broken. Where that fails, nothing happens. */
  fill(fence: Fence): Promise<boolean | NotApplied> {
    return this.#ending(this.#tier.queues.commitFill(this.#scope, this.#key, () => this.release(), fence))
  }

  /** Nothing is to be stored. Resolves when the put has ended. */
  async abandon(error: unknown): Promise<void> {
    if (this.#isSettled) return
    this.#isSettled = true
    this.#options.payload.cancel()
    this.#shut(error)
    await this.#putting.catch(() => undefined)
  }

  /** Its turn has come. */
  release(): Promise<boolean> {
    this.#isSettled = true
    const put = this.#tier.queues.telling(this.#scope, this.#key, this.#options.announces, () => {
      this.#open()
      return this.#putting
    })
    // as a value that is too large: refused, which is no failure of the tier
    return Promise.resolve(put).catch((error: unknown) => {
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

  async *#chunks(): AsyncGenerator<Uint8Array, void, undefined> {
    const { payload, fence, grown } = this.#options
    let last: Uint8Array | undefined
    let bytes = 0
    for await (const chunk of payload.chunks()) {
      bytes += chunk.byteLength
      this.#checkSize(bytes)
      if (fence?.broken === true) throw abandoned()
      grown?.(bytes)
      if (last !== undefined) yield last
      last = chunk
    }
    this.#hold()
    await this.#gate
    if (last !== undefined) yield last
  }

  #checkSize(bytes: number): void {
    const { most } = this.#options
    if (bytes <= most) return
    this.#isTooLarge = true
    throw new CacheError('failed', `a streamed payload is larger than the ${most} bytes that the tier takes`, { operation: 'put', backend: this.#tier.backend.name, key: this.#key })
  }
}

export function abandoned(reason?: unknown): CacheError {
  const why = reason === undefined ? '' : `: ${messageOf(reason)}`
  return new CacheError('failed', `a stream was given up before its end${why}`, { operation: 'stream', cause: reason })
}
