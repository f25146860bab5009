import { CacheError, type CancelTimer, type Hosts } from '@thermocline/backend'
import { asGcsError, isRefusal } from './errors.js'
import { isOurs, textOf, type BucketRule } from './lifecycle-rules.js'
import type { ObjectApi } from './object-api.js'

/** Milliseconds until a bucket that could not be asked is asked again. */
const AGAIN_MS = 60_000
const PLACE = { operation: 'lifecycle' }

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
  readonly #hosts: Hosts
  #isComparing = false
  #cancel: CancelTimer = () => undefined

  constructor(api: ObjectApi, root: string, wanted: readonly BucketRule[], hosts: Hosts) {
    this.#api = api
    this.#root = root
    this.#wanted = wanted
    this.#hosts = hosts
  }

  /** Compares in the background, when first called. Nobody waits for it. */
  compareOnce(): void {
    if (this.#isComparing || this.#wanted.length === 0) return
    this.#isComparing = true
    this.#compareIn(0)
  }

  stop(): void {
    this.#cancel()
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
        throw new CacheError('failed', 'the bucket was changed by somebody else at the same moment; nothing was done: try again', { ...PLACE, backend: 'gcs', retryable: true, cause: error })
      }
      throw asGcsError(error, PLACE)
    }
  }

  #compareIn(ms: number): void {
    this.#cancel = this.#hosts.clock.schedule(ms, () => void this.#compare(), { background: true })
  }

  async #compare(): Promise<void> {
    try {
      const differences = this.#differences(await this.#read())
      if (differences.length > 0) this.#tell(`the bucket's lifecycle is not what lifecycleRules says: ${differences.join('; ')}. Nothing was changed; applyLifecycle() would change it`, undefined)
    } catch (error) {
      const failure = asGcsError(error, PLACE)
      if (failure.code === 'closed') return
      if (isRefusal(error, 401, 403)) this.#tell(`lifecycleRules cannot be compared with the bucket's lifecycle: ${failure.message}; grant storage.buckets.get`, error)
      else this.#compareIn(AGAIN_MS)
    }
  }

  #tell(message: string, cause: unknown): void {
    this.#hosts.report(new CacheError('misconfigured', message, { ...PLACE, backend: 'gcs', cause }))
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
