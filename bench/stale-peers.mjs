/*
 * What callers are served when a value's ttl is over, on one program, by this cache and others as they are documented to be used:
 * `node bench/stale-peers.mjs` prints the table of docs/staleness.md. In memory, in real time.
 */
import { performance } from 'node:perf_hooks'
import { setTimeout as pause } from 'node:timers/promises'

const TTL_MS = 1000
const SLOW_MS = 400
const SOFT_MS = 100

/** Each: `read(key, compute)` as for a value that may be stale, `error` where another configuration is meant for errors. */
const contenders = {
  thermocline: async () => {
    const { TieredCacheManager } = await import('@thermocline/core')
    const { MemoryBackend } = await import('@thermocline/memory')
    const policy = { ttl: `${TTL_MS}ms` }
    const cache = new TieredCacheManager({
      tiers: { hot: { backend: new MemoryBackend() } },
      policies: { behind: { ...policy, staleWhileRevalidate: '1h' }, error: { ...policy, staleIfError: '1h' }, slow: { ...policy, staleIfError: '1h', softTimeout: `${SOFT_MS}ms` } },
      logger: false,
    })
    const acme = cache.tenant('acme')
    const read = (policy) => (key, compute) => acme.getOrCompute(`${policy}/${key}`, compute)
    return { behind: read('behind'), error: read('error'), slow: read('slow'), close: () => cache.close() }
  },
  bentocache: async () => {
    const { BentoCache, bentostore } = await import('bentocache')
    const { memoryDriver } = await import('bentocache/drivers/memory')
    const bento = new BentoCache({ default: 'hot', stores: { hot: bentostore().useL1Layer(memoryDriver({ maxItems: 10_000 })) } })
    const read = (more) => (key, factory) => bento.getOrSet({ key, ttl: TTL_MS, grace: '1h', factory, ...more })
    return { behind: read({ timeout: 0 }), error: read({ timeout: null }), slow: read({ timeout: SOFT_MS }), close: () => bento.disconnectAll() }
  },
  cacheable: async () => {
    const { Cacheable } = await import('cacheable')
    const cache = new Cacheable({ ttl: TTL_MS })
    const read = (key, compute) => cache.getOrSet(key, compute, { ttl: TTL_MS })
    return { behind: read, error: read, slow: read, close: () => cache.disconnect() }
  },
  'async-cache-dedupe': async () => {
    const { createCache } = await import('async-cache-dedupe')
    const make = () => {
      let compute
      const cache = createCache({ ttl: TTL_MS / 1000, stale: 3600, storage: { type: 'memory', options: { size: 10_000 } } })
      cache.define('read', () => compute())
      return (key, own) => ((compute = own), cache.read(key))
    }
    return { behind: make(), error: make(), slow: make(), close: () => undefined }
  },
}

/** One outcome in words: what came, and whether it was waited for. */
async function outcome(work) {
  const startedAt = performance.now()
  const came = await work().then((value) => (value === undefined ? 'nothing' : `the ${value} value`), (error) => `the error${error.message === 'down' ? '' : `, as ${error.name}`}`)
  const ms = performance.now() - startedAt
  return `${came}${ms < SOFT_MS / 2 ? ', at once' : ms < SLOW_MS * 0.9 ? ' after the soft limit' : ' after the compute'}`
}

const slowly = (value) => () => pause(SLOW_MS, value)
const down = () => Promise.reject(new Error('down'))

async function program({ behind, error, slow, close }) {
  const rows = {}
  await behind('k', async () => 'old')
  await pause(TTL_MS + 50)
  let computes = 0
  const counted = () => (computes++, slowly('new')())
  rows['ttl is over, a slow compute: what the first caller gets'] = await outcome(() => behind('k', counted))
  await Promise.all(Array.from({ length: 20 }, () => behind('k', counted)))
  await pause(20)
  rows["21 callers meanwhile: computes"] = String(computes)
  await pause(SLOW_MS + 50)
  await error('e', async () => 'old')
  await pause(TTL_MS + 50)
  rows['ttl is over, the compute fails'] = await outcome(() => error('e', down))
  let failures = 0
  const failing = () => (failures++, down())
  for (let n = 0; n < 10; n++) await error('e', failing).catch(() => undefined)
  rows['and for ten callers one after the other: computes'] = String(failures)
  await slow('s', async () => 'old')
  await pause(TTL_MS + 50)
  rows[`ttl is over, a compute slower than the soft limit (${SOFT_MS} ms)`] = await outcome(() => slow('s', slowly('new')))
  await pause(SLOW_MS + 50)
  rows['and the next caller, when it has ended'] = await outcome(() => slow('s', slowly('newer')))
  await close()
  return rows
}

const results = {}
for (const [name, make] of Object.entries(contenders)) {
  try {
    results[name] = await program(await make())
  } catch (error) {
    console.error(`${name}: ${error.stack}`)
  }
}
const names = Object.keys(results)
console.log(`| | ${names.join(' | ')} |\n|${' --- |'.repeat(names.length + 1)}`)
for (const row of Object.keys(Object.values(results)[0])) console.log(`| ${row} | ${names.map((name) => results[name][row]).join(' | ')} |`)
process.exit(0)
