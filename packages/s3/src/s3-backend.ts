import {
  getEach,
  type BackendCapabilities,
  type BackendHost,
  type BackendStats,
  type CacheBackend,
  type CacheEntry,
  type ClearOptions,
  type Detach,
  type ListOptions,
  type OperationOptions,
  type PutOptions,
  type ReadOptions,
  type StoredEntryInfo,
  type TenantScope,
  type ValidKey,
} from '@thermocline/backend'
import { LANDS_WITHIN_MS, LifecycleComparison, MAX_USER_METADATA_BYTES, ObjectNames, type AppliedLifecycle } from '@thermocline/object-store'
import { Cancellation } from './cancellation.js'
import { Connection } from './connection.js'
import { Lifecycle } from './lifecycle.js'
import { Listing } from './listing.js'
import { checkOptions, type S3BackendOptions } from './options.js'
import { Reads } from './reads.js'
import { Removals } from './removals.js'
import { Shared } from './shared.js'
import { Writes } from './writes.js'

/**
 * The cold tier: a bucket of Amazon S3, or of a store that speaks its protocol.
 *
 * Each entry is one plain object named `<prefix>/tenants/<tenant>/<key>`: its body is the payload as it is, all else is the
 * object's own metadata. The store removes nothing when a life is over; lifecycle rules do, by days.
 */
export class S3Backend implements CacheBackend {
  readonly name = 's3'
  readonly capabilities: BackendCapabilities
  readonly #shared: Shared
  readonly #connection: Connection
  readonly #reads: Reads
  readonly #writes: Writes
  readonly #listing: Listing
  readonly #removals: Removals
  readonly #comparison: LifecycleComparison

  /** Connects to nothing, and loads nothing of the AWS SDK. @throws TypeError for invalid options */
  constructor(options: S3BackendOptions) {
    const checked = checkOptions(options)
    this.#connection = new Connection(checked)
    this.#shared = new Shared(checked, new ObjectNames(checked.prefix), this.#connection)
    this.#reads = new Reads(this.#shared)
    this.#listing = new Listing(this.#shared, this.#reads)
    this.#removals = new Removals(this.#shared, this.#reads, this.#listing)
    this.#writes = new Writes(this.#shared, this.#reads, async (scope, key, given) => this.#removals.delete(scope, [key], given, 'put'))
    this.#comparison = new LifecycleComparison(this.#shared.hosts, new Lifecycle(this.#shared))
    this.capabilities = {
      synchronous: false,
      shared: true,
      durable: true,
      streams: true,
      plain: { maxMetadataBytes: MAX_USER_METADATA_BYTES },
      keeps: 'bytes',
      landsWithinMs: LANDS_WITHIN_MS,
    }
  }

  attach(host: BackendHost): Detach {
    const detach = this.#shared.hosts.attach(host)
    this.#comparison.begin()
    return detach
  }

  get(scope: TenantScope, key: ValidKey, options: ReadOptions): Promise<CacheEntry | undefined> {
    return this.#reads.get(scope, key, options)
  }

  /** A request for each key, all at once: as many as `maxSockets` are under way. */
  async getMany(scope: TenantScope, keys: readonly ValidKey[], options: ReadOptions): Promise<readonly (CacheEntry | undefined)[]> {
    if (options.want === 'stream') return getEach(this, scope, keys, options) // its signal ends streams later, too
    const cancellation = new Cancellation(options.signal)
    const { want, touch, adopt, progress } = options
    try {
      return await Promise.all(keys.map((key) => this.#reads.get(scope, key, { want, touch, adopt, progress, signal: cancellation.signal })))
    } finally {
      cancellation.end()
    }
  }

  /** `false` only for `onlyIfAbsent`. A payload may have 5 GiB in one piece, and 5 TiB as a stream: the store's limits. */
  put(scope: TenantScope, key: ValidKey, entry: CacheEntry, options: PutOptions): Promise<boolean> {
    return this.#writes.put(scope, key, entry, options)
  }

  /** Resolves with `undefined`: S3 does not say what was there. What is in a key's place without being ours goes too. */
  delete(scope: TenantScope, keys: readonly ValidKey[], options: OperationOptions): Promise<undefined> {
    return this.#removals.delete(scope, keys, options)
  }

  clear(scope: TenantScope, prefix: string, options: ClearOptions): Promise<undefined> {
    return this.#removals.clear(scope, prefix, options)
  }

  list(scope: TenantScope, prefix: string, options: ListOptions): AsyncIterable<StoredEntryInfo> {
    return this.#listing.list(scope, prefix, options)
  }

  /** Nothing: counting needs a scan. */
  stats(): BackendStats {
    return {}
  }

  /**
   * Makes the bucket's lifecycle what `lifecycleRules` says, for our objects: our rules are added, changed and removed, everybody
   * else's stay as they are.
   *
   * A failure that may pass is tried again, three times.
   *
   * @throws CacheError when the bucket's rules cannot be read or changed
   */
  applyLifecycle(): Promise<AppliedLifecycle> {
    return this.#comparison.apply()
  }

  /** Ends the client, once no manager uses the backend any more; one that was given stays open. */
  [Symbol.asyncDispose](): Promise<void> {
    if (this.#shared.hosts.isEmpty) {
      this.#comparison.stop()
      this.#connection.close()
    }
    return Promise.resolve()
  }
}
