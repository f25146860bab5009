import { TieredCacheManager } from '@thermocline/core'
import { MemoryBackend } from '@thermocline/memory'

const MAX_STALENESS_MS = 2000
const OWN = { nothing: [], memory: ['memory'], 'memory and disk': ['memory', 'disk'] }

export const MANAGERS = {
  open: ({ stack, shared, disk }, clock) =>
    new TieredCacheManager({
      tiers: { ...(stack !== 'nothing' && { memory: { backend: new MemoryBackend() } }), ...(disk !== undefined && { disk: { backend: disk } }), shared: { backend: shared } },
      coordination: { tier: 'shared', maxStaleness: `${MAX_STALENESS_MS}ms` },
      defaultTtl: '1d',
      clock,
      logger: false,
    }),
  ownTiers: (stack) => OWN[stack],
  maxStalenessMs: MAX_STALENESS_MS,
}
