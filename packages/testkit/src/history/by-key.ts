import type { Computed, History, Invalidation, Origin, Read, Settled } from './records.js'

/** Everything that happened to one key of one tenant, in the order of the calls. */
export interface KeyHistory {
  readonly tenant: string
  readonly key: string
  readonly origins: Origin[]
  /** What removes or replaces it, the clears that cover it among them. */
  readonly invalidations: Invalidation[]
  readonly reads: Read[]
  readonly computes: Computed[]
}

/** A history, sorted by what its rules ask for. */
export interface IndexedHistory {
  readonly keys: readonly KeyHistory[]
  readonly byVersion: ReadonlyMap<string, Origin>
  readonly settled: readonly Settled[]
}

export function indexed({ records }: History): IndexedHistory {
  const keys = new Map<string, KeyHistory>()
  const of = (tenant: string, key: string): KeyHistory => {
    const id = JSON.stringify([tenant, key])
    let found = keys.get(id)
    if (found === undefined) keys.set(id, (found = { tenant, key, origins: [], invalidations: [], reads: [], computes: [] }))
    return found
  }
  for (const record of records) if (record.kind !== 'note' && 'key' in record && record.key !== undefined) of(record.tenant, record.key)
  const byVersion = new Map<string, Origin>()
  const settled: Settled[] = []
  for (const record of records) {
    switch (record.kind) {
      case 'write': {
        const { origins, invalidations } = of(record.tenant, record.key)
        origins.push(record)
        if (!record.isBroken) invalidations.push(record) // a source that fails changes nothing
        byVersion.set(record.version, record)
        break
      }
      case 'computed': {
        const { origins, computes } = of(record.tenant, record.key)
        origins.push(record)
        computes.push(record)
        byVersion.set(record.version, record)
        break
      }
      case 'removal':
        for (const one of keys.values()) if (covers(record.tenant, record.key, record.prefix, one)) one.invalidations.push(record)
        break
      case 'read':
        of(record.tenant, record.key).reads.push(record)
        break
      case 'settled':
        settled.push(record)
        break
      case 'fault':
      case 'note':
        break
    }
  }
  for (const { reads } of keys.values()) reads.sort((a, b) => a.calledAt - b.calledAt) // what a listing tells is recorded as it comes
  return { keys: [...keys.values()], byVersion, settled }
}

function covers(tenant: string, key: string | undefined, prefix: string | undefined, one: Pick<KeyHistory, 'tenant' | 'key'>): boolean {
  return tenant === one.tenant && (key === undefined ? one.key.startsWith(prefix ?? '') : key === one.key)
}
