import { checkKnown, isObject, kindOfOption, TenantScope, validatePrefix, validateTenant } from '@thermocline/backend'
import type { ObjectNames } from './names.js'

/** One rule of the bucket's lifecycle for objects of ours. It counts from when an object was stored, not from its entry's end. */
export interface LifecycleRule {
  /** Tells our rules apart; 1 to 100 letters, digits, `-`, `_` and `.`. Default: its place in the list, from 1. Cloud Storage keeps no names. */
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

/**
 * @param given an empty list is as good as none
 * @param classes the storage classes that there are; `undefined`: the store will know
 * @throws TypeError that names the rule's option, what it was and what it must be
 */
export function checkLifecycleRules(given: unknown, classes?: readonly string[]): readonly LifecycleRule[] {
  if (given === undefined) return []
  if (!Array.isArray(given)) throw new TypeError(`lifecycleRules must be a list of rules such as { expirationDays: 365 }, not ${kindOfOption(given)}`)
  const rules = given as readonly LifecycleRule[]
  rules.forEach((rule, at) => checkRule(rule, `lifecycleRules[${at}]`, classes))
  const ids = rules.map(idOfRule)
  const twice = ids.find((id, at) => ids.indexOf(id) !== at)
  if (twice !== undefined) throw new TypeError(`lifecycleRules must have different ids: ${JSON.stringify(twice)} is there twice`)
  return rules
}

/** A rule's own name among ours. */
export function idOfRule(rule: LifecycleRule, at: number): string {
  return rule.id ?? String(at + 1)
}

/** What the names of the objects begin with that a rule concerns. */
export function namesOfRule({ tenant, prefix }: LifecycleRule, names: ObjectNames): string {
  return tenant === undefined ? names.root : names.under(new TenantScope(validateTenant(tenant)), validatePrefix(prefix))[0]
}

function checkRule(rule: unknown, option: string, classes: readonly string[] | undefined): void {
  if (!isObject(rule)) throw new TypeError(`${option} must be a rule such as { expirationDays: 365 }, not ${kindOfOption(rule)}`)
  checkKnown(rule, KNOWN, option)
  const { id, tenant, prefix, transitionDays, storageClass, expirationDays } = rule
  if (id !== undefined && !(typeof id === 'string' && ID.test(id))) throw new TypeError(`${option}.id must be 1 to 100 letters, digits, -, _ and ., not ${kindOfOption(id)}`)
  checkConcern(tenant, prefix, option)
  checkDays(transitionDays, `${option}.transitionDays`, 0)
  checkDays(expirationDays, `${option}.expirationDays`, 1)
  if (storageClass !== undefined) checkClass(storageClass, `${option}.storageClass`, classes)
  if ((transitionDays === undefined) !== (storageClass === undefined)) throw new TypeError(`${option} must have transitionDays and storageClass together: when objects move, and where to`)
  if (transitionDays === undefined && expirationDays === undefined) throw new TypeError(`${option} must have transitionDays and storageClass, or expirationDays, or all three: it says nothing`)
  if (typeof transitionDays === 'number' && typeof expirationDays === 'number' && transitionDays >= expirationDays) {
    throw new TypeError(`${option}.expirationDays must be more than transitionDays (${transitionDays}), not ${expirationDays}`)
  }
}

function checkConcern(tenant: unknown, prefix: unknown, option: string): void {
  if (tenant !== undefined) named(`${option}.tenant`, () => validateTenant(tenant))
  if (prefix === undefined) return
  named(`${option}.prefix`, () => validatePrefix(prefix))
  if (tenant === undefined) throw new TypeError(`${option}.prefix needs ${option}.tenant beside it: the tenant stands before the key in an object's name, so no rule can name a prefix of all tenants' keys`)
  if (ENDS_IN_DOTS.test(prefix as string)) throw new TypeError(`${option}.prefix must not end in a segment of dots: no prefix of names says that`)
}

function checkClass(given: unknown, option: string, classes: readonly string[] | undefined): void {
  if (typeof given !== 'string' || given === '') throw new TypeError(`${option} must be the name of a storage class, not ${kindOfOption(given)}`)
  if (classes?.includes(given) === false) throw new TypeError(`${option} must be one of ${classes.join(', ')}, not ${given}`)
}

function checkDays(value: unknown, option: string, least: number): void {
  if (value !== undefined && !(typeof value === 'number' && Number.isSafeInteger(value) && value >= least)) {
    throw new TypeError(`${option} must be a whole number of days, at least ${least}, not ${kindOfOption(value)}`)
  }
}

function named(option: string, check: () => unknown): void {
  try {
    check()
  } catch (error) {
    throw new TypeError(`${option}: ${(error as { readonly message: string }).message}`)
  }
}
