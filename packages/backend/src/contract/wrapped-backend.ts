import type { Awaitable, BackendCapabilities, BackendHost, BackendStats, CacheBackend, ClearOptions, Detach, ListOptions, OperationOptions, PutOptions, ReadOptions, StoredEntryInfo } from './backend.js'
import type { CacheEntry } from './entry.js'
import type { TenantScope } from './scope.js'
import type { ValidKey } from '../keys/key.js'

/** Passes everything on. A layer extends it and overrides what it changes. */
export class WrappedBackend implements CacheBackend {
  protected readonly inner: CacheBackend

  constructor(inner: CacheBackend) {
    this.inner = inner
  }

  get name(): string {
    return this.inner.name
  }

  get capabilities(): BackendCapabilities {
    return this.inner.capabilities
  }

  attach(host: BackendHost): Detach {
    return this.inner.attach(host)
  }

  get(scope: TenantScope, key: ValidKey, options: ReadOptions): Awaitable<CacheEntry | undefined> {
    return this.inner.get(scope, key, options)
  }

  getMany(scope: TenantScope, keys: readonly ValidKey[], options: ReadOptions): Awaitable<readonly (CacheEntry | undefined)[]> {
    return this.inner.getMany(scope, keys, options)
  }

  put(scope: TenantScope, key: ValidKey, entry: CacheEntry, options: PutOptions): Awaitable<boolean> {
    return this.inner.put(scope, key, entry, options)
  }

  delete(scope: TenantScope, keys: readonly ValidKey[], options: OperationOptions): Awaitable<number | undefined> {
    return this.inner.delete(scope, keys, options)
  }

  clear(scope: TenantScope, prefix: string, options: ClearOptions): Awaitable<number | undefined> {
    return this.inner.clear(scope, prefix, options)
  }

  list(scope: TenantScope, prefix: string, options: ListOptions): AsyncIterable<StoredEntryInfo> {
    return this.inner.list(scope, prefix, options)
  }

  stats(scope?: TenantScope): Awaitable<BackendStats> {
    return this.inner.stats(scope)
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.inner[Symbol.asyncDispose]()
  }
}
