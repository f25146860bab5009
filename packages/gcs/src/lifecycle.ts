import { CacheError } from '@thermocline/backend'
import { LIFECYCLE, type AppliedLifecycle, type BucketLifecycle } from '@thermocline/object-store'
import { asGcsError, isRefusal } from './errors.js'
import { isOurs, textOf, type BucketRule } from './lifecycle-rules.js'
import type { ObjectApi } from './object-api.js'

interface Bucket {
  readonly metageneration?: string
  readonly lifecycle?: { readonly rule?: readonly BucketRule[] }
}

/** The bucket's rules and ours. Rules that concern anything else are never touched. */
export class Lifecycle implements BucketLifecycle {
  readonly backend = 'gcs'
  readonly bucket: string
  readonly hasRules: boolean
  readonly permission = 'storage.buckets.get'
  readonly #api: ObjectApi
  readonly #root: string
  readonly #wanted: readonly BucketRule[]

  constructor(api: ObjectApi, bucket: string, root: string, wanted: readonly BucketRule[]) {
    this.bucket = bucket
    this.hasRules = wanted.length > 0
    this.#api = api
    this.#root = root
    this.#wanted = wanted
  }

  async differences(): Promise<readonly string[]> {
    return this.#differences(await this.#read())
  }

  failed(error: unknown): CacheError {
    return asGcsError(error, LIFECYCLE)
  }

  isRefused(error: unknown): boolean {
    return isRefusal(error, 401, 403)
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
        throw new CacheError('failed', 'the bucket was changed by somebody else at the same moment; nothing was done: try again', { ...LIFECYCLE, backend: 'gcs', retryable: true, cause: error })
      }
      throw this.failed(error)
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
