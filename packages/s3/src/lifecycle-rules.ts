import { checkKnown, TenantScope, validatePrefix, validateTenant } from '@thermocline/backend'
import { ObjectNames } from '@thermocline/object-store'
import { isObject, kind } from './checks.js'

/** One rule of the bucket's lifecycle for objects of ours. It counts from when an object was stored, not from its entry's end. */
export interface LifecycleRule {
  /** Tells our rules apart; 1 to 100 letters, digits, `-`, `_` and `.`. Default: its place in the list, from 1. */
  readonly id?: string | undefined
  /** Whose objects it concerns. Default: every tenant's. */
  readonly tenant?: string | undefined
  /** What the keys begin with. Only with `tenant`: a store knows prefixes of names, and the tenant stands before the key. Keys whose names are hashed (beyond 1,024 bytes) are not concerned. */
  readonly prefix?: string | undefined
  /** Days after which objects move to `storageClass`. */
  readonly transitionDays?: number | undefined
  /** Where they move. */
  readonly storageClass?: string | undefined
  /** Days after which objects are removed. */
  readonly expirationDays?: number | undefined
}

const KNOWN = ['id', 'tenant', 'prefix', 'transitionDays', 'storageClass', 'expirationDays']
const ID = /^[\w.-]{1,100}$/
const ENDS_IN_DOTS = /(?:^|\/)\.+$/

/** @throws TypeError that names the rule's option, what it was and what it must be */
export function checkRules(given: readonly LifecycleRule[] | undefined): readonly LifecycleRule[] {
  if (given === undefined) return []
  if (!Array.isArray(given) || given.length === 0) throw new TypeError(`lifecycleRules must be a list of at least one rule, not ${kind(given)}`)
  const rules = given as readonly LifecycleRule[]
  rules.forEach((rule, at) => checkRule(rule, `lifecycleRules[${at}]`))
  const ids = rules.map((rule, at) => idOf(rule, at))
  const twice = ids.find((id, at) => ids.indexOf(id) !== at)
  if (twice !== undefined) throw new TypeError(`lifecycleRules must have different ids: ${JSON.stringify(twice)} is there twice`)
  return rules
}

/** A rule's own name among ours. */
export function idOf(rule: LifecycleRule, at: number): string {
  return rule.id ?? String(at + 1)
}

/** What the names of the objects begin with that a rule concerns. */
export function scopeOf(rule: LifecycleRule, names: ObjectNames): string {
  if (rule.tenant === undefined) return names.root
  return names.under(new TenantScope(validateTenant(rule.tenant)), validatePrefix(rule.prefix))[0]
}

function checkRule(rule: unknown, option: string): void {
  if (!isObject(rule)) throw new TypeError(`${option} must be such as { transitionDays: 30, storageClass: 'GLACIER_IR' }, not ${kind(rule)}`)
  checkKnown(rule, KNOWN, option)
  const { id, tenant, prefix, transitionDays, storageClass, expirationDays } = rule
  if (id !== undefined && !(typeof id === 'string' && ID.test(id))) throw new TypeError(`${option}.id must be 1 to 100 letters, digits, -, _ and ., not ${kind(id)}`)
  checkScope(tenant, prefix, option)
  days(transitionDays, `${option}.transitionDays`, 0)
  days(expirationDays, `${option}.expirationDays`, 1)
  if (storageClass !== undefined && (typeof storageClass !== 'string' || storageClass === '')) throw new TypeError(`${option}.storageClass must be the name of a storage class, not ${kind(storageClass)}`)
  if ((transitionDays === undefined) !== (storageClass === undefined)) throw new TypeError(`${option} must have transitionDays and storageClass together: when objects move, and where to`)
  if (transitionDays === undefined && expirationDays === undefined) throw new TypeError(`${option} must have transitionDays or expirationDays: it says nothing`)
  if (typeof transitionDays === 'number' && typeof expirationDays === 'number' && transitionDays >= expirationDays) {
    throw new TypeError(`${option}.expirationDays must be more than transitionDays (${transitionDays}), not ${expirationDays}`)
  }
}

function checkScope(tenant: unknown, prefix: unknown, option: string): void {
  if (tenant !== undefined) named(`${option}.tenant`, () => validateTenant(tenant))
  if (prefix === undefined) return
  named(`${option}.prefix`, () => validatePrefix(prefix))
  if (tenant === undefined) throw new TypeError(`${option}.prefix needs ${option}.tenant beside it: the tenant stands before the key in an object's name, so no rule can name a prefix of all tenants' keys`)
  if (ENDS_IN_DOTS.test(prefix as string)) throw new TypeError(`${option}.prefix must not end in a segment of dots: no prefix of names says that`)
}

function named(option: string, check: () => unknown): void {
  try {
    check()
  } catch (error) {
    throw new TypeError(`${option}: ${(error as { readonly message: string }).message}`)
  }
}

function days(value: unknown, option: string, least: number): void {
  if (value !== undefined && !(typeof value === 'number' && Number.isSafeInteger(value) && value >= least)) {
    throw new TypeError(`${option} must be a whole number of days, at least ${least}, not ${kind(value)}`)
  }
}
