import {
  CacheError,
  isCacheError,
  WrappedBackend,
  type Awaitable,
  type CacheBackend,
  type CacheEntry,
  type Layer,
  type PutOptions,
  type TenantScope,
  type ValidKey,
} from '@thermocline/backend'

/** Keeps what object stores leave in doubt short enough for a test: what it delays arrives within that time. */
export function briefDoubt(landsWithinMs: number): Layer {
  return (inner) => new BriefDoubt(inner, landsWithinMs)
}

class BriefDoubt extends WrappedBackend {
  readonly #landsWithinMs: number

  constructor(inner: CacheBackend, landsWithinMs: number) {
    super(inner)
    this.#landsWithinMs = landsWithinMs
  }

  override get capabilities(): CacheBackend['capabilities'] {
    return { ...super.capabilities, landsWithinMs: this.#landsWithinMs }
  }

  override put(scope: TenantScope, key: ValidKey, entry: CacheEntry, options: PutOptions): Awaitable<boolean> {
    return Promise.resolve(super.put(scope, key, entry, options)).catch((error: unknown) => {
      if (!isCacheError(error) || error.landsWithinMs === undefined) throw error
      const { code, message, operation, backend, tenant, key: about, cause } = error
      throw new CacheError(code, message, { operation, backend, tenant, key: about, cause, landsWithinMs: this.#landsWithinMs })
    })
  }
}
