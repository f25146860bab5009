import type { StoredEntryInfo } from '../contract/backend.js'
import { pagesOf } from '../contract/paged.js'
import type { Engine } from './engine.js'
import type { ListedEntry, ListVerbOptions } from './options.js'
import type { TenantState } from './tenant-state.js'
import type { ValidKey } from '../keys/key.js'
import type { Policy } from '../policies/policy.js'
import type { Tier } from '../tiers/tier.js'

/** Lists one tier after the other. A tier that fails is reported and passed over; keys that it may not serve are left out. */
export async function* listTiers(engine: Engine, state: TenantState, prefix: string, options: ListVerbOptions): AsyncIterableIterator<ListedEntry> {
  if (!engine.enabled) return
  for (const tier of engine.tiers) {
    if (!tier.readable) continue
    const seen = new Set<string>()
    try {
      const stored = tier.backend.list(state.scope, prefix, { detail: options.detail === true ? 'info' : 'keys', adopt: adoption(engine, tier), signal: options.signal })
      for await (const page of pagesOf(stored)) {
        for (const info of page) {
          const { key, expiresAt } = info
          options.signal?.throwIfAborted()
          if (seen.has(key) || !tier.lanes.mayAsk(state.scope, key as ValidKey)) continue
          if (expiresAt !== undefined && expiresAt <= engine.clock.now()) continue
          seen.add(key)
          yield listed(info, tier.name)
        }
      }
    } catch (error) {
      options.signal?.throwIfAborted()
      engine.report(error, { operation: 'list', tier, state })
    }
  }
}

/** Without the fields that the store does not tell. */
function listed({ key, size, expiresAt }: StoredEntryInfo, tier: string): ListedEntry {
  if (expiresAt === undefined) return size === undefined ? { key, tier } : { key, tier, size }
  const end = Number.isFinite(expiresAt) ? expiresAt : null
  return size === undefined ? { key, tier, expiresAt: end } : { key, tier, size, expiresAt: end }
}

/** Which of others' objects a tier holds as entries: those that a `get` of the key would be answered with. */
function adoption({ policies }: Engine, tier: Tier): ((key: string) => boolean) | undefined {
  const adopts = ({ adopts, slots }: Policy): boolean => adopts && slots.some((slot) => slot.tier === tier)
  return tier.capabilities.plain !== undefined && policies.all.some(adopts) ? (key) => adopts(policies.forKey(key)) : undefined
}
