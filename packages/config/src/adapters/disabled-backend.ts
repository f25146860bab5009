import type { BackendCapabilities, BackendStats, CacheBackend, Detach, StoredEntryInfo, TenantScope, ValidKey } from '@thermocline/core'

/**
 * Stands in every tier of a cache with `enabled: false`: no package is loaded, no directory made, no server asked, and
 * the tiers keep their names, so that calls that name them stay valid.
 */
export class DisabledBackend implements CacheBackend {
  readonly name = 'disabled'
  readonly capabilities: BackendCapabilities = { synchronous: false, shared: false, durable: false, streams: false, nativeExpiry: false, keeps: 'bytes' }

  attach(): Detach {
    return () => undefined
  }

  get(): undefined {
    return undefined
  }

  getMany(_scope: TenantScope, keys: readonly ValidKey[]): undefined[] {
    return keys.map(() => undefined)
  }

  put(): boolean {
    return false
  }

  delete(): number {
    return 0
  }

  clear(): number {
    return 0
  }

  async *list(): AsyncIterable<StoredEntryInfo> {
    // nothing is stored
  }

  stats(): BackendStats {
    return {}
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve()
  }
}
