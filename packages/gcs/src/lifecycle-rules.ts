import { namesOfRule, type LifecycleRule, type ObjectNames } from '@thermocline/object-store'

/** What Cloud Storage calls them; the last three are of earlier times and still taken. https://cloud.google.com/storage/docs/storage-classes */
export const STORAGE_CLASSES: readonly string[] = ['STANDARD', 'NEARLINE', 'COLDLINE', 'ARCHIVE', 'MULTI_REGIONAL', 'REGIONAL', 'DURABLE_REDUCED_AVAILABILITY']

/** A rule as Cloud Storage has it. Others' rules may have anything else in them. https://cloud.google.com/storage/docs/json_api/v1/buckets#lifecycle */
export interface BucketRule {
  readonly action?: { readonly type?: string; readonly storageClass?: string }
  readonly condition?: { readonly age?: number; readonly matchesPrefix?: readonly string[] } & Readonly<Record<string, unknown>>
}

/** The rules as the bucket ought to have them: a rule that moves and removes is two. */
export function bucketRulesOf(rules: readonly LifecycleRule[], names: ObjectNames): readonly BucketRule[] {
  return rules.flatMap((rule) => {
    const { transitionDays, storageClass, expirationDays } = rule
    const matchesPrefix = [namesOfRule(rule, names)]
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
