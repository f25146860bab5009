import {
  PROBE_TENANT,
  systemClock,
  TenantScope,
  validateKey,
  validateTenant,
  type BackendHost,
  type CacheError,
  type Clock,
  type EvictionReason,
  type FrameOwner,
  type StreamedEntry,
} from '@thermocline/core'

/** The managers that use the backend: the first one's clock is the backend's, and all of them are told what happens. */
export class Hosts {
  readonly #attached = new Set<BackendHost>()
  #clock: Clock = systemClock

  get clock(): Clock {
    return this.#clock
  }

  get isEmpty(): boolean {
    return this.#attached.size === 0
  }

  attach(host: BackendHost): void {
    if (this.isEmpty) this.#clock = host.clock
    this.#attached.add(host)
  }

  detach(host: BackendHost): void {
    this.#attached.delete(host)
  }

  report(error: CacheError): void {
    for (const host of this.#attached) host.report(error)
  }

  /** @param offers what of it is still to be read, by host */
  evicted(owner: FrameOwner, reason: EvictionReason, offers?: ReadonlyMap<BackendHost, StreamedEntry>): void {
    if (owner.tenant === PROBE_TENANT) return
    const scope = new TenantScope(validateTenant(owner.tenant))
    for (const host of this.#attached) host.evicted(scope, validateKey(owner.key), offers?.get(host), reason)
  }

  /** Those that want an entry which leaves for space. */
  demoters({ tenant, key }: FrameOwner): readonly BackendHost[] {
    if (tenant === PROBE_TENANT) return []
    const scope = new TenantScope(validateTenant(tenant))
    return [...this.#attached].filter((host) => host.demotes(scope, validateKey(key)))
  }
}
