import { isStreamed } from '@thermocline/backend'
import { Fence } from '../flights/fence.js'
import type { Slot } from '../policies/policy.js'
import type { NotApplied } from '../tiers/outcome.js'
import type { Preparation } from '../tiers/write-queues.js'
import type { Operation } from '../operation/operation.js'
import type { Terms } from '../operation/terms.js'
import { abandoned, HeldBackPut } from '../tiers/held-back-put.js'

/** Gives a slot's tier what a durable tier above holds once that has it, if it is still the same entry: all but the end at once, and the end when its turn comes. */
export class CopyPut implements Preparation {
  readonly ready: Promise<unknown>
  readonly #operation: Operation
  readonly #to: Slot
  /** Broken when it is not to go on. */
  readonly #fence: Fence
  #put: HeldBackPut | undefined

  /** @param stored resolves when the durable tier has it */
  constructor(operation: Operation, from: Slot, to: Slot, terms: Terms, stored: Promise<unknown>) {
    this.#operation = operation
    this.#to = to
    this.#fence = new Fence(operation.key)
    this.ready = stored.then(() => this.#begin(from, terms)).catch((error: unknown) => operation.report(error, 'put', from.tier))
  }

  /** For a `set`: takes its place in the tier's queue now. Where it fails, the key is deleted. */
  set(): Promise<boolean | NotApplied> {
    const { state, key } = this.#operation
    return this.#ending(async () => this.#to.tier.queues.commit(state.scope, key, () => this.#release(), this))
  }

  /** The same for a compute, unless the fence is broken. Where it fails, nothing happens. */
  fill(fence: Fence): Promise<boolean | NotApplied> {
    const { state, key } = this.#operation
    return this.#ending(async () => this.#to.tier.queues.commitFill(state.scope, key, () => this.#release(), fence, this))
  }

  readonly superseded = (): void => {
    this.#fence.broken = true
    void this.#put?.abandon(abandoned())
  }

  /** One whose turn never comes is given up. */
  async #ending(carryOut: () => Promise<boolean | NotApplied>): Promise<boolean | NotApplied> {
    try {
      return await carryOut()
    } finally {
      this.superseded()
    }
  }

  async #release(): Promise<boolean> {
    return this.#put?.release() ?? false
  }

  async #begin(from: Slot, terms: Terms): Promise<void> {
    if (this.#fence.broken) return
    const { engine, state, key } = this.#operation
    const { tier } = this.#to
    const most = tier.maxPayloadBytes
    const entry = await from.tier.backend.get(state.scope, key, { want: 'stream', touch: false })
    if (entry === undefined || !isStreamed(entry)) return
    const { payload } = entry
    if (this.#fence.broken || entry.createdAt !== terms.createdAt || (payload.byteLength ?? 0) > most) return payload.cancel()
    const keepUntil = terms.keepUntil(this.#to, engine.clock.now())
    this.#put = new HeldBackPut(state.scope, key, tier, { fields: terms.fieldsFor(this.#to), keepUntil, onlyIfAbsent: false, payload, most, fence: this.#fence })
    await this.#put.held
  }
}
