import { instantAfter, kindOf, KnownNames, ttlMs, type CacheBackend, type EpochMs, type Ttl } from '@thermocline/backend'
import type { Codec } from '../codec/codec.js'
import { Compression, type CompressionOption } from '../codec/compression.js'
import type { PayloadStep } from '../codec/payload-step.js'
import type { CodecName, CodecTable } from '../codec/standard.js'
import type { Tier } from '../tiers/tier.js'
import { Freshness, FRESHNESS_NAMES, type FreshnessOptions } from './freshness.js'

/**
 * How a tier is written:
 *
 * - `through`: awaited before `set`, or the caller that computed, resumes
 * - `around`: filled by promotion only; a set deletes the key there
 * - `back`: once a durable tier above that keeps a journal holds the entry, it is written here in the background
 * - `demote`: filled by what the tiers above evict for space; a set deletes the key there
 */
export type WriteMode = 'through' | 'back' | 'around' | 'demote'

/** A tier in a policy or a call: `false` unused, `true` the same as `{ write: 'through' }`. */
export type TierUse =
  | boolean
  | {
      readonly write?: WriteMode | undefined
      /** Time to live in this tier, instead of the policy's. */
      readonly ttl?: Ttl | undefined
      /** Whether a hit in a slower tier is copied here. Default true. */
      readonly promote?: boolean | undefined
    }

/** How one data type is cached. */
export interface PolicyOptions extends FreshnessOptions {
  /** By tier name. A tier that is not mentioned is `true`. */
  readonly tiers?: Readonly<Record<string, TierUse | undefined>> | undefined
  /** Time to live. Default: the tier's `defaultTtl`, then the manager's. */
  readonly ttl?: Ttl | undefined
  /** Default `auto`: bytes raw, strings UTF-8, JSON where exact, else a structured binary form. */
  readonly codec?: CodecName | Codec | undefined
  /** Compresses payloads for the tiers that keep bytes, once for all of them. Default: none. */
  readonly compression?: CompressionOption | undefined
  /** The media type of the payloads, for stores that other tools read. Default: by metadata, the key's extension or the codec. */
  readonly contentType?: string | undefined
  /**
   * What another tool put into a bucket in an entry's place, without our metadata: `adopt` takes it for raw bytes that never
   * expire, `ignore` for a miss. Default `ignore`.
   */
  readonly foreignObjects?: 'adopt' | 'ignore' | undefined
}

/** The names of what a policy can say; a new option has its name here. */
export const POLICY_OPTIONS: readonly string[] = Object.keys({ tiers: true, ttl: true, codec: true, compression: true, contentType: true, foreignObjects: true, ...FRESHNESS_NAMES } satisfies Readonly<Record<keyof PolicyOptions, true>>)

const OPTIONS = new KnownNames(POLICY_OPTIONS)
const USE = new KnownNames(Object.keys({ write: true, ttl: true, promote: true } satisfies Readonly<Record<keyof Exclude<TierUse, boolean>, true>>))

/** One tier as a policy, or a call that overrides it, uses it. */
export interface Slot {
  readonly tier: Tier
  readonly write: WriteMode
  readonly promote: boolean
  /** What the policy says about the time to live in this tier, in milliseconds. */
  readonly policyTtlMs: number | undefined
  /** What holds when neither call nor policy says anything. */
  readonly defaultTtlMs: number
  /** The longest the tier serves an entry after taking it in, in milliseconds. */
  readonly maxTtlMs: number
  /** Where the counters of this (policy, tier) pair are. */
  readonly cell: number
}

/**
 * What another process invalidates in a shared tier must leave the memory above it by itself, until processes tell each
 * other. Where a policy uses no shared tier below, nobody else's invalidation would be seen at all, and nothing is cut.
 */
const MAX_TTL_ABOVE_SHARED_MS = 60_000

/** Until when a slot's tier may serve an entry with that end of life which it takes in now. */
export function keepUntil(slot: Slot, expiresAt: EpochMs, now: EpochMs): EpochMs {
  return Math.min(expiresAt, instantAfter(now, slot.maxTtlMs))
}

/** The same for an entry that is promoted: the slot's own time to live begins anew, and never lengthens the entry's life. */
export function promotedUntil(slot: Slot, expiresAt: EpochMs, now: EpochMs): EpochMs {
  return Math.min(keepUntil(slot, expiresAt, now), instantAfter(now, slot.policyTtlMs ?? Number.POSITIVE_INFINITY))
}

/** A slot whose tier answers without a promise. */
export type SynchronousSlot = Slot & { readonly tier: Tier & { readonly direct: CacheBackend } }

