import type { TieredCacheManager } from '@thermocline/core'

/**
 * Removes everything a tenant has, from every tier.
 *
 * @throws CacheError when a tier could not be cleared: call it again
 */
export async function forget(cache: TieredCacheManager, tenant: string): Promise<void> {
  await cache.tenant(tenant).clear('', { confirmed: true })
}
