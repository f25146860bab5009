/*
 * Heap of a million small entries: keys of 26 characters as flat strings, made for each entry and held by the cache alone;
 * the value is a small number. `outside` is what lies in buffers outside the heap. `afterHits`: when every entry was read once.
 */
const ENTRIES = 1_000_000
const TTL_MS = 3_600_000

/** A flat string: one piece, not a rope of parts. */
function keyOf(n) {
  return Buffer.from(`embeddings/clip/${String(n).padStart(10, '0')}`, 'latin1').toString('latin1')
}

async function settled() {
  for (let n = 0; n < 3; n++) {
    await new Promise((resolve) => setImmediate(resolve))
    globalThis.gc()
  }
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  return { heapUsed, arrayBuffers }
}

/**
 * Measures around `set` for each key and then `get` for each key; either may return a promise. The cache is made after the
 * first look, so that what it takes before its first entry counts too; a small one has warmed the code up.
 */
function measured(quick, make) {
  const entries = quick ? ENTRIES / 10 : ENTRIES
  const fill = async ({ set }, count) => {
    for (let n = 0; n < count; n++) {
      const done = set(keyOf(n), n & 1023)
      if (done instanceof Promise) await done
    }
  }
  const readAll = async ({ get }, count) => {
    for (let n = 0; n < count; n++) {
      const value = get(keyOf(n))
      if ((value instanceof Promise ? await value : value) !== (n & 1023)) throw new Error(`entry ${n} was lost`)
    }
  }
  const warmUp = async () => {
    const other = make(2000)
    await fill(other, 2000)
    await readAll(other, 2000)
    await other.close?.()
  }
  return {
    async sample() {
      await warmUp()
      const empty = await settled()
      const cache = make(entries)
      await fill(cache, entries)
      const full = await settled()
      await readAll(cache, entries)
      const read = await settled()
      return {
        bytes: (full.heapUsed - empty.heapUsed) / entries,
        outside: Math.max(0, full.arrayBuffers - empty.arrayBuffers) / entries,
        afterHits: (read.heapUsed - empty.heapUsed) / entries,
      }
    },
  }
}

async function thermocline(quick, settings) {
  const { TieredCacheManager } = await import('@thermocline/core')
  const { MemoryBackend } = await import('@thermocline/memory')
  return measured(quick, () => {
    const cache = new TieredCacheManager({ tiers: { hot: { backend: new MemoryBackend() } }, ...settings })
    const acme = cache.tenant('acme')
    return { set: (key, value) => acme.set(key, value), get: (key) => acme.get(key), close: () => cache.close() }
  })
}

export const heapCases = [
  {
    name: 'heap',
    title: 'heap per small entry, 1,000,000 entries, keys included',
    kind: 'sample',
    fresh: true,
    rounds: 3,
    execArgv: ['--expose-gc', '--max-old-space-size=6144'],
    once: ['keyv', 'bentocache'],
    contenders: {
      Map: ({ quick }) =>
        measured(quick, () => {
          const map = new Map()
          return { set: (key, value) => void map.set(key, value), get: (key) => map.get(key) }
        }),
      'lru-cache with ttl': async ({ quick }) => {
        const { LRUCache } = await import('lru-cache')
        return measured(quick, (size) => {
          const cache = new LRUCache({ max: size, ttl: TTL_MS })
          return { set: (key, value) => void cache.set(key, value), get: (key) => cache.get(key) }
        })
      },
      thermocline: ({ quick }) => thermocline(quick, { policies: { embeddings: { ttl: '7d' }, search_results: { ttl: '10m' } } }),
      'layered-loader': async ({ quick }) => {
        const { ManualCache } = await import('layered-loader')
        return measured(quick, (size) => {
          const cache = new ManualCache({ inMemoryCache: { cacheType: 'lru-object', ttlInMsecs: TTL_MS, maxItems: size } })
          return { set: (key, value) => cache.set(key, value), get: (key) => cache.getInMemoryOnly(key) }
        })
      },
      bentocache: async ({ quick }) => {
        const { BentoCache, bentostore } = await import('bentocache')
        const { memoryDriver } = await import('bentocache/drivers/memory')
        return measured(quick, (size) => {
          const bento = new BentoCache({ default: 'hot', stores: { hot: bentostore().useL1Layer(memoryDriver({ maxItems: size })) } })
          return { set: (key, value) => bento.set({ key, value, ttl: '1h' }), get: (key) => bento.get({ key }) }
        })
      },
      keyv: async ({ quick }) => {
        const { default: Keyv } = await import('keyv')
        return measured(quick, () => {
          const keyv = new Keyv({ ttl: TTL_MS })
          return { set: (key, value) => keyv.set(key, value), get: (key) => keyv.get(key) }
        })
      },
    },
    columns: { bytes: 'heap bytes per entry', outside: 'bytes outside the heap', afterHits: 'heap bytes after one hit each' },
    bars: [{ what: 'heap bytes per small entry, 1 M entries', of: 'thermocline', number: 'bytes', atMost: 230, stretch: 150, peer: 'layered-loader' }],
  },
]
