/*
 * What staleness costs: the caller's wait on a value that is not fresh any more, many keys at once from memory, and how many callers wait for a
 * compute with an early refresh and without.
 */
import { performance } from 'node:perf_hooks'
import { setImmediate as turn } from 'node:timers/promises'

const KEYS = Array.from({ length: 1000 }, (_, n) => `embeddings/clip/v1/${n}.npz`)
const VALUE = { id: 'clip-1', model: 'ViT-B/32', score: 0.271828, labels: ['cat', 'outdoor'], width: 640, height: 480 }
const POLICIES = { embeddings: { ttl: '1m', staleWhileRevalidate: '365d' } }
const MINUTE_MS = 60_000

let _sink

/** A manager in memory whose time passes only when it is told to. */
async function thermocline(options = {}) {
  const { TieredCacheManager } = await import('@thermocline/core')
  const { MemoryBackend } = await import('@thermocline/memory')
  let now = Date.now()
  const cache = new TieredCacheManager({ tiers: { hot: { backend: new MemoryBackend() } }, policies: POLICIES, clock: { now: () => now }, logger: false, ...options })
  const acme = cache.tenant('acme')
  const fill = () => Promise.all(KEYS.map((key) => acme.set(key, VALUE)))
  await fill()
  return { cache, acme, fill, pass: (ms) => (now += ms) }
}

/** Nanoseconds that a caller waits for each of the keys; nothing else gets a turn meanwhile. */
async function waitOf(acme, compute) {
  const startedAt = process.hrtime.bigint()
  for (let at = 0; at < KEYS.length; at++) _sink = await acme.getOrCompute(KEYS[at], compute)
  return Number(process.hrtime.bigint() - startedAt) / KEYS.length
}

function median(numbers) {
  return numbers.sort((a, b) => a - b)[numbers.length >> 1]
}

/** Fresh and stale hits in turn, in one process. */
async function waits(quick) {
  const { cache, acme, fill, pass } = await thermocline({ refreshConcurrency: 2000 })
  const compute = () => VALUE
  const of = { fresh: [], first: [], under: [] }
  for (let round = 0; round < (quick ? 5 : 400); round++) {
    await fill()
    await waitOf(acme, compute) // each entry is noted
    of.fresh.push(await waitOf(acme, compute))
    pass(MINUTE_MS)
    of.first.push(await waitOf(acme, compute)) // begins the refreshes
    of.under.push(await waitOf(acme, compute)) // they are under way
    while ((await acme.stats()).pendingRefreshes > 0) await turn()
  }
  await cache.close()
  const [fresh, first, under] = [median(of.fresh), median(of.first), median(of.under)]
  return { fresh, first, under, firstRatio: fresh / first, underRatio: fresh / under }
}

const MANY = Array.from({ length: 10 }, (_, at) => KEYS.slice(at * 100, at * 100 + 100))

const many = {
  'lru-cache get, into a Map': async () => {
    const { LRUCache } = await import('lru-cache')
    const cache = new LRUCache({ max: 10_000 })
    for (const key of KEYS) cache.set(key, VALUE)
    let at = 0
    const run = async (n) => {
      for (; n > 0; n--) {
        const found = new Map()
        for (const key of MANY[at++ % MANY.length]) found.set(key, cache.get(key))
        _sink = await found
      }
    }
    return { run, batch: 50 }
  },
  thermocline: async () => {
    const { cache, acme } = await thermocline()
    let at = 0
    const run = async (n) => {
      for (; n > 0; n--) _sink = await acme.getOrComputeMany(MANY[at++ % MANY.length], () => new Map())
    }
    return { run, batch: 50, close: () => cache.close() }
  },
}

const ZIPF_KEYS = 10_000
const ZIPF_EXPONENT = 0.99
const COMPUTE_MS = 20

