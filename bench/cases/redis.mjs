/*
 * Redis on the same machine. The baseline does the same by hand with ioredis: no memory, no tenants, no single flight. Where the cache has
 * a memory layer every read of a batch is of another key and that layer is emptied before the batch, so each read finds Redis
 * and is promoted.
 */
import { randomBytes } from 'node:crypto'
import { inParallel } from '../lib/in-parallel.mjs'
import { addedByMany, countedCompute } from '../lib/stampede.mjs'
import { byHand } from './redis-by-hand.mjs'
import { bentocache, cacheable, ioredis, keyv, layeredLoader, thermocline, thermoclineAlone, unstorage } from './redis-contenders.mjs'

const keyOf = (n) => `embeddings/clip/v1/${n}.npz`

/** About as many bytes as JSON; one of them says its key, for caches that ask the value for it. */
const VALUES = {
  '100 B': (n) => ({ id: keyOf(n), model: 'ViT-B/32', score: 0.271828, labels: ['cat', 'outdoor'], width: 640 }),
  '10 KB': (n) => ({ id: keyOf(n), vector: Array.from({ length: 512 }, (_, at) => Math.sin(n + at)) }),
}

const caches = {
  ioredis,
  'ioredis, Map and crc32': byHand,
  thermocline,
  'thermocline, Redis alone': thermoclineAlone,
  'layered-loader': layeredLoader,
  bentocache,
  cacheable,
  'keyv, Redis alone': keyv,
  'unstorage, Redis alone': unstorage,
}

function without(contenders, ...names) {
  return Object.fromEntries(Object.entries(contenders).filter(([name]) => !names.includes(name)))
}

/** What becomes of each cache in a case. */
function each(set, made) {
  return Object.fromEntries(
    Object.entries(set).map(([name, open]) => [
      name,
      async (context) => {
        const cache = await open(context)
        return { ready: cache.newMemory === undefined ? undefined : () => cache.newMemory(), close: () => cache.close?.(), ...(await made(cache, context)) }
      },
    ]),
  )
}

/** Each key once a batch. */
async function hits(cache, { spec, quick }) {
  const { value, callers } = spec
  const keys = quick ? spec.keys / 4 : spec.keys
  await inParallel(64, keys, (n) => cache.set(keyOf(n), value(n)))
  const names = Array.from({ length: keys }, (_, n) => keyOf(n))
  await cache.newMemory?.()
  if (JSON.stringify(await cache.read(names[7])) !== JSON.stringify(value(7))) return { cannot: 'gives back another value' }
  return { batch: keys, run: (count) => inParallel(callers, count, (n) => cache.read(names[n])) }
}

function hitCase(name, size, callers, { keys, ...bar }) {
  const what = callers === 1 ? `Redis hit, one caller, ${size}` : `Redis hit promoted to memory, ${callers} callers, ${size}`
  return {
    name,
    title: what,
    kind: 'rate',
    baseline: 'ioredis',
    against: 'ioredis GET and JSON.parse',
    redis: true,
    placement: callers === 1 ? 'one core' : 'two cores',
    sliceMs: 200,
    warmUpSlices: 5,
    value: VALUES[size],
    keys,
    callers,
    contenders: each(caches, hits),
    bars: [{ what, of: 'thermocline', number: 'ratio', peer: 'layered-loader', ...bar }],
  }
}

const BYTES = 1_000_000
const BUFFERS = 16

async function buffers(cache) {
  const values = Array.from({ length: BUFFERS }, () => randomBytes(BYTES))
  const names = values.map((_, n) => `frames/cam1/${n}.raw`)
  for (const [n, value] of values.entries()) await cache.setBytes(names[n], value)
  const check = async () => {
    await cache.newMemory?.()
    for (const [n, value] of values.entries()) {
      const got = await cache.readBytes(names[n])
      if (!(got instanceof Uint8Array)) return `corrupts it: gives back ${typeof got === 'string' ? 'text' : `a plain ${typeof got}`} instead of bytes`
      if (!value.equals(got)) return `corrupts it: gives back ${got.byteLength.toLocaleString('en')} other bytes`
    }
    return undefined
  }
  const cannot = await check()
  if (cannot !== undefined) return { cannot }
  return {
    batch: BUFFERS,
    run: (count) => inParallel(1, count, (n) => cache.readBytes(names[n])),
    async close() {
      const problem = await check()
      if (problem !== undefined) throw new Error(problem)
      await cache.close?.()
    },
  }
}

function misses(cache, { spec }) {
  let keys = 0
  return {
    batch: 2000,
    run: (count) =>
      inParallel(spec.callers, count, () => {
        const n = keys++
        return cache.compute(`frames/cam1/${n}.jpg`, async () => spec.value(n))
      }),
  }
}

