import { CacheError, isCacheError, WrappedBackend, type Awaitable, type CacheEntry, type Layer, type PutOptions, type TenantScope, type ValidKey } from '@thermocline/core'

/** A put without an answer may land for a minute; between here and the server for no longer than a fault lasts. */
const LANDS_WITHIN_MS = 2000

/** Keeps what object stores leave in doubt short enough for a history: its faults end within that time. */
export const briefDoubt: Layer = (inner) => new BriefDoubt(inner)

class BriefDoubt extends WrappedBackend {
  override put(scope: TenantScope, key: ValidKey, entry: CacheEntry, options: PutOptions): Awaitable<boolean> {
    return Promise.resolve(super.put(scope, key, entry, options)).catch((error: unknown) => {
      if (!isCacheError(error) || error.landsWithinMs === undefined) throw error
      const { code, message, operation, backend, tenant, key: about, cause } = error
      throw new CacheError(code, message, { operation, backend, tenant, key: about, cause, landsWithinMs: LANDS_WITHIN_MS })
    })
  }
}
