import type { InvalidationRecord, RecordLog } from '../contract/records.js'
import { TenantScope } from '../contract/scope.js'
import { validateTenant, type ValidKey } from '../keys/key.js'

interface TenantDebts {
  readonly scope: TenantScope
  readonly keys: Set<ValidKey>
  readonly prefixes: Set<string>
}

/**
 * What one tier owes: keys still to be deleted and prefixes still to be cleared. Bounded: a clear is one debt, however
 * much it covers. With a record log the debts survive the process.
 */
export class Debts {
  readonly #tier: string
  readonly #max: number
  readonly #log: RecordLog | undefined
  readonly #byTenant = new Map<string, TenantDebts>()
  readonly #onChange: () => void
  #size = 0

  /** @param onChange called when there is a first debt, or none any more */
  constructor(tier: string, max: number, log: RecordLog | undefined, onChange: () => void) {
    this.#onChange = onChange
    this.#tier = tier
    this.#max = max
    this.#log = log
    for (const record of log?.load() ?? []) if (record.tier === tier) this.#adopt(record)
  }

  get size(): number {
    return this.#size
  }

  /** Whether the key is owed, or a prefix it is under. */
  covers(scope: TenantScope, key: ValidKey): boolean {
    return this.owesKey(scope, key) || this.coversByClear(scope, key)
  }

  owesKey(scope: TenantScope, key: ValidKey): boolean {
    return this.#byTenant.get(scope.tenant)?.keys.has(key) === true
  }

  coversByClear(scope: TenantScope, key: ValidKey): boolean {
    const prefixes = this.#byTenant.get(scope.tenant)?.prefixes
    if (prefixes !== undefined) for (const prefix of prefixes) if (key.startsWith(prefix)) return true
    return false
  }

  /** Records that the key is to be deleted; `false` when there is no room for one more. */
  async oweKey(scope: TenantScope, key: ValidKey): Promise<boolean> {
    if (this.owesKey(scope, key)) return true
    if (this.#size >= this.#max) return false
    this.#of(scope).keys.add(key)
    this.#grow()
    await this.#log?.add({ tier: this.#tier, tenant: scope.tenant, key })
    return true
  }

  /** Records that the prefix is to be cleared; `false` when there is no room for one more. */
  async oweClear(scope: TenantScope, prefix: string): Promise<boolean> {
    if (this.#byTenant.get(scope.tenant)?.prefixes.has(prefix) === true) return true
    if (this.#size >= this.#max) return false
    this.#of(scope).prefixes.add(prefix)
    this.#grow()
    await this.#log?.add({ tier: this.#tier, tenant: scope.tenant, prefix })
    return true
  }

  payKey(scope: TenantScope, key: ValidKey): void {
    if (this.#size === 0) return
    const debts = this.#byTenant.get(scope.tenant)
    if (debts?.keys.delete(key) === true) this.#paid(debts, { tier: this.#tier, tenant: scope.tenant, key })
  }

  /** A clear of `prefix` was carried out: every debt under it is paid, except keys that `mayPay` holds back. */
  payPrefix(scope: TenantScope, prefix: string, mayPay: (key: ValidKey) => boolean): void {
    const debts = this.#byTenant.get(scope.tenant)
    if (debts === undefined) return
    for (const owed of [...debts.prefixes]) {
      if (owed.startsWith(prefix) && debts.prefixes.delete(owed)) this.#paid(debts, { tier: this.#tier, tenant: scope.tenant, prefix: owed })
    }
    for (const key of [...debts.keys]) if (key.startsWith(prefix) && mayPay(key)) this.payKey(scope, key)
  }

  owedKeys(): { scope: TenantScope; key: ValidKey }[] {
    return [...this.#byTenant.values()].flatMap(({ scope, keys }) => [...keys].map((key) => ({ scope, key })))
  }

  owedClears(): { scope: TenantScope; prefix: string }[] {
    return [...this.#byTenant.values()].flatMap(({ scope, prefixes }) => [...prefixes].map((prefix) => ({ scope, prefix })))
  }

  #of(scope: TenantScope): TenantDebts {
    let debts = this.#byTenant.get(scope.tenant)
    if (debts === undefined) {
      debts = { scope, keys: new Set(), prefixes: new Set() }
      this.#byTenant.set(scope.tenant, debts)
    }
    return debts
  }

  #grow(): void {
    if (++this.#size === 1) this.#onChange()
  }

  #paid(debts: TenantDebts, record: InvalidationRecord): void {
    if (--this.#size === 0) this.#onChange()
    if (debts.keys.size === 0 && debts.prefixes.size === 0) this.#byTenant.delete(record.tenant)
    this.#log?.remove(record)
  }

  #adopt(record: InvalidationRecord): void {
    const debts = this.#of(new TenantScope(validateTenant(record.tenant)))
    const before = debts.keys.size + debts.prefixes.size
    if (record.key !== undefined) debts.keys.add(record.key as ValidKey)
    if (record.prefix !== undefined) debts.prefixes.add(record.prefix)
    this.#size += debts.keys.size + debts.prefixes.size - before
  }
}
