import { CacheError, isCacheError, type CancelTimer, type Hosts } from '@thermocline/backend'

/** Milliseconds until a bucket that could not be asked is asked again. */
const AGAIN_MS = 60_000
/** How often `applyLifecycle` tries, and the milliseconds after the first failure; they double. No manager tries again for it. */
const ATTEMPTS = 4
const FIRST_WAIT_MS = 250
/** Where failures of a lifecycle happen. */
export const LIFECYCLE = { operation: 'lifecycle' } as const

/** What `applyLifecycle` has done. */
export interface AppliedLifecycle {
  readonly changed: boolean
  /** What was not as it ought to be, in words, one each. */
  readonly differences: readonly string[]
}

/** A bucket's lifecycle, as far as it can be compared with the rules that were given. */
export interface BucketLifecycle {
  readonly backend: string
  readonly bucket: string
  /** Whether rules were given. */
  readonly hasRules: boolean
  /** What lets a user read the rules. */
  readonly permission: string
  /** What is not as it ought to be, in words. */
  differences(): Promise<readonly string[]>
  /** Makes the rules what they ought to be. @throws CacheError */
  apply(): Promise<AppliedLifecycle>
  failed(error: unknown): CacheError
  /** The user may not ask, or the store has no lifecycle: asking again changes nothing. */
  isRefused(error: unknown): boolean
}

/** Compares a bucket's lifecycle with the rules that were given, once, in the background, and tells of differences. Nothing is changed but by {@link apply}. */
export class LifecycleComparison {
  readonly #hosts: Hosts
  readonly #lifecycle: BucketLifecycle
  #isBegun = false
  #cancel: CancelTimer = () => undefined

  constructor(hosts: Hosts, lifecycle: BucketLifecycle) {
    this.#hosts = hosts
    this.#lifecycle = lifecycle
  }

  /** Begins when first called, where rules were given. Nobody waits for it. */
  begin(): void {
    if (this.#isBegun || !this.#lifecycle.hasRules) return
    this.#isBegun = true
    this.#compareIn(0)
  }

  stop(): void {
    this.#cancel()
  }

  /** Makes the rules what they ought to be. A failure that may pass is tried again. @throws CacheError */
  async apply(): Promise<AppliedLifecycle> {
    for (let attempt = 1, waitMs = FIRST_WAIT_MS; ; attempt++, waitMs *= 2) {
      try {
        return await this.#lifecycle.apply()
      } catch (error) {
        if (attempt === ATTEMPTS || !isCacheError(error) || !error.retryable) throw error
        await new Promise<void>((resolve) => this.#hosts.clock.schedule(waitMs, resolve))
      }
    }
  }

  #compareIn(ms: number): void {
    this.#cancel = this.#hosts.clock.schedule(ms, () => void this.#compare(), { background: true })
  }

  async #compare(): Promise<void> {
    const { bucket, permission } = this.#lifecycle
    try {
      const differences = await this.#lifecycle.differences()
      if (differences.length > 0) this.#tell(`the lifecycle of bucket ${bucket} is not what lifecycleRules says: ${differences.join('; ')}. Nothing was changed; applyLifecycle() would change it`, undefined)
    } catch (error) {
      if (this.#lifecycle.isRefused(error)) this.#tell(`lifecycleRules cannot be compared with the lifecycle of bucket ${bucket}: ${this.#lifecycle.failed(error).message}; grant ${permission}`, error)
      else if (!this.#hosts.isEmpty) this.#compareIn(AGAIN_MS)
    }
  }

  #tell(message: string, cause: unknown): void {
    this.#hosts.report(new CacheError('misconfigured', message, { ...LIFECYCLE, backend: this.#lifecycle.backend, cause }))
  }
}