const MANY = 100
const LISTS = 40

async function many(cache, { quick }) {
  if (cache.readMany === undefined) return { cannot: 'has no getMany' }
  const lists = Array.from({ length: quick ? LISTS / 4 : LISTS }, (_, list) => Array.from({ length: MANY }, (_, n) => keyOf(list * MANY + n)))
  await inParallel(64, lists.length * MANY, (n) => cache.set(keyOf(n), VALUES['100 B'](n)))
  await cache.newMemory?.()
  const found = await cache.readMany(lists[0])
  if (found !== MANY) return { cannot: `finds ${found} of ${MANY}` }
  return { batch: lists.length, run: (count) => inParallel(1, count, (n) => cache.readMany(lists[n])) }
}

/** What the server did, without what is asked about it. */
async function watcher({ redis }) {
  const { Redis } = await import('ioredis-6')
  const client = new Redis({ host: redis.host, port: redis.port, db: redis.db })
  await client.config('SET', 'latency-tracking-info-percentiles', '100')
  const ABOUT = /^(config|info|client|hello|select|auth|ping|command|slowlog|dbsize|flushdb)(\||$)/
  const perCommand = async (section, pattern) =>
    [...(await client.info(section)).matchAll(pattern)].filter(([, command]) => !ABOUT.test(command)).map(([, , number]) => Number(number))
  return {
    client,
    reset: () => client.config('RESETSTAT'),
    commands: async () => (await perCommand('commandstats', /^cmdstat_([^:]+):calls=(\d+)/gm)).reduce((sum, calls) => sum + calls, 0),
    slowestMs: async () => Math.max(0, ...(await perCommand('latencystats', /^latency_percentiles_usec_([^:]+):p100=([\d.]+)/gm))) / 1000,
  }
}

const CALLERS = 1000
const COMPUTE_MS = 50

async function stampede(cache, context) {
  const watch = await watcher(context)
  await cache.set(keyOf(0), VALUES['100 B'](0)) // the connection stands
  let samples = 0
  const counted = countedCompute(COMPUTE_MS, () => VALUES['100 B'](samples))
  return {
    ready: undefined,
    async sample() {
      const key = `frames/cold/${++samples}`
      await watch.reset()
      const sample = await addedByMany(CALLERS, counted, () => cache.compute(key, counted.compute))
      return { ...sample, commands: await watch.commands() }
    },
  }
}

const ALL_KEYS = 100_000
const CLEARED_KEYS = 10_000
const FILL_WIDTH = 256

/**
 * `gone` and `kept` are the cache itself twice where it clears by a prefix of the key, else two of its namespaces.
 */
async function clearing(open, context) {
  const { gone, kept, clear, close } = await open(context)
  const part = context.quick ? 20 : 1
  const watch = await watcher(context)
  await inParallel(FILL_WIDTH, (ALL_KEYS - CLEARED_KEYS) / part, (n) => kept(`${1 + (n % 9)}/${n}.jpg`, VALUES['100 B'](n)))
  return {
    close,
    async sample() {
      await inParallel(FILL_WIDTH, CLEARED_KEYS / part, (n) => gone(`${n}.jpg`, VALUES['100 B'](n)))
      const before = await watch.client.dbsize()
      await watch.reset()
      const startedAt = process.hrtime.bigint()
      await clear()
      const ms = Number(process.hrtime.bigint() - startedAt) / 1e6
      const slowestMs = await watch.slowestMs()
      const removed = before - (await watch.client.dbsize())
      if (removed !== CLEARED_KEYS / part) throw new Error(`${removed} keys were removed, not ${CLEARED_KEYS / part}`)
      return { ms, slowestMs, commands: await watch.commands() }
    },
  }
}

/** Keys under one prefix of one cache. */
function byPrefix(open) {
  return async (context) => {
    const cache = await open(context)
    return {
      gone: (key, value) => cache.set(`frames/cam0/${key}`, value),
      kept: (key, value) => cache.set(`frames/cam${key}`, value),
      clear: () => cache.clear('frames/cam0/'),
      close: () => cache.close?.(),
    }
  }
}

/** Two caches with a namespace each, on one database. */
function byNamespace(open) {
  return async (context) => {
    const cam0 = await open({ ...context, namespace: 'cam0' })
    const others = await open({ ...context, namespace: 'cam1' })
    return { gone: (key, value) => cam0.set(key, value), kept: (key, value) => others.set(key, value), clear: () => cam0.clear() }
  }
}

