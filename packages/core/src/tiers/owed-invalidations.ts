import type { Clock } from '../clock/clock.js'
import { Invalidation } from '../contract/invalidation.js'
import type { InvalidationRecord, RecordLog } from '../contract/records.js'
import { asCacheError, type CacheError } from '../errors/cache-error.js'
import { TenantScope } from '../contract/scope.js'
import { Deadlines } from '../layers/deadlines.js'
import { Prefixes } from './prefixes.js'
import { validateKey, validateTenant, type ValidKey } from '../keys/key.js'

interface OwedByTenant {
  readonly scope: TenantScope
  /** When each was last owed, in the order of {@link OwedInvalidations.now}. */
  readonly keys: Map<ValidKey, number>
  readonly prefixes: Prefixes
}

/** How long a caller waits for its record to be on the disk. */
const LONGEST_RECORDING_MS = 250
/** Stands before the number of what an earlier process owed, which is less than that of everything called in this one. */
const INHERITED = -(2 ** 52)

export interface OwedInvalidationsOptions {
  readonly tier: string
  readonly max: number
  readonly log: RecordLog | undefined
  readonly clock: Clock
  /** What an earlier process has sent may still be carried out so long after this one has begun, in milliseconds. */
  readonly landsWithinMs: number
  /** Called when there is something is owed for the first time, or nothing any more. */
  readonly onChange: () => void
  /** Called when something was paid. */
  readonly onPaid: () => void
  /** Told when the log fails: what is owed then holds in this process only. */
  readonly report: (error: CacheError) => void
}

/**
 * What one tier owes: keys still to be deleted and prefixes still to be cleared. Bounded: a clear counts as one, however
 * much it covers. With a record log what is owed survives the process.
 */
export class OwedInvalidations {
  readonly #options: OwedInvalidationsOptions
  readonly #byTenant = new Map<string, OwedByTenant>()
  #size = 0
  #owings = 0
  /** Until then what earlier processes owed stays owed, whatever is done: something of theirs may land after it. */
  readonly #inheritedUntil: number
  /** Whether it has been done once already, for other processes. */
  #isInheritedTried = false

  constructor(options: OwedInvalidationsOptions) {
    this.#options = options
    this.#inheritedUntil = options.clock.monotonic() + options.landsWithinMs
    for (const record of options.log?.load() ?? []) if (record.tier === options.tier) this.#adopt(record)
  }

  get size(): number {
    return this.#size
  }

  /** A moment in the order in which things came to be owed: an operation pays only what was owed before it was called. */
  get now(): number {
    return this.#owings
  }

  /** Whether the key is owed, or a prefix it is under. */
  covers(scope: TenantScope, key: ValidKey): boolean {
    return this.owesKey(scope, key) || this.coversByClear(scope, key)
  }

  owesKey(scope: TenantScope, key: ValidKey): boolean {
    return this.#byTenant.get(scope.tenant)?.keys.has(key) === true
  }

  coversByClear(scope: TenantScope, key: ValidKey): boolean {
    return this.#byTenant.get(scope.tenant)?.prefixes.covers(key) === true
  }

