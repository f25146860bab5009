import { systemClock, type Clock } from '../clock/clock.js'
import type { CacheError } from '../errors/cache-error.js'
import { validateKey, validateTenant } from '../keys/key.js'
import type { BackendHost, Detach, EvictionReason } from './backend.js'
import type { CacheEntry } from './entry.js'
import { TenantScope } from './scope.js'

/** The managers that use a backend: the first one's clock is the backend's, and all of them are told what happens. */
export class Hosts implements Iterable<BackendHost> {
  readonly #attached = new Set<BackendHost>()
  #clock: Clock = systemClock

  get clock(): Clock {
    return this.#clock
  }

  /** Nobody uses the backend any more, or nobody does yet. */
  get isEmpty(): boolean {
    return this.#attached.size === 0
  }

  attach(host: BackendHost): Detach {
    if (this.isEmpty) this.#clock = host.clock
    this.#attached.add(host)
    return () => void this.#attached.delete(host)
  }

  report(error: CacheError): void {
    for (const host of this.#attached) host.report(error)
  }

  /**
   * Tells that the backend itself removed an entry that was sound.
   *
   * @param owner as the entry's header names it
   * @param entryFor what of it a manager may still read. Default: nothing
   */
  evicted(owner: { readonly tenant: string; readonly key: string }, reason: EvictionReason, entryFor?: (host: BackendHost) => CacheEntry | undefined): void {
    const scope = new TenantScope(validateTenant(owner.tenant))
    for (const host of this.#attached) host.evicted(scope, validateKey(owner.key), entryFor?.(host), reason)
  }

  [Symbol.iterator](): Iterator<BackendHost> {
    return this.#attached[Symbol.iterator]()
  }
}