const clearers = {
  ioredis: byPrefix(ioredis),
  thermocline: byPrefix(thermocline),
  'thermocline, Redis alone': byPrefix(thermoclineAlone),
  'layered-loader': byNamespace(layeredLoader),
  async bentocache(context) {
    const cache = await bentocache(context)
    return { gone: (key, value) => cache.setIn('cam0', key, value), kept: (key, value) => cache.setIn('cam1', key, value), clear: () => cache.clear('cam0') }
  },
  cacheable: byNamespace(cacheable),
  'keyv, Redis alone': byNamespace(keyv),
  'unstorage, Redis alone': byNamespace(unstorage),
}

const COLD = '1,000 callers of one cold key, memory and Redis'
const CLEAR = 'clear 10,000 of 100,000 Redis keys by prefix'

export const redisCases = [
  hitCase('redis-hit-100b', '100 B', 64, { keys: 4000, atLeast: 1.1, stretch: 1.3 }),
  hitCase('redis-hit-10kb', '10 KB', 64, { keys: 1000, atLeast: 0.6, stretch: 0.9 }),
  hitCase('redis-hit-one', '100 B', 1, { keys: 1000, atLeast: 0.9, stretch: 0.95 }),
  {
    name: 'redis-buffer-1mb',
    title: 'a 1 MB Buffer from Redis, one caller',
    kind: 'rate',
    baseline: 'ioredis',
    against: 'ioredis GET as a Buffer',
    redis: true,
    placement: 'one core',
    sliceMs: 200,
    warmUpSlices: 5,
    contenders: each(caches, buffers),
    bars: [{ what: 'a 1 MB Buffer from Redis, byte-exact', of: 'thermocline', number: 'ratio', atLeast: 0.8, stretch: 1, peer: 'unstorage, Redis alone' }],
  },
  {
    name: 'redis-miss',
    title: 'miss, compute, write to memory and Redis, 64 callers, 100 B',
    kind: 'rate',
    baseline: 'ioredis',
    against: 'one ioredis SET',
    redis: true,
    placement: 'two cores',
    sliceMs: 200,
    warmUpSlices: 5,
    value: VALUES['100 B'],
    callers: 64,
    contenders: each(caches, misses),
    bars: [{ what: 'miss, compute, write to memory and Redis, 64 callers', of: 'thermocline', number: 'ratio', atLeast: 0.5, stretch: 0.62, peer: 'layered-loader' }],
  },
  {
    name: 'redis-get-many',
    title: `getMany of ${MANY} from Redis, one caller, 100 B`,
    kind: 'rate',
    baseline: 'ioredis',
    against: 'ioredis MGET and JSON.parse of each',
    redis: true,
    placement: 'one core',
    sliceMs: 200,
    warmUpSlices: 5,
    contenders: each(caches, many),
    bars: [{ what: `getMany of ${MANY} from Redis`, of: 'thermocline', number: 'ratio', atLeast: 0.75, stretch: 0.9, peer: 'layered-loader' }],
  },
  {
    name: 'redis-cold-key',
    title: `${COLD}, ${COMPUTE_MS} ms compute`,
    kind: 'sample',
    rounds: 30,
    warmUpSamples: 10,
    redis: true,
    placement: 'two cores',
    contenders: each(without(caches, 'ioredis', 'ioredis, Map and crc32'), stampede),
    columns: { addedMs: 'ms beyond the compute', computes: 'computes', commands: 'Redis commands' },
    bars: [
      { what: `${COLD}: computes`, of: 'thermocline', number: 'computes', atMost: 1, peer: 'layered-loader', worst: true },
      { what: `${COLD}: ms beyond the compute`, of: 'thermocline', number: 'addedMs', atMost: 5, peer: 'layered-loader' },
      { what: `${COLD}: Redis commands`, of: 'thermocline', number: 'commands', atMost: 6, peer: 'layered-loader', worst: true },
    ],
  },
  {
    name: 'redis-clear',
    title: CLEAR,
    kind: 'sample',
    rounds: 7,
    warmUpSamples: 1,
    baseline: 'ioredis',
    relative: { of: 'ms', as: 'timesRaw' },
    redis: true,
    placement: 'two cores',
    contenders: Object.fromEntries(Object.entries(clearers).map(([name, open]) => [name, (context) => clearing(open, context)])),
    columns: { ms: 'ms', timesRaw: 'times ioredis SCAN COUNT 1000 and UNLINK', slowestMs: 'slowest command of a clear, ms', commands: 'Redis commands' },
    bars: [
      { what: `${CLEAR}, times as long as ioredis SCAN COUNT 1000 and UNLINK`, of: 'thermocline', number: 'timesRaw', atMost: 1.3, peer: 'bentocache' },
      { what: `${CLEAR}: slowest single command of all clears, ms`, of: 'thermocline', number: 'slowestMs', atMost: 2, peer: 'bentocache', worst: true },
    ],
  },
]
