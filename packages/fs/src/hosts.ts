import {
  Hosts,
  PROBE_TENANT,
  systemClock,
  TenantScope,
  validateKey,
  validateTenant,
  type BackendHost,
  type CacheEntry,
  type CacheError,
  type Detach,
  type EvictionReason,
  type FrameOwner,
} from '@thermocline/backend'

/** Files of which it is remembered that something was reported. */
const MOST_REPORTED = 1000
/** Reports that are kept until there is somebody to hear them. */
const MOST_EARLY = 100

/** The managers that use the backend, told of what lies in files by their headers. */
export class FileHosts extends Hosts {
  readonly #reported = new Set<string>()
  #early: CacheError[] = []

  override attach(host: BackendHost): Detach {
    const detach = super.attach(host)
    if (this.#early.length > 0) this.#reportSoon(this.#early.splice(0))
    return detach
  }

  /** Of what is found before anybody uses the backend, the first one who does is told. */
  override report(error: CacheError): void {
    if (!this.isEmpty) super.report(error)
    else if (this.#early.length < MOST_EARLY) this.#early.push(error)
  }

  /** Reports what stays as it is until somebody changes the file: once for each file, as long as it is remembered. */
  reportOnce(file: string, error: CacheError): void {
    if (this.#isNews(file)) this.report(error)
  }

  /** The same, where a manager that is being made may be the one to hear it. */
  reportOnceSoon(file: string, error: CacheError): void {
    if (this.#isNews(file)) this.#reportSoon([error])
  }

  #reportSoon(errors: readonly CacheError[]): void {
    const report = (): void => {
      for (const error of errors) this.report(error)
    }
    systemClock.schedule(0, report, { background: true })
  }

  #isNews(file: string): boolean {
    if (this.#reported.has(file)) return false
    this.#reported.add(file)
    for (const oldest of this.#reported) {
      if (this.#reported.size <= MOST_REPORTED) break
      this.#reported.delete(oldest)
    }
    return true
  }

  /** The file was replaced or removed: what is wrong with the next one is news. */
  forget(file: string): void {
    if (this.#reported.size > 0) this.#reported.delete(file)
  }

  override evicted(owner: FrameOwner, reason: EvictionReason, entryFor?: (host: BackendHost) => CacheEntry | undefined): void {
    if (owner.tenant !== PROBE_TENANT) super.evicted(owner, reason, entryFor)
  }

  /** Those that want an entry which leaves for space. */
  demoters({ tenant, key }: FrameOwner): readonly BackendHost[] {
    if (tenant === PROBE_TENANT) return []
    const scope = new TenantScope(validateTenant(tenant))
    return [...this].filter((host) => host.demotes(scope, validateKey(key)))
  }
}
