import { pagesOf, type StoredEntryInfo, type ValidKey } from '@thermocline/backend'
import type { OperationHost } from '../operation/operation.js'
import type { TenantState } from '../state/tenant-state.js'
import type { Policy } from '../policies/policy.js'
import type { Tier } from '../tiers/tier.js'
import { listingsOf, type Listing } from './tier-access.js'

export interface ListVerbOptions {
  /** Sizes and instants also where the store has to look them up. Default false. */
  readonly detail?: boolean | undefined
  readonly signal?: AbortSignal | undefined
}

/** One entry in one tier, as `list` shows it. */
export interface ListedEntry {
  readonly key: string
  readonly tier: string
  /** Bytes it occupies in that tier. */
  readonly size?: number | undefined
  /** Epoch milliseconds; `null`: never. */
  readonly expiresAt?: number | null | undefined
}

/** Lists one tier after the other, as those who answer for it would answer a `get`. A listing that fails is reported and passed over. */
export function listTiers(engine: OperationHost, state: TenantState, prefix: string, options: ListVerbOptions): AsyncIterableIterator<ListedEntry> {
  return new TierListing(engine, state, prefix, options)
}

const END: IteratorReturnResult<undefined> = Object.freeze({ done: true, value: undefined })

/** Not an async generator, whose every step costs several promises. Whether a key may be served is asked when it is handed out. */
class TierListing implements AsyncIterableIterator<ListedEntry> {
  readonly #engine: OperationHost
  readonly #state: TenantState
  readonly #prefix: string
  readonly #options: ListVerbOptions
  #nextTier = 0
  #tier: Tier | undefined
  #listings: Iterator<Listing, void> | undefined
  #holds: Listing['holds'] = () => false
  #pages: AsyncIterator<readonly StoredEntryInfo[]> | undefined
  #page: readonly StoredEntryInfo[] = []
  #at = 0
  #seen = new Set<string>()
  #turning: Promise<IteratorResult<ListedEntry>> | undefined
  #isOver: boolean

  constructor(engine: OperationHost, state: TenantState, prefix: string, options: ListVerbOptions) {
    this.#engine = engine
    this.#state = state
    this.#prefix = prefix
    this.#options = options
    this.#isOver = !engine.enabled
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  next(): Promise<IteratorResult<ListedEntry>> {
    if (this.#turning !== undefined) return this.#turning.then(() => this.next(), () => this.next())
    if (!this.#isOver && this.#options.signal?.aborted !== true) {
      const entry = this.#ofPage()
      if (entry !== undefined) return Promise.resolve({ done: false, value: entry })
    }
    this.#turning = this.#turn().finally(() => (this.#turning = undefined))
    return this.#turning
  }

  async return(): Promise<IteratorResult<ListedEntry>> {
    await this.#leave()
    return END
  }

  /** The next entry of the page that is there; `undefined`: it is used up. */
  #ofPage(): ListedEntry | undefined {
    const tier = this.#tier
    if (tier === undefined) return undefined
    while (this.#at < this.#page.length) {
      const info = this.#page[this.#at++] as StoredEntryInfo
      const { key, expiresAt } = info
      if (this.#seen.has(key) || !this.#holds(key as ValidKey)) continue
      if (expiresAt !== undefined && expiresAt <= this.#engine.clock.now()) continue
      this.#seen.add(key)
      return listed(info, tier.name)
    }
    return undefined
  }

  /** Goes on to the next page, or to the next tier. */
  async #turn(): Promise<IteratorResult<ListedEntry>> {
    while (!this.#isOver) {
      try {
        this.#options.signal?.throwIfAborted()
        const entry = this.#ofPage()
        if (entry !== undefined) return { done: false, value: entry }
        this.#pages ??= this.#begin()
        if (this.#pages === undefined) break
        const step = await this.#pages.next()
        this.#page = step.done === true ? [] : step.value
        this.#at = 0
        if (step.done === true) this.#pages = undefined
      } catch (error) {
        if (this.#isOver) break // its reader has left
        if (this.#options.signal?.aborted === true) {
          await this.#leave().catch(() => undefined) // the signal's reason is what is told
          this.#options.signal.throwIfAborted()
        }
        this.#pages = undefined
        this.#engine.report(error, { operation: 'list', tier: this.#tier, state: this.#state })
      }
    }
    this.#isOver = true
    return END
  }

  /** The pages of whoever answers next, for this tier or the next one; `undefined`: there is nobody. */
  #begin(): AsyncIterator<readonly StoredEntryInfo[]> | undefined {
    const { tiers } = this.#engine
    for (;;) {
      const step = this.#listings?.next()
      if (step !== undefined && step.done !== true) {
        this.#holds = step.value.holds
        return pagesOf(step.value.entries)[Symbol.asyncIterator]()
      }
      const tier = tiers[this.#nextTier++]
      if (tier === undefined) return undefined
      this.#tier = tier
      this.#seen = new Set()
      const { detail, signal } = this.#options
      this.#listings = listingsOf(this.#engine, this.#state, tier, this.#prefix, { detail: detail === true ? 'info' : 'keys', adopt: adoption(this.#engine, tier), signal })
    }
  }

  async #leave(): Promise<void> {
    this.#isOver = true
    const pages = this.#pages
    this.#pages = undefined
    this.#page = []
    await pages?.return?.()
  }
}

/** Without the fields that the store does not tell. */
function listed({ key, size, expiresAt }: StoredEntryInfo, tier: string): ListedEntry {
  if (expiresAt === undefined) return size === undefined ? { key, tier } : { key, tier, size }
  const end = Number.isFinite(expiresAt) ? expiresAt : null
  return size === undefined ? { key, tier, expiresAt: end } : { key, tier, size, expiresAt: end }
}

/** Which of others' objects a tier holds as entries: those that a `get` of the key would be answered with. */
function adoption({ policies }: OperationHost, tier: Tier): ((key: string) => boolean) | undefined {
  const adopts = ({ adopts, slots }: Policy): boolean => adopts && slots.some((slot) => slot.tier === tier)
  return tier.capabilities.plain !== undefined && policies.all.some(adopts) ? (key) => adopts(policies.forKey(key)) : undefined
}
