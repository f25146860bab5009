import {
  asCacheError,
  Invalidation,
  TenantScope,
  validateKey,
  validateTenant,
  type CacheError,
  type Clock,
  type InvalidationRecord,
  type RecordLog,
  type ValidKey,
} from '@thermocline/backend'
import { Deadlines } from '../layers/deadlines.js'
import { Prefixes } from './prefixes.js'

interface OwedByTenant {
  readonly scope: TenantScope
  /** Keys on which something may still land when this process has ended. */
  readonly mayLand: Set<ValidKey>
  /** Those inherited keys that were removed or replaced once already: for other processes. */
  readonly doneOnce: Set<ValidKey>
  /** When each was last owed, in the order of {@link OwedInvalidations.now}. */
  readonly keys: Map<ValidKey, number>
  readonly prefixes: Prefixes
}

/** How long a caller waits for its record to be on the disk. */
const LONGEST_RECORDING_MS = 250
/** Stands before the number of a key on which something of an earlier process may land. */
const INHERITED = -(2 ** 52)

export interface OwedInvalidationsOptions {
  readonly tier: string
  readonly max: number
  readonly log: RecordLog | undefined
  readonly clock: Clock
  /** What an earlier process has sent may still be carried out so long after this one has begun, in milliseconds. */
  readonly landsWithinMs: number
  /** Called when the first thing is owed, and when nothing is any more. */
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
  /** Until then keys on which something of an earlier process may land stay owed, whatever is done. */
  readonly #inheritedUntil: number

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

  /**
   * Records that the key is to be deleted; `false` when there is no room for one more.
   *
   * @param mayLand whether something on the key is under way that may land when this process has ended
   */
  async oweKey(scope: TenantScope, key: ValidKey, mayLand: boolean): Promise<boolean> {
    const known = this.#byTenant.get(scope.tenant)
    const isNew = known?.keys.has(key) !== true
    if (isNew && this.#size >= this.#options.max) return false
    const ofTenant = known ?? this.#of(scope)
    if (isNew) this.#grow()
    const isOwn = this.#owe(ofTenant.keys, key)
    const isNewlyOpen = mayLand && this.#options.landsWithinMs > 0 && !ofTenant.mayLand.has(key)
    if (isNewlyOpen) ofTenant.mayLand.add(key)
    if (!isOwn || isNewlyOpen) await this.#record(this.#recordOf(ofTenant, key))
    return true
  }

  /** Tells the next process of a key on which something is under way that may land when this one has ended. */
  async leaveOpen(scope: TenantScope, key: ValidKey): Promise<void> {
    if (this.#options.landsWithinMs > 0) await this.#record({ tier: this.#options.tier, tenant: scope.tenant, key, mayLand: true })
  }

  /** Records that the prefix is to be cleared; `false` when there is no room for one more. */
  async oweClear(scope: TenantScope, prefix: string): Promise<boolean> {
    const known = this.#byTenant.get(scope.tenant)
    const isNew = known?.prefixes.has(prefix) !== true
    if (isNew && this.#size >= this.#options.max) return false
    const { prefixes } = known ?? this.#of(scope)
    if (isNew) this.#grow()
    if (!this.#owe(prefixes, prefix)) await this.#record({ tier: this.#options.tier, tenant: scope.tenant, prefix })
    return true
  }

  /** The key was stored or deleted by an operation called at `calledAt`. */
  payKey(scope: TenantScope, key: ValidKey, calledAt: number): void {
    if (this.#size === 0) return
    const ofTenant = this.#byTenant.get(scope.tenant)
    const owedAt = ofTenant?.keys.get(key)
    if (ofTenant === undefined || owedAt === undefined || orderOf(owedAt) > calledAt) return
    if (!this.#isPayable(owedAt)) return void ofTenant.doneOnce.add(key)
    const record = this.#recordOf(ofTenant, key)
    ofTenant.keys.delete(key)
    ofTenant.mayLand.delete(key)
    ofTenant.doneOnce.delete(key)
    this.#paid(ofTenant, record)
  }

  /** What begins with `cleared` was removed by a clear called at `calledAt`; keys that `mayPay` holds back are still owed. */
  payClears(scope: TenantScope, cleared: Prefixes, calledAt: number, mayPay: (key: ValidKey) => boolean): void {
    const ofTenant = this.#byTenant.get(scope.tenant)
    if (ofTenant === undefined) return
    for (const [owed, owedAt] of [...ofTenant.prefixes.entries()]) {
      if (owedAt > calledAt || !cleared.covers(owed)) continue
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
    return [...this.#byTenant.values()].flatMap(({ scope, keys, doneOnce }) => {
      const due = [...keys].filter(([key, owedAt]) => this.#isPayable(owedAt) || !doneOnce.has(key))
      return due.map(([key]) => ({ scope, key }))
    })
  }

  /** The tenants that owe clears, and which. */
  owedClears(): { scope: TenantScope; prefixes: string[] }[] {
    return [...this.#byTenant.values()].flatMap(({ scope, prefixes }) => (prefixes.size === 0 ? [] : [{ scope, prefixes: [...prefixes.keys()] }]))
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

  #recordOf({ scope, mayLand }: OwedByTenant, key: ValidKey): InvalidationRecord {
    const record = { tier: this.#options.tier, tenant: scope.tenant, key }
    return mayLand.has(key) ? { ...record, mayLand: true } : record
  }

  #of(scope: TenantScope): OwedByTenant {
    let ofTenant = this.#byTenant.get(scope.tenant)
    if (ofTenant === undefined) {
      ofTenant = { scope, mayLand: new Set(), doneOnce: new Set(), keys: new Map(), prefixes: new Prefixes() }
      this.#byTenant.set(scope.tenant, ofTenant)
    }
    return ofTenant
  }

  /**
   * What is under way now does not pay it any more. Whether this process has a record of it: that of the process it was inherited from is that one's, which may
   * live and be done with it.
   */
  #owe<K>(owed: { get(what: K): number | undefined; set(what: K, owedAt: number): unknown }, what: K): boolean {
    const before = owed.get(what)
    owed.set(what, ++this.#owings + ((before ?? 0) < 0 ? INHERITED : 0))
    return before !== undefined && orderOf(before) > 0
  }

  #grow(): void {
    if (++this.#size === 1) this.#options.onChange()
  }

  #paid(ofTenant: OwedByTenant, record: InvalidationRecord): void {
    if (--this.#size === 0) this.#options.onChange()
    if (ofTenant.keys.size === 0 && ofTenant.prefixes.size === 0) this.#byTenant.delete(record.tenant)
    this.#options.log?.remove(record)
    if (record.mayLand === true) this.#options.log?.remove({ ...record, mayLand: undefined }) // recorded before it was known
    this.#options.onPaid()
  }

  /** Takes over what an earlier process owed; a record that makes no sense was not written by us. */
  #adopt(record: InvalidationRecord): void {
    if (!isSound(record)) return
    const ofTenant = this.#of(new TenantScope(validateTenant(record.tenant)))
    const before = ofTenant.keys.size + ofTenant.prefixes.size
    if (record.key !== undefined) {
      const key = record.key as ValidKey
      if (record.mayLand === true) ofTenant.mayLand.add(key)
      ofTenant.keys.set(key, ofTenant.mayLand.has(key) ? INHERITED : 0)
    }
    if (record.prefix !== undefined) ofTenant.prefixes.set(record.prefix, 0)
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
