import type {
  BackendCapabilities,
  BackendStats,
  CacheBackend,
  Detach,
  JournalKeeper,
  StoredEntryInfo,
  TenantScope,
  ValidKey,
  WriteBackJournal,
} from '@thermocline/backend'

/**
 * Stands in every tier of a cache with `enabled: false`: no package is loaded, no directory made, no server asked, and
 * the tiers keep their names and whatever policies may ask of them, so that what was valid stays valid.
 */
export class DisabledBackend implements CacheBackend, JournalKeeper {
  readonly name = 'disabled'
  readonly capabilities: BackendCapabilities = { synchronous: false, shared: false, durable: true, streams: false, keeps: 'bytes' }

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

  /** Never has a place. */
  openJournal(): WriteBackJournal {
    return {
      load: () => [],
      nextLoadAt: undefined,
      supersede: () => Promise.resolve(),
      reserve: () => undefined,
      grow: () => false,
      store: () => Promise.resolve(),
      read: () => Promise.resolve(undefined),
      remove: () => Promise.resolve(),
      size: { entries: 0, bytes: 0 },
      close: () => Promise.resolve(),
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve()
  }
}