/** What a call says instead of its policy. */
export interface Overrides extends FreshnessOptions {
  readonly tiers?: Readonly<Record<string, TierUse | undefined>> | undefined
}

/** What a verb works with: a policy as it stands, or as a call overrides it. */
export interface Plan {
  readonly policy: Policy
  readonly freshness: Freshness
  /** The tiers in use, fastest first. */
  readonly slots: readonly Slot[]
  /** Tiers that the policy reads and the call leaves out. */
  readonly leftOut: readonly Tier[]
}

/** A compiled policy; also the plan of every call that overrides nothing. */
export class Policy implements Plan {
  readonly name: string
  readonly index: number
  readonly codec: Codec | undefined
  /** What the bytes of its payloads go through before a tier gets them. */
  readonly steps: readonly PayloadStep[]
  readonly contentType: string | undefined
  readonly adopts: boolean
  readonly freshness: Freshness
  readonly slots: readonly Slot[]
  readonly leftOut: readonly Tier[] = []
  /** The first slot, if its tier is synchronous: the one a hot hit needs. */
  readonly hot: SynchronousSlot | undefined
  readonly policy = this
  readonly #ttlMs: number | undefined
  readonly #managerTtlMs: number
  readonly #tiers: readonly Tier[]

  constructor(name: string, index: number, options: PolicyOptions, tiers: readonly Tier[], managerTtlMs: number, codecs: CodecTable) {
    const where = `policies.${name}`
    if (typeof options !== 'object' || options === null) throw new TypeError(`${where} must be an object of policy options, not ${kindOf(options)}`)
    for (const option of Object.keys(options)) {
      if (tiers.some((tier) => tier.name === option)) throw new TypeError(`${where}.${option}: in code, tiers go below "tiers": { tiers: { ${option}: ... } }`)
    }
    OPTIONS.check(options, where)
    this.name = name
    this.index = index
    this.codec = codecs.resolve(options.codec, `${where}.codec`)
    const compression = Compression.of(options.compression, `${where}.compression`)
    this.steps = compression === undefined ? [] : [compression]
    this.contentType = mediaType(options.contentType, `${where}.contentType`)
    this.adopts = adoption(options.foreignObjects, `${where}.foreignObjects`)
    this.freshness = Freshness.of(options, `${where}.`)
    this.#ttlMs = ttlMs(options.ttl, `${where}.ttl`)
    this.#managerTtlMs = managerTtlMs
    this.#tiers = tiers
    checkTierNames(options.tiers, tiers, `${where}.tiers`)
    this.slots = checked(limited(tiers.flatMap((tier) => this.#slot(tier, ownUse(options.tiers, tier.name) ?? true, `${where}.tiers.${tier.name}`))), `${where}.tiers`)
    if (this.slots.length === 0) throw new TypeError(`${where} uses no tier: set at least one of ${tiers.map((tier) => tier.name).join(', ')} to true`)
    const first = this.slots[0] as Slot
    this.hot = first.tier.direct === undefined ? undefined : (first as SynchronousSlot)
  }

  /**
   * The plan of a call that overrides something.
   *
   * @param call how the verb is called, for messages
   * @throws TypeError for an unknown tier, a use that is none, or an option that is none
   */
  plan(options: Overrides, call: string): Plan {
    const { tiers: overrides } = options
    const freshness = Freshness.of(options, `${call}: `, this.freshness)
    if (overrides === undefined) return freshness === this.freshness ? this : { policy: this, freshness, slots: this.slots, leftOut: [] }
    checkTierNames(overrides, this.#tiers, 'tiers')
    const slots: Slot[] = []
    const leftOut: Tier[] = []
    for (const tier of this.#tiers) {
      const own = this.slots.find((slot) => slot.tier === tier)
      const use = ownUse(overrides, tier.name)
      if (use === undefined) {
        if (own !== undefined) slots.push(own)
      } else {
        const made = this.#slot(tier, use, `tiers.${tier.name}`, `${call}: `)
        slots.push(...made)
        if (made.length === 0 && own !== undefined) leftOut.push(tier)
      }
    }
    const plan = { policy: this, freshness, slots: limited(slots), leftOut }
    // what the policy says and this call makes impossible is written through; what the call itself asks for has to be possible
    for (const name of Object.keys(overrides)) if (typeof overrides[name] === 'object') checked(plan.slots, 'tiers', name)
    return plan
  }

  #slot(tier: Tier, use: TierUse, where: string, call = ''): Slot[] {
    if (use === false) return []
    const options = use === true ? {} : use
    if (typeof options !== 'object' || options === null) throw new TypeError(`${where} must be true, false or { write, ttl, promote }, not ${kindOf(use)}`)
    USE.check(options, `${call}${where}`)
    if (options.promote !== undefined && typeof options.promote !== 'boolean') throw new TypeError(`${where}.promote must be true or false, not ${kindOf(options.promote)}`)
    return [
      {
        tier,
        write: writeMode(options.write, where),
        promote: options.promote ?? true,
        policyTtlMs: ttlMs(options.ttl, `${where}.ttl`) ?? this.#ttlMs,
        defaultTtlMs: tier.defaultTtlMs ?? this.#managerTtlMs,
        maxTtlMs: tier.maxTtlMs ?? Number.POSITIVE_INFINITY,
        cell: this.index * this.#tiers.length + tier.index,
      },
    ]
  }
}

/** Gives memory tiers above a shared one their limit, where the options give none. */
function limited(slots: readonly Slot[]): readonly Slot[] {
  return slots.map((slot, at) => {
    const { tier } = slot
    const cut = tier.maxTtlMs === undefined && tier.backend.name === 'memory' && !tier.hearsOthers && slots.slice(at + 1).some((below) => below.tier.capabilities.shared)
    return cut ? { ...slot, maxTtlMs: MAX_TTL_ABOVE_SHARED_MS } : slot
  })
}

function writeMode(mode: WriteMode | undefined, where: string): WriteMode {
  if (mode === undefined) return 'through'
  if (mode === 'through' || mode === 'around' || mode === 'back' || mode === 'demote') return mode
  throw new TypeError(`${where}.write must be 'through', 'back', 'around' or 'demote', not ${kindOf(mode)}`)
}

/** @throws TypeError when a slot is written in a way that the slots above it do not allow */
function checked(slots: readonly Slot[], where: string, only?: string): readonly Slot[] {
  slots.forEach((slot, at) => {
    if (only !== undefined && slot.tier.name !== only) return
    if (slot.write === 'back' && journalSlot(slots, at) === undefined) {
      throw new TypeError(`${where}.${slot.tier.name}.write: 'back' needs a durable tier above it that is written through and keeps a journal, such as a FileSystemBackend on local disk`)
    }
    if (slot.write === 'back' && slot.tier.queues.isAgreed) throw new TypeError(`${where}.${slot.tier.name}.write must not be 'back': processes agree over this tier, and are told with each write; use 'through'`)
    if (slot.write === 'demote' && at === 0) throw new TypeError(`${where}.${slot.tier.name}.write: 'demote' needs a tier above it whose evicted entries it takes`)
  })
  return slots
}

/** The slot above whose tier keeps the journal for a slot that is written back. */
export function journalSlot(slots: readonly Slot[], at: number): Slot | undefined {
  return slots.slice(0, at).find(({ tier, write }) => write === 'through' && tier.capabilities.durable && tier.journalKeeper !== undefined)
}

/** The slot below that takes what a tier evicts. */
export function demotionSlot(slots: readonly Slot[], from: Tier): Slot | undefined {
  return slots.find(({ tier, write }) => tier.index > from.index && write === 'demote')
}

function mediaType(value: string | undefined, where: string): string | undefined {
  if (value === undefined || (typeof value === 'string' && /^[\w!#$&^.+-]+\/[\w!#$&^.+-]+(?:\s*;[\x20-\x7e]*)?$/.test(value) && value.length <= 200)) return value
  throw new TypeError(`${where} must be a media type such as image/jpeg, not ${kindOf(value)}`)
}

function adoption(value: unknown, where: string): boolean {
  if (value === undefined || value === 'ignore') return false
  if (value === 'adopt') return true
  throw new TypeError(`${where} must be 'adopt' or 'ignore', not ${kindOf(value)}`)
}

/** A tier may be called like something every object inherits. */
function ownUse(uses: PolicyOptions['tiers'], name: string): TierUse | undefined {
  return uses !== undefined && Object.hasOwn(uses, name) ? uses[name] : undefined
}

function checkTierNames(uses: unknown, tiers: readonly Tier[], where: string): void {
  if (uses === undefined) return
  if (typeof uses !== 'object' || uses === null) throw new TypeError(`${where} must be an object by tier name, not ${kindOf(uses)}`)
  for (const name of Object.keys(uses)) {
    if (!tiers.some((tier) => tier.name === name)) {
      throw new TypeError(`${where} names the tier ${JSON.stringify(name)}, which does not exist; the tiers are ${tiers.map((tier) => tier.name).join(', ')}`)
    }
  }
}
