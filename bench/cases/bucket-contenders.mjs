/*
 * The cache over a bucket, whosever: what the cases of all object stores compare with the store's own client. All have plain Buffers as values; the names
 * of objects do not matter to them.
 */
const ENTRY = { want: 'payload', touch: true }
const LIFE_MS = 86_400_000

/** A manager whose only tier is the bucket. */
export function cacheOver(backendOf) {
  return async (context) => {
    const { TieredCacheManager } = await import('@thermocline/core')
    const cache = new TieredCacheManager({ coordination: false, tiers: { cold: { backend: await backendOf(context) } }, policies: { frames: { ttl: '1d' } } })
    cache.on('error', ({ error }) => console.error(error))
    const acme = cache.tenant('acme')
    return {
      get: (key) => acme.get(key),
      set: (key, value) => acme.set(key, value),
      setStream: (key, source) => acme.setStream(key, source),
      async list(prefix) {
        const all = []
        for await (const { key, size } of acme.list(prefix)) all.push({ key, size })
        return all
      },
      clear: (prefix) => acme.clear(prefix),
      close: () => cache.close({ deadline: '30s' }),
    }
  }
}

/** The backend without a manager: what of a difference is the adapter's. */
export function adapterOver(backendOf) {
  return async (context) => {
    const { CacheEntry, systemClock, TenantScope, validateKey } = await import('@thermocline/backend')
    const backend = await backendOf(context)
    const scope = new TenantScope('acme')
    const detach = backend.attach({ clock: systemClock, evicted: () => undefined, demotes: () => false, report: (error) => console.error(error) })
    return {
      get: async (key) => (await backend.get(scope, validateKey(key), ENTRY))?.encoded?.bytes,
      set(key, bytes) {
        const createdAt = Date.now()
        const expiresAt = createdAt + LIFE_MS
        return backend.put(scope, validateKey(key), CacheEntry.ofBytes({ codec: 'buffer', bytes }, { createdAt, expiresAt }), { onlyIfAbsent: false, keepUntil: expiresAt })
      },
      close: () => detach(),
    }
  }
}
