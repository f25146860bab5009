/*
 * What it costs that processes agree over Redis or over a directory, and what it brings: one compute for all of them, and changes that the others' memory hears of.
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { setTimeout as sleep } from 'node:timers/promises'
import { inParallel } from '../lib/in-parallel.mjs'

const PEER = fileURLToPath(new URL('../lib/coordinated-peer.mjs', import.meta.url))
const KEYS = Array.from({ length: 1000 }, (_, n) => `embeddings/clip/v1/${n}.npz`)
const VALUE = { id: 'clip-1', model: 'ViT-B/32', score: 0.271828, labels: ['cat', 'outdoor'], width: 640, height: 480 }
const ON = 'thermocline, coordinated'
const OFF = 'thermocline, each by itself'

let _sink

const urlOf = ({ host, port, db }) => `redis://${host}:${port}/${db}`

/** What processes share: the server, or a new directory. */
async function redisOf({ redis }) {
  return { redis: { url: urlOf(redis), keyPrefix: 'tc:' } }
}

async function directoryOf({ dir }) {
  return { fs: { basePath: await mkdtemp(path.join(dir, 'agreed-')) } }
}

async function manager(context, coordination, { memory, share }) {
  const { TieredCacheManager } = await import('@thermocline/core')
  const { MemoryBackend } = await import('@thermocline/memory')
  const { RedisBackend } = await import('@thermocline/redis')
  const { FileSystemBackend } = await import('@thermocline/fs')
  const { redis, fs } = await share(context)
  const shared = fs === undefined ? new RedisBackend(redis) : new FileSystemBackend(fs)
  const near = memory ? { near: { backend: new MemoryBackend(), maxTtl: null } } : {}
  const cache = new TieredCacheManager({ tiers: { ...near, shared: { backend: shared } }, coordination, logger: false })
  if (coordination !== false) while ((await cache.health()).coordination.status !== 'connected') await sleep(5)
  return { cache, acme: cache.tenant('acme') }
}

async function rawRedis({ redis }) {
  const { Redis } = await import('ioredis-6')
  return new Redis({ host: redis.host, port: redis.port, db: redis.db })
}

/** The same verb, with and without. */
function both(made, { memory = false, share = redisOf } = {}) {
  const of = (coordination) => async (context) => {
    const { cache, acme } = await manager(context, coordination, { memory, share })
    return { close: () => cache.close(), ...(await made(acme, context)) }
  }
  return { [OFF]: of(false), [ON]: of('auto') }
}

async function hotHits(acme) {
  for (const key of KEYS) await acme.set(key, VALUE)
  const compute = () => VALUE
  let at = 0
  return {
    batch: 20_000,
    run: async (n) => {
      for (; n > 0; n--) _sink = await acme.getOrCompute(KEYS[at++ % KEYS.length], compute)
    },
  }
}

function sets(callers) {
  let n = 0
  return (acme) => ({ batch: callers === 1 ? 500 : 4000, run: (count) => inParallel(callers, count, () => acme.set(`frames/${n++ % 5000}`, VALUE)) })
}

function misses(callers) {
  let n = 0
  return (acme) => ({ batch: callers === 1 ? 500 : 4000, run: (count) => inParallel(callers, count, () => acme.getOrCompute(`frames/${n++}`, async () => VALUE)) })
}

function rawSets(callers) {
  return async (context) => {
    const client = await rawRedis(context)
    let n = 0
    return { batch: callers === 1 ? 500 : 4000, close: () => client.disconnect(), run: (count) => inParallel(callers, count, () => client.set(`frames/${n++}`, JSON.stringify(VALUE), 'PX', 3_600_000)) }
  }
}

class Peer {
  #answers = new Map()
  #asked = 0

