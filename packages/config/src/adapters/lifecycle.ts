import type { WrongSetting } from './built-in-adapter.js'

interface LifecycleRule {
  readonly tenant?: string
  readonly prefix?: string
  readonly transition_days?: number
  readonly storage_class?: string
  readonly expiration_days?: number
}

/** What no schema can say about the lifecycle rules of an object store. */
export function wrongLifecycleRules(rules: unknown): readonly WrongSetting[] {
  return ((rules ?? []) as readonly LifecycleRule[]).flatMap((rule, at) => {
    const { tenant, prefix, transition_days: transition, storage_class: storageClass, expiration_days: expiration } = rule
    const wrong = (setting: string, message: string): WrongSetting[] => [{ path: ['lifecycle_rules', at, setting], message }]
    return [
      ...(prefix !== undefined && tenant === undefined ? wrong('prefix', 'needs `tenant` beside it: keys lie under their tenants') : []),
      ...(transition !== undefined && storageClass === undefined ? wrong('transition_days', 'needs `storage_class` beside it: where objects move') : []),
      ...(transition === undefined && storageClass !== undefined ? wrong('storage_class', 'needs `transition_days` beside it: when objects move') : []),
      ...(transition === undefined && expiration === undefined && storageClass === undefined ? [{ path: ['lifecycle_rules', at], message: 'says nothing: give `transition_days` and `storage_class`, or `expiration_days`' }] : []),
      ...(transition !== undefined && expiration !== undefined && transition >= expiration ? wrong('expiration_days', `must be more than \`transition_days\` (${transition}), found ${expiration}`) : []),
    ]
  })
}
