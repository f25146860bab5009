import { createHash } from 'node:crypto'
import { isPromise, type CacheError } from '@thermocline/backend'
import { idOfRule, LIFECYCLE, namesOfRule, type AppliedLifecycle, type BucketLifecycle, type LifecycleRule, type ObjectNames } from '@thermocline/object-store'
import type { LifecycleRule as StoredRule, TransitionDefaultMinimumObjectSize, TransitionStorageClass } from '@aws-sdk/client-s3'
import { asS3Error, isNotFound, statusOf } from './errors.js'
import type { Shared } from './shared.js'

/** The user may not ask, or the store has no lifecycle. */
const REFUSALS: ReadonlySet<number | undefined> = new Set([403, 405, 501])

/** The whole of a bucket's lifecycle. */
interface Stored {
  readonly rules: readonly StoredRule[]
  readonly least: TransitionDefaultMinimumObjectSize | undefined
}

/** What has to happen for our rules to be as they ought to. */
interface Difference {
  readonly differences: readonly string[]
  readonly next: readonly StoredRule[]
}

/**
 * The rules of the bucket's lifecycle that are ours: those whose id begins with `thermocline-` and a hash of where our objects are, so
 * that several caches may share a bucket, and that concern our objects only.
 */
export class Lifecycle implements BucketLifecycle {
  readonly backend = 's3'
  readonly bucket: string
  readonly hasRules: boolean
  readonly permission = 's3:GetLifecycleConfiguration'
  readonly #shared: Shared

  constructor(shared: Shared) {
    this.bucket = shared.bucket
    this.hasRules = shared.options.lifecycleRules.length > 0
    this.#shared = shared
  }

  async differences(): Promise<readonly string[]> {
    return this.#differences((await this.#read()).rules).differences
  }

  failed(error: unknown): CacheError {
    return asS3Error(error, LIFECYCLE)
  }

  isRefused(error: unknown): boolean {
    return REFUSALS.has(statusOf(error))
  }

  /** The store has no condition for this: a change of somebody else's in the same moment may be lost. */
  async apply(): Promise<AppliedLifecycle> {
    try {
      const stored = await this.#read()
      const { next, differences } = this.#differences(stored.rules)
      if (differences.length > 0) await this.#write(next, stored.least)
      return { changed: differences.length > 0, differences }
    } catch (error) {
      throw this.failed(error)
    }
  }

  async #read(): Promise<Stored> {
    const opening = this.#shared.connection.open('lifecycle')
    const { sdk, client } = isPromise(opening) ? await opening : opening
    try {
      const answer = await client.send(new sdk.GetBucketLifecycleConfigurationCommand({ Bucket: this.#shared.bucket }))
      return { rules: answer.Rules ?? [], least: answer.TransitionDefaultMinimumObjectSize }
    } catch (error) {
      if (!isNotFound(error)) throw error
      return { rules: [], least: undefined } // no rule, no configuration
    }
  }

  async #write(rules: readonly StoredRule[], least: TransitionDefaultMinimumObjectSize | undefined): Promise<void> {
    const { connection, bucket } = this.#shared
    const opening = connection.open('lifecycle')
    const { sdk, client } = isPromise(opening) ? await opening : opening
    if (rules.length === 0) await client.send(new sdk.DeleteBucketLifecycleCommand({ Bucket: bucket }))
    else await client.send(new sdk.PutBucketLifecycleConfigurationCommand({ Bucket: bucket, TransitionDefaultMinimumObjectSize: least, LifecycleConfiguration: { Rules: [...rules] } }))
  }

  #differences(stored: readonly StoredRule[]): Difference {
    const { names, options } = this.#shared
    const ours = `thermocline-${createHash('sha256').update(names.root).digest('hex').slice(0, 8)}-`
    const isOurs = (rule: StoredRule): boolean => rule.ID?.startsWith(ours) === true && prefixOf(rule)?.startsWith(names.root) === true
    const wanted = options.lifecycleRules.map((rule, at) => storedRule(rule, `${ours}${idOfRule(rule, at)}`, names))
    const before = new Map(stored.filter(isOurs).map((rule) => [rule.ID, rule]))
    const short = ({ ID = '' }: StoredRule): string => ID.slice(ours.length)
    const added = wanted.filter(({ ID }) => !before.has(ID))
    const replaced = wanted.filter((rule) => before.has(rule.ID) && textOf(before.get(rule.ID) as StoredRule) !== textOf(rule))
    const removed = [...before.values()].filter(({ ID }) => !wanted.some((rule) => rule.ID === ID))
    const differences = [
      ...added.map((rule) => `rule ${short(rule)} is missing (${textOf(rule)})`),
      ...replaced.map((rule) => `rule ${short(rule)} says ${textOf(before.get(rule.ID) as StoredRule)} instead of ${textOf(rule)}`),
      ...removed.map((rule) => `rule ${short(rule)} is not wanted (${textOf(rule)})`),
    ]
    return { differences, next: [...stored.filter((rule) => !isOurs(rule)), ...wanted] }
  }
}

function storedRule(rule: LifecycleRule, id: string, names: ObjectNames): StoredRule {
  const { transitionDays, storageClass, expirationDays } = rule
  return {
    ID: id,
    Status: 'Enabled',
    Filter: { Prefix: namesOfRule(rule, names) },
    ...(transitionDays === undefined ? {} : { Transitions: [{ Days: transitionDays, StorageClass: storageClass as TransitionStorageClass }] }),
    ...(expirationDays === undefined ? {} : { Expiration: { Days: expirationDays } }),
  }
}

/** The names that a rule concerns, in whichever of its three places it says so. */
function prefixOf(rule: StoredRule): string | undefined {
  const { Filter } = rule
  return Filter?.Prefix ?? Filter?.And?.Prefix ?? (rule as { readonly Prefix?: string | undefined }).Prefix
}

/** All that a rule does, so that two rules do the same when their texts are the same. */
function textOf(rule: StoredRule): string {
  const { Transitions = [], Expiration, Status, NoncurrentVersionExpiration, NoncurrentVersionTransitions, AbortIncompleteMultipartUpload, Filter } = rule
  const others = { NoncurrentVersionExpiration, NoncurrentVersionTransitions, AbortIncompleteMultipartUpload, And: Filter?.And, Tag: Filter?.Tag, Least: Filter?.ObjectSizeGreaterThan, Most: Filter?.ObjectSizeLessThan }
  const more = Object.entries(others).filter(([, value]) => value !== undefined && !(Array.isArray(value) && value.length === 0))
  return [
    `${Status === 'Enabled' ? '' : 'switched off: '}objects under ${JSON.stringify(prefixOf(rule))}`,
    ...Transitions.map(({ Days, Date: at, StorageClass }) => `move to ${StorageClass} ${Days === undefined ? `on ${at?.toISOString()}` : `after ${Days} days`}`),
    ...(Expiration === undefined ? [] : [Expiration.Days === undefined ? `are removed on ${Expiration.Date?.toISOString()}` : `are removed after ${Expiration.Days} days`]),
    ...(more.length === 0 ? [] : [JSON.stringify(Object.fromEntries(more))]),
  ].join(', ')
}
