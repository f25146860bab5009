import { invalid, notModelled } from './reply.js'
import type { LifecycleRule, Store, StoredBucket, StoredObject } from './store.js'

const DAY_MS = 86_400_000
const MOST_RULES = 100
const ACTIONS = ['Delete', 'SetStorageClass', 'AbortIncompleteMultipartUpload']

/** The `lifecycle` of a bucket's resource; one without rules is none (cloud.google.com/storage/docs/json_api/v1/buckets#lifecycle). */
export function readLifecycle(value: unknown): StoredBucket['lifecycle'] {
  if (value === null || value === undefined) return undefined
  const { rule = [] } = value as { readonly rule?: unknown }
  if (!Array.isArray(rule) || rule.length > MOST_RULES) throw invalid('Invalid argument.')
  for (const one of rule as Partial<LifecycleRule>[]) {
    const isKnown = one.action !== undefined && ACTIONS.includes(one.action.type)
    if (!isKnown || typeof one.condition !== 'object' || one.condition === null || Object.keys(one.condition).length === 0) throw invalid('Invalid argument.')
  }
  return rule.length === 0 ? undefined : { rule: rule as LifecycleRule[] }
}

/**
 * Does what the service does about once a day, taking it to be the given time. An object that meets all conditions of a rule is
 * acted on, and a deletion comes before a change of class (cloud.google.com/storage/docs/lifecycle).
 */
export function applyLifecycle(store: Store, now: Date): void {
  for (const bucket of store.buckets.values()) {
    for (const object of [...bucket.objects.values()]) {
      const rules = (bucket.lifecycle?.rule ?? []).filter(({ condition }) => Object.entries(condition).every(([name, value]) => holds(object, name, value, now)))
      if (rules.some(({ action }) => action.type === 'Delete')) {
        bucket.objects.delete(object.name)
        continue
      }
      const storageClass = rules.find(({ action }) => action.type === 'SetStorageClass')?.action.storageClass
      if (storageClass !== undefined && storageClass !== object.fields.storageClass) store.update(object, { ...object.fields, storageClass })
    }
  }
}

function holds({ name, timeCreated, fields }: StoredObject, condition: string, value: unknown, now: Date): boolean {
  const isOlder = (since: number, days: unknown): boolean => now.getTime() - since >= Number(days) * DAY_MS
  const list = Array.isArray(value) ? value.map(String) : []
  switch (condition) {
    case 'age':
      return isOlder(timeCreated.getTime(), value)
    case 'daysSinceCustomTime':
      return fields.customTime !== undefined && isOlder(Date.parse(fields.customTime), value)
    case 'customTimeBefore':
      return fields.customTime !== undefined && Date.parse(fields.customTime) < Date.parse(String(value))
    case 'createdBefore':
      return timeCreated.getTime() < Date.parse(String(value))
    case 'matchesPrefix':
      return list.some((prefix) => name.startsWith(prefix))
    case 'matchesSuffix':
      return list.some((suffix) => name.endsWith(suffix))
    case 'matchesStorageClass':
      return list.includes(fields.storageClass)
    case 'isLive':
      return value === true // there is no versioning
    default:
      throw notModelled(`the condition ${condition} of a lifecycle rule`)
  }
}
