import { Hosts, PROBE_TENANT, TenantScope, validateKey, validateTenant, type BackendHost, type EvictionReason, type FrameOwner, type StreamedEntry } from '@thermocline/core'

/** The managers that use the backend, told of what lies in files by their headers. */
export class FileHosts extends Hosts {
  /** @param offers what of it is still to be read, by host */
  evicted(owner: FrameOwner, reason: EvictionReason, offers?: ReadonlyMap<BackendHost, StreamedEntry>): void {
    if (owner.tenant === PROBE_TENANT) return
    const scope = new TenantScope(validateTenant(owner.tenant))
    for (const host of this) host.evicted(scope, validateKey(owner.key), offers?.get(host), reason)
  }

  /** Those that want an entry which leaves for space. */
  demoters({ tenant, key }: FrameOwner): readonly BackendHost[] {
    if (tenant === PROBE_TENANT) return []
    const scope = new TenantScope(validateTenant(tenant))
    return [...this].filter((host) => host.demotes(scope, validateKey(key)))
  }
}
