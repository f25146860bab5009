import type { BackendStats } from '@thermocline/backend'
import type { Engine } from './engine.js'
import type { TenantState } from '../state/tenant-state.js'

/** What every tier's backend says of itself; nothing for one that cannot be asked now. */
export async function backendStats(engine: Engine, state: TenantState | undefined): Promise<BackendStats[]> {
  return Promise.all(
    engine.tiers.map(async (tier) => {
      if (!tier.readable) return {}
      try {
        return await tier.backend.stats(state?.scope)
      } catch (error) {
        engine.report(error, { operation: 'stats', tier, state })
        return {}
      }
    }),
  )
}