  constructor(over, coordination) {
    this.child = fork(PEER, [JSON.stringify({ ...over, coordination })], { execArgv: [], stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
    this.child.on('message', ({ id, answer }) => {
      this.#answers.get(id)?.(answer)
      this.#answers.delete(id)
    })
  }

  ask(verb, given = {}) {
    const id = ++this.#asked
    return new Promise((resolve) => {
      this.#answers.set(id, resolve)
      this.child.send({ id, verb, ...given })
    })
  }

  async close() {
    const exit = once(this.child, 'exit')
    void this.ask('close')
    await exit
  }
}

const PROCESSES = 4
const CALLERS = 250
const COMPUTE_MS = 50

/** Four processes ask for a cold key at once: what waiting for it cost beyond the compute. */
function coldKey(coordination, share = redisOf) {
  return async (context) => {
    const over = await share(context)
    const peers = Array.from({ length: PROCESSES }, () => new Peer(over, coordination))
    await Promise.all(peers.map((peer) => peer.ask('ready')))
    let keys = 0
    return {
      close: () => Promise.all(peers.map((peer) => peer.close())),
      async sample() {
        const at = Date.now() + 60
        const key = `cold/${process.pid}/${keys++}`
        const done = await Promise.all(peers.map((peer) => peer.ask('stampede', { key, callers: CALLERS, ms: COMPUTE_MS, at })))
        return { addedMs: Math.max(...done.map(({ ms }) => ms)) - Math.max(...done.map(({ tookMs }) => tookMs)), computes: done.reduce((sum, one) => sum + one.computes, 0) }
      },
    }
  }
}

/** From a delete that has resolved here to a key that is forgotten in another process's memory. Less than nothing: it was forgotten before. */
const forgetting = (share) => async (context) => {
  const { quick } = context
  const over = await share(context)
  const [one, other] = [new Peer(over, 'auto'), new Peer(over, 'auto')]
  await Promise.all([one.ask('ready'), other.ask('ready')])
  let keys = 0
  return {
    close: () => Promise.all([one.close(), other.close()]),
    async sample() {
      const times = []
      for (let n = 0; n < (quick ? 20 : 500); n++) {
        const key = `told/${keys++}`
        const holds = new Promise((resolve) => {
          const hear = (message) => {
            if (message.holds !== key) return
            other.child.off('message', hear)
            resolve()
          }
          other.child.on('message', hear)
        })
        const forgotten = other.ask('watch', { key })
        await holds
        const deletedAt = BigInt(await one.ask('delete', { key }))
        times.push(Number(BigInt(await forgotten) - deletedAt) / 1e6)
      }
      times.sort((a, b) => a - b)
      return { p50: Math.max(0, times[times.length >> 1]), p99: Math.max(0, times[Math.floor(times.length * 0.99)]) }
    },
  }
}

export const processCases = [
  {
    name: 'processes-hot-hit',
    title: 'A hit in memory above Redis, 100 B, with coordination and without',
    kind: 'rate',
    redis: true,
    baseline: OFF,
    sliceMs: 150,
    contenders: both(hotHits, { memory: true }),
    bars: [{ what: 'hot hit with coordination', of: ON, number: 'ratio', atLeast: 0.95, against: 'without' }],
  },
  {
    name: 'processes-miss',
    title: 'Miss, compute and write, 64 callers, 100 B',
    kind: 'rate',
    redis: true,
    baseline: 'ioredis',
    sliceMs: 200,
    contenders: { ioredis: rawSets(64), ...both((acme) => misses(64)(acme)) },
    bars: [{ what: 'miss, compute and write under a lease, 64 callers', of: ON, number: 'ratio', atLeast: 0.38, stretch: 0.5, against: 'one SET' }],
  },
  {
    name: 'processes-miss-one',
    title: 'Miss, compute and write, one caller, 100 B',
    kind: 'rate',
    redis: true,
    baseline: 'ioredis',
    sliceMs: 200,
    contenders: { ioredis: rawSets(1), ...both((acme) => misses(1)(acme)) },
    bars: [{ what: 'miss, compute and write under a lease, one caller', of: ON, number: 'ratio', atLeast: 0.3, stretch: 0.4, against: 'one SET' }],
  },
  {
    name: 'processes-set',
    title: '`set` into memory and Redis, 64 callers, 100 B',
    kind: 'rate',
    redis: true,
    baseline: OFF,
    sliceMs: 200,
    contenders: both((acme) => sets(64)(acme), { memory: true }),
    bars: [{ what: '`set` with coordination', of: ON, number: 'ratio', atLeast: 0.7, stretch: 0.85, against: 'without' }],
  },
  {
    name: 'processes-cold-key',
    title: `${PROCESSES} processes with ${CALLERS} callers each of one cold key, memory and Redis, ${COMPUTE_MS} ms compute`,
    kind: 'samples',
    redis: true,
    rounds: 15,
    contenders: { [OFF]: coldKey(false), [ON]: coldKey('auto') },
    columns: { addedMs: 'ms beyond the compute', computes: 'computes' },
    bars: [{ what: 'cold key in four processes', of: ON, number: 'addedMs', atMost: 12, stretch: 8 }],
  },
  {
    name: 'processes-forget',
    title: 'From a delete that has resolved to a key that is forgotten in another process’s memory',
    kind: 'samples',
    redis: true,
    rounds: 3,
    contenders: { [ON]: forgetting(redisOf) },
    columns: { p50: 'ms, p50', p99: 'ms, p99' },
    bars: [
      { what: 'told another process of a delete, p50', of: ON, number: 'p50', atMost: 2, stretch: 1 },
      { what: 'told another process of a delete, p99', of: ON, number: 'p99', atMost: 10, stretch: 4 },
    ],
  },
  {
    name: 'directory-miss',
    title: 'Miss, compute and write to disk, 64 callers, 100 B',
    kind: 'rate',
    baseline: OFF,
    sliceMs: 300,
    contenders: both((acme) => misses(64)(acme), { share: directoryOf }),
    bars: [],
  },
  {
    name: 'directory-miss-one',
    title: 'Miss, compute and write to disk, one caller, 100 B',
    kind: 'rate',
    baseline: OFF,
    sliceMs: 300,
    contenders: both((acme) => misses(1)(acme), { share: directoryOf }),
    bars: [],
  },
  {
    name: 'directory-set',
    title: '`set` into memory and onto disk, 64 callers, 100 B',
    kind: 'rate',
    baseline: OFF,
    sliceMs: 300,
    contenders: both((acme) => sets(64)(acme), { memory: true, share: directoryOf }),
    bars: [{ what: '`set` onto disk with coordination', of: ON, number: 'ratio', atLeast: 0.7, stretch: 0.85, against: 'without' }],
  },
  {
    name: 'directory-set-one',
    title: '`set` into memory and onto disk, one caller, 100 B',
    kind: 'rate',
    baseline: OFF,
    sliceMs: 300,
    contenders: both((acme) => sets(1)(acme), { memory: true, share: directoryOf }),
    bars: [],
  },
  {
    name: 'directory-cold-key',
    title: `${PROCESSES} processes with ${CALLERS} callers each of one cold key, memory and disk, ${COMPUTE_MS} ms compute`,
    kind: 'samples',
    rounds: 15,
    contenders: { [OFF]: coldKey(false, directoryOf), [ON]: coldKey('auto', directoryOf) },
    columns: { addedMs: 'ms beyond the compute', computes: 'computes' },
    bars: [{ what: 'cold key in four processes over a directory', of: ON, number: 'addedMs', atMost: 25, stretch: 12 }],
  },
  {
    name: 'directory-forget',
    title: 'From a delete that has resolved to a key that is forgotten in another process’s memory, over a directory',
    kind: 'samples',
    rounds: 3,
    contenders: { [ON]: forgetting(directoryOf) },
    columns: { p50: 'ms, p50', p99: 'ms, p99' },
    bars: [{ what: 'told another process of a delete over a directory, p99', of: ON, number: 'p99', atMost: 100 }],
  },
]
