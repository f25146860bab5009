import { CacheError } from '@thermocline/core'
import { asGcsError, isRefusal } from './errors.js'
import { isOurs, textOf, type BucketRule } from './lifecycle-rules.js'
import type { ObjectApi } from './object-api.js'

/** What `applyLifecycle` has done. */
export interface AppliedLifecycle {
  readonly changed: boolean
  /** What was different, one sentence each. */
  readonly differences: readonly string[]
}

interface Bucket {
  readonly metageneration?: string
  readonly lifecycle?: { readonly rule?: readonly BucketRule[] }
}

/** The bucket's rules and ours. Rules that concern anything else are never touched. */
export class Lifecycle {
  readonly #api: ObjectApi
  readonly #root: string
  readonly #wanted: readonly BucketRule[]

  constructor(api: ObjectApi, root: string, wanted: readonly BucketRule[]) {
    this.#api = api
    this.#root = root
    this.#wanted = wanted
  }

  /** What to report; `undefined`: nothing differs. Rejects when the bucket cannot be asked just now. */
  async compare(): Promise<CacheError | undefined> {
    try {
      const differences = this.#differences(await this.#read())
      return differences.length === 0 ? undefined : misconfigured(`the bucket's lifecycle differs: ${differences.join('; ')}. Nothing was changed; applyLifecycle() of the backend would`)
    } catch (error) {
      if (isRefusal(error, 403)) return misconfigured('lifecycleRules cannot be compared: grant storage.buckets.get, or leave them out', error)
      throw asGcsError(error, 'compare', undefined)
    }
  }

  /** Makes the bucket's rules for our objects what they ought to be, unless somebody changes the bucket at the same moment. */
  async apply(): Promise<AppliedLifecycle> {
    try {
      const bucket = await this.#read()
      const differences = this.#differences(bucket)
      if (differences.length === 0) return { changed: false, differences }
      const others = rulesOf(bucket).filter((rule) => !isOurs(rule, this.#root))
      await this.#api.changeBucket({ lifecycle: { rule: [...others, ...this.#wanted] } }, { ifMetagenerationMatch: bucket.metageneration, fields: 'metageneration' }, undefined)
      return { changed: true, differences }
    } catch (error) {
      if (isRefusal(error, 412)) {
        throw new CacheError('failed', 'the bucket was changed by somebody else at the same moment; nothing was done: try again', { operation: 'applyLifecycle', backend: 'gcs', retryable: true, cause: error })
      }
      throw asGcsError(error, 'applyLifecycle', undefined)
    }
  }

  #read(): Promise<Bucket> {
    return this.#api.bucket('metageneration,lifecycle', undefined)
  }

  #differences(bucket: Bucket): readonly string[] {
    const ours = new Set(rulesOf(bucket).filter((rule) => isOurs(rule, this.#root)).map(textOf))
    const wanted = new Set(this.#wanted.map(textOf))
    return [...[...wanted].filter((rule) => !ours.has(rule)).map((rule) => `missing: ${rule}`), ...[...ours].filter((rule) => !wanted.has(rule)).map((rule) => `not in lifecycleRules: ${rule}`)]
  }
}

function rulesOf({ lifecycle }: Bucket): readonly BucketRule[] {
  return lifecycle?.rule ?? []
}

function misconfigured(message: string, cause?: unknown): CacheError {
  return new CacheError('misconfigured', message, { operation: 'compare', backend: 'gcs', cause })
}