/** Draws of a Zipf distribution, by its cumulative sums. */
function zipf() {
  const sums = new Float64Array(ZIPF_KEYS)
  let sum = 0
  for (let rank = 1; rank <= ZIPF_KEYS; rank++) sums[rank - 1] = sum += 1 / rank ** ZIPF_EXPONENT
  return () => {
    const drawn = Math.random() * sum
    let low = 0
    let high = ZIPF_KEYS - 1
    while (low < high) {
      const middle = (low + high) >> 1
      if (sums[middle] < drawn) low = middle + 1
      else high = middle
    }
    return low
  }
}

/** Calls that come at once; then timers get their turn. */
const AT_ONCE = 500

/** The part of calls that waited for a compute, of those that come as fast as they are served, for some seconds after the first ones. */
async function waiting(policy, quick) {
  const { TieredCacheManager } = await import('@thermocline/core')
  const { MemoryBackend } = await import('@thermocline/memory')
  const cache = new TieredCacheManager({ tiers: { hot: { backend: new MemoryBackend() } }, policies: { default: { ttl: '1s', ...policy } }, refreshConcurrency: 10_000, logger: false })
  const acme = cache.tenant('acme')
  const draw = zipf()
  const compute = () => new Promise((resolve) => setTimeout(resolve, COMPUTE_MS, VALUE))
  const [warmMs, runMs] = quick ? [200, 500] : [3000, 6000]
  const beganAt = performance.now()
  let calls = 0
  let waited = 0
  let elapsed = 0
  while (elapsed < warmMs + runMs) {
    let open = AT_ONCE
    const answered = () => void open--
    for (let n = 0; n < AT_ONCE; n++) void acme.getOrCompute(`k${draw()}`, compute).then(answered)
    await turn()
    elapsed = performance.now() - beganAt
    if (elapsed < warmMs) continue
    calls += AT_ONCE
    waited += open
  }
  await cache.close()
  return { waited: waited / calls, calls }
}

function sampling(policy) {
  return ({ quick }) => ({ sample: () => waiting(policy, quick) })
}

export const staleCases = [
  {
    name: 'stale-hit',
    title: 'A value that is not fresh any more: the caller’s wait, 100 B in memory',
    kind: 'samples',
    rounds: 7,
    contenders: { thermocline: ({ quick }) => ({ sample: () => waits(quick) }) },
    columns: { fresh: 'ns for a fresh hit', under: 'ns for a stale one while it is refreshed', first: 'ns for one that begins a refresh', underRatio: 'fresh to stale', firstRatio: 'fresh to one that begins' },
    bars: [
      { what: 'stale hit in memory while it is refreshed', of: 'thermocline', number: 'underRatio', atLeast: 0.5, stretch: 0.8 },
      { what: 'stale hit in memory that begins a refresh', of: 'thermocline', number: 'firstRatio', atLeast: 0.5, stretch: 0.8 },
    ],
  },
  {
    name: 'many-in-memory',
    title: '`getOrComputeMany` of 100 keys, all in memory',
    kind: 'rate',
    baseline: 'lru-cache get, into a Map',
    sliceMs: 150,
    contenders: many,
    bars: [{ what: '`getOrComputeMany` of 100, all in memory', of: 'thermocline', number: 'ratio', atLeast: 0.4, stretch: 0.6, against: '100 times lru-cache get into a Map' }],
  },
  {
    name: 'early-refresh',
    title: '10,000 keys, Zipf 0.99, ttl 1 s, compute 20 ms: calls that wait for a compute',
    kind: 'samples',
    rounds: 5,
    contenders: { 'without early refresh': sampling({}), 'early refresh': sampling({ earlyRefresh: true }), 'early refresh, beta 3': sampling({ earlyRefresh: { beta: 3 } }), 'stale while revalidate': sampling({ staleWhileRevalidate: '1m' }) },
    columns: { waited: 'part of calls that waited', calls: 'calls' },
    bars: [],
  },
]
