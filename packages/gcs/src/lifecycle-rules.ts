import type { ObjectNames } from '@thermocline/object-store'
import { checkKnown, TenantScope, validatePrefix, validateTenant } from '@thermocline/backend'

/** What Cloud Storage calls them; the last three are of earlier times and still taken. https://cloud.google.com/storage/docs/storage-classes */
export const STORAGE_CLASSES: readonly string[] = ['STANDARD', 'NEARLINE', 'COLDLINE', 'ARCHIVE', 'MULTI_REGIONAL', 'REGIONAL', 'DURABLE_REDUCED_AVAILABILITY']

/** What the bucket's lifecycle ought to do with entries, by their age since they were written. */
export interface LifecycleRule {
  /** A name for messages. Cloud Storage keeps none. */
  readonly id?: string | undefined
  /** Whose entries. Default: all tenants'. */
  readonly tenant?: string | undefined
  /** Which of the tenant's entries, by what their keys begin with; only together with `tenant`. Keys that are stored under hashed names are not reached. */
  readonly prefix?: string | undefined
  /** Days after which objects move to `storageClass`. */
  readonly transitionDays?: number | undefined
  /** Where they move. */
  readonly storageClass?: string | undefined
  /** Days after which objects are removed. */
  readonly expirationDays?: number | undefined
}

/** A rule as Cloud Storage has it. Others' rules may have anything else in them. https://cloud.google.com/storage/docs/json_api/v1/buckets#lifecycle */
export interface BucketRule {
  readonly action?: { readonly type?: string; readonly storageClass?: string }
  readonly condition?: { readonly age?: number; readonly matchesPrefix?: readonly string[] } & Readonly<Record<string, unknown>>
}

/** @throws TypeError that names the rule and what is wrong with it */
export function checkLifecycleRules(given: unknown): readonly LifecycleRule[] {
  if (given === undefined) return []
  if (!Array.isArray(given)) throw new TypeError(`lifecycleRules must be a list of rules such as { expirationDays: 365 }, not ${typeof given}`)
  return given.map((rule, at) => checkRule(rule as unknown, `lifecycleRules[${at}]`))
}

const ENDS_IN_DOTS = /(?:^|\/)\.+$/
const FIELDS: readonly string[] = ['id', 'tenant', 'prefix', 'transitionDays', 'storageClass', 'expirationDays']

function checkRule(given: unknown, name: string): LifecycleRule {
  if (typeof given !== 'object' || given === null) throw new TypeError(`${name} must be a rule such as { expirationDays: 365 }, not ${String(given)}`)
  checkKnown(given, FIELDS, name)
  const rule = given as LifecycleRule
  for (const field of ['id', 'tenant', 'prefix'] as const) {
    if (rule[field] !== undefined && typeof rule[field] !== 'string') throw new TypeError(`${name}.${field} must be a string, not ${String(rule[field])}`)
  }
  if (rule.tenant !== undefined) named(`${name}.tenant`, () => validateTenant(rule.tenant))
  if (rule.prefix !== undefined) named(`${name}.prefix`, () => validatePrefix(rule.prefix))
  if (rule.prefix !== undefined && ENDS_IN_DOTS.test(rule.prefix)) throw new TypeError(`${name}.prefix must not end in a segment of dots: no prefix of names says that`)
  if (rule.prefix !== undefined && rule.tenant === undefined) {
    throw new TypeError(`${name}.prefix must come with a tenant: it is the beginning of keys, which lie under their tenants, and Cloud Storage cannot leave the tenant open`)
  }
  days(rule.transitionDays, 0, `${name}.transitionDays`)
  days(rule.expirationDays, 1, `${name}.expirationDays`)
  if ((rule.transitionDays === undefined) !== (rule.storageClass === undefined)) throw new TypeError(`${name} must have transitionDays and storageClass together, or neither`)
  if (rule.transitionDays === undefined && rule.expirationDays === undefined) throw new TypeError(`${name} must have transitionDays and storageClass, or expirationDays, or all three`)
  if (rule.storageClass !== undefined && !STORAGE_CLASSES.includes(rule.storageClass)) {
    throw new TypeError(`${name}.storageClass must be one of ${STORAGE_CLASSES.join(', ')}, not ${rule.storageClass}`)
  }
  if (rule.transitionDays !== undefined && rule.expirationDays !== undefined && rule.transitionDays >= rule.expirationDays) {
    throw new TypeError(`${name}.expirationDays must be more than transitionDays (${rule.transitionDays}), not ${rule.expirationDays}`)
  }
  return rule
}

function named(name: string, check: () => unknown): void {
  try {
    check()
  } catch (error) {
    throw new TypeError(`${name}: ${(error as { readonly message: string }).message}`)
  }
}

function days(value: unknown, least: number, name: string): void {
  if (value !== undefined && !(Number.isInteger(value) && (value as number) >= least)) throw new TypeError(`${name} must be a whole number of days, at least ${least}, not ${typeof value === 'number' ? value : typeof value}`)
}

/** The rules as the bucket ought to have them: a rule that moves and removes is two. */
export function bucketRulesOf(rules: readonly LifecycleRule[], names: ObjectNames): readonly BucketRule[] {
  return rules.flatMap(({ tenant, prefix = '', transitionDays, storageClass, expirationDays }) => {
    const matchesPrefix = [tenant === undefined ? names.root : names.under(new TenantScope(validateTenant(tenant)), prefix)[0]]
    const made: BucketRule[] = []
    if (transitionDays !== undefined && storageClass !== undefined) made.push({ action: { type: 'SetStorageClass', storageClass }, condition: { age: transitionDays, matchesPrefix } })
    if (expirationDays !== undefined) made.push({ action: { type: 'Delete' }, condition: { age: expirationDays, matchesPrefix } })
    return made
  })
}

/** Cloud Storage's rules have no names, so ours are those that concern nothing but what lies under our root. */
export function isOurs(rule: BucketRule, root: string): boolean {
  const prefixes = rule.condition?.matchesPrefix
  return Array.isArray(prefixes) && prefixes.length > 0 && prefixes.every((prefix) => typeof prefix === 'string' && prefix.startsWith(root))
}

/** The same text for rules that do the same. */
export function textOf({ action, condition }: BucketRule): string {
  const { age, matchesPrefix = [], ...others } = condition ?? {}
  const what = action?.type === 'SetStorageClass' ? `move to ${String(action.storageClass)}` : action?.type === 'Delete' ? 'remove' : String(action?.type)
  const when = age === undefined ? '' : ` after ${age} days`
  const more = Object.keys(others).length === 0 ? '' : ` where ${JSON.stringify(Object.fromEntries(Object.entries(others).sort(([a], [b]) => (a < b ? -1 : 1))))}`
  return `${what} what begins with ${[...matchesPrefix].sort().join(' or ')}${when}${more}`
}