  /** Records that the key is to be deleted; `false` when there is no room for one more. */
  async oweKey(scope: TenantScope, key: ValidKey): Promise<boolean> {
    const known = this.#byTenant.get(scope.tenant)?.keys
    if (known?.has(key) === true) return this.#again(known, key)
    if (this.#size >= this.#options.max) return false
    this.#of(scope).keys.set(key, ++this.#owings)
    this.#grow()
    await this.#record({ tier: this.#options.tier, tenant: scope.tenant, key })
    return true
  }

  /** Records that the prefix is to be cleared; `false` when there is no room for one more. */
  async oweClear(scope: TenantScope, prefix: string): Promise<boolean> {
    const known = this.#byTenant.get(scope.tenant)?.prefixes
    if (known?.has(prefix) === true) return this.#again(known, prefix)
    if (this.#size >= this.#options.max) return false
    this.#of(scope).prefixes.set(prefix, ++this.#owings)
    this.#grow()
    await this.#record({ tier: this.#options.tier, tenant: scope.tenant, prefix })
    return true
  }

  /** The key was stored or deleted by an operation called at `calledAt`. */
  payKey(scope: TenantScope, key: ValidKey, calledAt: number): void {
    if (this.#size === 0) return
    const ofTenant = this.#byTenant.get(scope.tenant)
    const owedAt = ofTenant?.keys.get(key)
    if (ofTenant === undefined || owedAt === undefined || orderOf(owedAt) > calledAt || !this.#isPayable(owedAt)) return
    ofTenant.keys.delete(key)
    this.#paid(ofTenant, { tier: this.#options.tier, tenant: scope.tenant, key })
  }

  /** What begins with `cleared` was removed by a clear called at `calledAt`; keys that `mayPay` holds back are still owed. */
  payClears(scope: TenantScope, cleared: Prefixes, calledAt: number, mayPay: (key: ValidKey) => boolean): void {
    const ofTenant = this.#byTenant.get(scope.tenant)
    if (ofTenant === undefined) return
    for (const [owed, owedAt] of [...ofTenant.prefixes.entries()]) {
      if (orderOf(owedAt) > calledAt || !cleared.covers(owed) || !this.#isPayable(owedAt)) continue
      ofTenant.prefixes.delete(owed)
      this.#paid(ofTenant, { tier: this.#options.tier, tenant: scope.tenant, prefix: owed })
    }
    for (const key of [...ofTenant.keys.keys()]) if (cleared.covers(key) && mayPay(key)) this.payKey(scope, key, calledAt)
  }

  /** Whether anything that the invalidation covers is owed. */
  concerns(scope: TenantScope, invalidation: Invalidation): boolean {
    const ofTenant = this.#byTenant.get(scope.tenant)
    if (ofTenant === undefined) return false
    if (invalidation.key !== undefined) return this.covers(scope, invalidation.key)
    for (const key of ofTenant.keys.keys()) if (invalidation.covers(key)) return true
    for (const prefix of ofTenant.prefixes.keys()) if (invalidation.meets(Invalidation.ofPrefix(prefix))) return true
    return false
  }

  /** The keys that are worth an attempt now. */
  owedKeys(): { scope: TenantScope; key: ValidKey }[] {
    return [...this.#byTenant.values()].flatMap(({ scope, keys }) => this.#due(keys).map((key) => ({ scope, key })))
  }

  /** The tenants that owe clears, and which are worth an attempt now. */
  owedClears(): { scope: TenantScope; prefixes: string[] }[] {
    const owed = [...this.#byTenant.values()].map(({ scope, prefixes }) => ({ scope, prefixes: this.#due(prefixes) }))
    return owed.filter(({ prefixes }) => prefixes.length > 0)
  }

  /** Everything that {@link owedKeys} and {@link owedClears} gave has been tried. */
  tried(): void {
    this.#isInheritedTried = true
  }

  #due<K>(owed: { entries(): Iterable<[K, number]> }): K[] {
    return [...owed.entries()].flatMap(([what, owedAt]) => (this.#isInheritedTried && !this.#isPayable(owedAt) ? [] : [what]))
  }

  #isPayable(owedAt: number): boolean {
    return owedAt >= 0 || this.#options.clock.monotonic() >= this.#inheritedUntil
  }

  async #record(record: InvalidationRecord): Promise<void> {
    const { log, clock } = this.#options
    if (log === undefined) return
    let cancel = (): void => undefined
    const late = new Promise<void>((resolve) => (cancel = Deadlines.of(clock).schedule(LONGEST_RECORDING_MS, resolve)))
    try {
      await Promise.race([log.add(record), late]) // a log that hangs costs durability, not the caller's time
      cancel()
    } catch (error) {
      cancel()
      this.#options.report(asCacheError(error, { operation: 'record', tenant: record.tenant, key: record.key }))
    }
  }

  #of(scope: TenantScope): OwedByTenant {
    let ofTenant = this.#byTenant.get(scope.tenant)
    if (ofTenant === undefined) {
      ofTenant = { scope, keys: new Map(), prefixes: new Prefixes() }
      this.#byTenant.set(scope.tenant, ofTenant)
    }
    return ofTenant
  }

  /** Owed already; what is under way now does not pay it any more. */
  #again<K>(owed: { get(what: K): number | undefined; set(what: K, owedAt: number): unknown }, what: K): true {
    const isInherited = (owed.get(what) ?? 0) < 0
    owed.set(what, ++this.#owings + (isInherited ? INHERITED : 0))
    return true
  }

  #grow(): void {
    if (++this.#size === 1) this.#options.onChange()
  }

  #paid(ofTenant: OwedByTenant, record: InvalidationRecord): void {
    if (--this.#size === 0) this.#options.onChange()
    if (ofTenant.keys.size === 0 && ofTenant.prefixes.size === 0) this.#byTenant.delete(record.tenant)
    this.#options.log?.remove(record)
    this.#options.onPaid()
  }

  /** Takes over what an earlier process owed; a record that makes no sense was not written by us. */
  #adopt(record: InvalidationRecord): void {
    if (!isSound(record)) return
    const ofTenant = this.#of(new TenantScope(validateTenant(record.tenant)))
    const before = ofTenant.keys.size + ofTenant.prefixes.size
    if (record.key !== undefined) ofTenant.keys.set(record.key as ValidKey, INHERITED)
    if (record.prefix !== undefined) ofTenant.prefixes.set(record.prefix, INHERITED)
    this.#size += ofTenant.keys.size + ofTenant.prefixes.size - before
  }
}

/** By {@link OwedInvalidations.now}. */
function orderOf(owedAt: number): number {
  return owedAt < 0 ? owedAt - INHERITED : owedAt
}

function isSound(record: InvalidationRecord): boolean {
  try {
    validateTenant(record.tenant)
    if (record.key !== undefined) validateKey(record.key)
    else if (typeof record.prefix !== 'string') return false
    return true
  } catch {
    return false
  }
}
