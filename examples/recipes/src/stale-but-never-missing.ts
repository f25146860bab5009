import type { TieredCacheManagerOptions } from '@thermocline/core'

export const policies: NonNullable<TieredCacheManagerOptions['policies']> = {
  search: {
    ttl: '5m',
    staleWhileRevalidate: '1h', // at once, and made anew behind
    staleIfError: '30d', // when the source is down
    softTimeout: '500ms', // when it is slow
    hardTimeout: '30s', // when it hangs
    jitter: 0.1,
  },
}
