import type { TenantCache } from '@thermocline/core'

export function priceOf(acme: TenantCache, product: string, load: (product: string, signal: AbortSignal) => Promise<number>): Promise<number> {
  return acme.getOrCompute(`prices/${product}`, ({ signal }) => load(product, signal), { ttl: '1m', staleIfError: '1d', hardTimeout: '2s', errorTtl: '5s' })
}
