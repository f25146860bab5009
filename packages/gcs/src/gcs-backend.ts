import {
  getEach,
  Hosts,
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
import { LANDS_WITHIN_MS, LifecycleComparison, MAX_USER_METADATA_BYTES, type AppliedLifecycle } from '@thermocline/object-store'
import { Credentials } from './credentials.js'
import { Lifecycle } from './lifecycle.js'
import { Lister } from './lister.js'
import { ObjectApi } from './object-api.js'
import { checkOptions, type GcsBackendOptions } from './options.js'
import { Reader } from './reader.js'
import { Refusals } from './refusals.js'
import { Remover } from './remover.js'
import { Transport } from './transport.js'
import { Uploader } from './uploader.js'
import { Writer } from './writer.js'

/**
 * A cold tier in a bucket of Google Cloud Storage.
 *
 * Each entry is one plain object, which other tools can read: the payload is its content, all else its metadata. The instants in the metadata
 * decide whether an entry is served; the bucket's lifecycle removes what nobody asks for any more.
 */
export class GcsBackend implements CacheBackend {
  readonly name = 'gcs'
  readonly capabilities: BackendCapabilities
  readonly #transport: Transport
  readonly #reader: Reader
  readonly #writer: Writer
  readonly #remover: Remover
  readonly #lister: Lister
  readonly #comparison: LifecycleComparison
  readonly #hosts = new Hosts()

  /** Connects to nothing. @throws TypeError for invalid options */
  constructor(options: GcsBackendOptions) {
    const checked = checkOptions(options)
    const { endpoint, anonymous, bucket, names, storageClass, maxSockets, lifecycleRules } = checked
    const credentials = new Credentials(checked)
    this.#transport = new Transport(endpoint, maxSockets, anonymous ? undefined : (signal) => credentials.headers(signal))
    const api = new ObjectApi(this.#transport, bucket)
    this.#lister = new Lister(api, names)
    this.#reader = new Reader(api, names, new Refusals(api, names, this.#hosts), this.#hosts)
    this.#writer = new Writer(api, new Uploader(api), names, storageClass, this.#hosts)
    this.#remover = new Remover(api, names, this.#lister, maxSockets)
    this.#comparison = new LifecycleComparison(this.#hosts, new Lifecycle(api, bucket, names.root, lifecycleRules))
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
    const detach = this.#hosts.attach(host)
    this.#comparison.begin()
    return detach
  }

  get(scope: TenantScope, key: ValidKey, options: ReadOptions): Promise<CacheEntry | undefined> {
    return this.#reader.get(scope, key, options)
  }

  getMany(scope: TenantScope, keys: readonly ValidKey[], options: ReadOptions): Promise<readonly (CacheEntry | undefined)[]> {
    return Promise.resolve(getEach(this, scope, keys, options))
  }

  put(scope: TenantScope, key: ValidKey, entry: CacheEntry, options: PutOptions): Promise<boolean> {
    return this.#writer.put(scope, key, entry, options)
  }

  delete(scope: TenantScope, keys: readonly ValidKey[], options: OperationOptions): Promise<number | undefined> {
    return this.#remover.delete(scope, keys, options)
  }

  clear(scope: TenantScope, prefix: string, options: ClearOptions): Promise<number | undefined> {
    return this.#remover.clear(scope, prefix, options)
  }

  list(scope: TenantScope, prefix: string, options: ListOptions): AsyncIterable<StoredEntryInfo> {
    return this.#lister.list(scope, prefix, options)
  }

  /** Nothing: counting would list the whole bucket. */
  stats(_scope?: TenantScope): BackendStats {
    return {}
  }

  /**
   * Makes the bucket's lifecycle rules for this backend's objects those of `lifecycleRules`. Rules that concern anything else stay as they are. Needs
   * `storage.buckets.get` and `storage.buckets.update`.
   *
   * A failure that may pass is tried again, three times.
   *
   * @throws CacheError `access-denied`, or `failed` when the bucket was changed by others at the same moment, each time
   */
  applyLifecycle(): Promise<AppliedLifecycle> {
    return this.#comparison.apply()
  }

  /** Ends the connections, once no manager uses the backend any more; a client that was given stays as it is. */
  [Symbol.asyncDispose](): Promise<void> {
    if (this.#hosts.isEmpty) {
      this.#comparison.stop()
      this.#transport.close()
    }
    return Promise.resolve()
  }
}
