/*
 * Memory, disk and S3 together: what the faster tiers cost the caller of a cold hit, and what the slow one costs the caller of a set. Compared are
 * calls of one process that take turns, because the difference is smaller than what the machine does to two processes. Nothing is pinned, as in the
 * cases of the disk: its work is done in threads, which would wait for each other on one core.
 */
import { randomBytes } from 'node:crypto'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { quantile } from '../lib/stats.mjs'
import { timed } from '../lib/timed.mjs'
import { s3Backend } from './s3-contenders.mjs'

const section = 'S3'
const MB = 1_000_000
const median = (numbers) => quantile(numbers, 0.5)

async function modules() {
  const [core, memory, disk] = await Promise.all([import('@thermocline/core'), import('@thermocline/memory'), import('@thermocline/fs')])
  return { ...core, ...memory, ...disk }
}

const COLD_KEYS = 16

/** Each key is read twice a sample, found in S3 both times: once it is promoted, once not. */
async function promotion(context) {
  const { FileSystemBackend, MemoryBackend, TenantScope, TieredCacheManager } = await modules()
  const hot = new MemoryBackend()
  const warm = new FileSystemBackend({ basePath: path.join(context.dir, 'disk') })
  const stays = { write: 'around', promote: false }
  const cache = new TieredCacheManager({
    coordination: false,
    tiers: { hot: { backend: hot }, warm: { backend: warm }, cold: { backend: await s3Backend(context) } },
    policies: { promoted: {}, stays: { tiers: { hot: stays, warm: stays } } },
  })
  const failed = new Promise((_, reject) => cache.on('error', ({ error }) => reject(error)))
  failed.catch(() => undefined)
  const acme = cache.tenant('acme')
  const scope = new TenantScope('acme')
  const keys = Array.from({ length: COLD_KEYS }, (_, n) => `frames/${n}.raw`)
  for (const key of keys) await acme.set(key, randomBytes(MB), { policy: 'stays' })
  const arrived = (key) => new Promise((resolve) => {
    const off = cache.on('promote', (event) => {
      if (event.key !== key || event.to !== 'warm') return
      off()
      resolve()
    })
  })
  /** Time and CPU time until the caller has the value. */
  const read = async (key, policy) => {
    const before = process.cpuUsage()
    const ms = await timed(async () => {
      if ((await acme.get(key, { policy }))?.byteLength !== MB) throw new Error(`${key} is not there`)
    })
    const { user, system } = process.cpuUsage(before)
    return { ms, cpuMs: (user + system) / 1000 }
  }
  const promoted = async (key) => {
    const onDisk = arrived(key)
    const cost = await read(key, 'promoted')
    await Promise.race([onDisk, failed])
    hot.clear(scope, '', {})
    await warm.clear(scope, '', {}) // as if both had been evicted
    return cost
  }
  return {
    async sample() {
      const on = []
      const off = []
      for (const [n, key] of keys.entries()) {
        if (n % 2 === 0) on.push(await promoted(key))
        off.push(await read(key, 'stays'))
        if (n % 2 === 1) on.push(await promoted(key))
      }
      const of = (list, unit) => median(list.map((cost) => cost[unit]))
      const added = (unit) => median(on.map((cost, n) => cost[unit] - off[n][unit]))
      return { offMs: of(off, 'ms'), onMs: of(on, 'ms'), addedMs: added('ms'), addedCpuMs: added('cpuMs') }
    },
    close: () => cache.close({ deadline: '30s' }),
  }
}

const BURST = 16
/** What a set leaves to be done after its answer, such as closing a file, is not to be another's. */
const BREATH_MS = 3
/** Each cache comes first, second and last equally often, and after each of the others. */
const ORDERS = [
  ['alone', 'both', 'back'],
  ['back', 'both', 'alone'],
  ['both', 'back', 'alone'],
  ['alone', 'back', 'both'],
  ['back', 'alone', 'both'],
  ['both', 'alone', 'back'],
]

/** Sets of three caches that take turns; and bursts, in which the uploads of the first sets run while the last are made. */
async function writeBack(context) {
  const { FileSystemBackend, MemoryBackend, TieredCacheManager } = await modules()
  const disk = (name) => ({ backend: new FileSystemBackend({ basePath: path.join(context.dir, name) }) })
  const open = (tiers, policies = {}) => {
    const cache = new TieredCacheManager({ coordination: false, tiers, policies })
    cache.on('error', ({ error }) => console.error(error))
    return { cache, acme: cache.tenant('acme') }
  }
  const caches = {
    alone: open({ warm: disk('alone') }),
    both: open({ hot: { backend: new MemoryBackend() }, warm: disk('both') }),
    back: open({ hot: { backend: new MemoryBackend() }, warm: disk('back'), cold: { backend: await s3Backend(context) } }, { default: { tiers: { cold: { write: 'back' } } } }),
  }
  const value = randomBytes(context.spec.bytes)
  const turns = context.spec.turns
  const set = (name, n) => timed(() => caches[name].acme.set(`frames/${n % turns}.raw`, value))
  const uploaded = async () => {
    const { pending } = await caches.back.cache.flush({ deadline: '60s' })
    if (pending > 0) throw new Error(`${pending} uploads are left`)
  }
  let samples = 0
  return {
    async sample() {
      const one = { alone: [], both: [], back: [] }
      for (let turn = 0; turn < turns; turn++) {
        for (const name of ORDERS[turn % ORDERS.length]) {
          await sleep(BREATH_MS)
          one[name].push(await set(name, turn))
          if (name === 'back') await uploaded()
        }
      }
      const burst = { alone: [], back: [] }
      for (const name of samples++ % 2 === 0 ? ['alone', 'back'] : ['back', 'alone']) for (let n = 0; n < BURST; n++) burst[name].push(await set(name, n))
      await uploaded()
      const [aloneMs, bothMs, backMs] = [one.alone, one.both, one.back].map(median)
      const [burstAloneMs, burstBackMs] = [burst.alone, burst.back].map(median)
      return { aloneMs, bothMs, backMs, timesAlone: backMs / aloneMs, timesBoth: backMs / bothMs, burstAloneMs, burstBackMs, timesAloneInBurst: burstBackMs / burstAloneMs }
    },
    async close() {
      for (const { cache } of Object.values(caches)) await cache.close({ deadline: '30s' })
    },
  }
}

function writeBackCase(size, bytes, turns) {
  const what = `a set of ${size} in memory and on disk, S3 written back`
  return {
    name: `s3-write-back-${size.replace(' ', '').toLowerCase()}`,
    title: `S3: ${what}`,
    section,
    kind: 'sample',
    rounds: 11,
    warmUpSamples: 2,
    s3: {},
    bytes,
    turns,
    contenders: { thermocline: writeBack },
    columns: {
      aloneMs: 'disk tier alone, ms',
      bothMs: 'memory and disk, ms',
      backMs: 'memory, disk and S3 behind, ms',
      timesAlone: 'times disk alone',
      timesBoth: 'times memory and disk',
      burstAloneMs: `disk alone, ${BURST} in a row, ms`,
      burstBackMs: `S3 behind, ${BURST} in a row, ms`,
      timesAloneInBurst: 'times disk alone, in a row',
    },
    bars: [{ what: `S3: ${what}, times the disk tier alone`, of: 'thermocline', number: 'timesAlone', atMost: 1.15 }],
  }
}

const PROMOTED = 'S3: a cold hit of 1 MB that is promoted to memory and disk'

export const s3TierCases = [
  {
    name: 's3-promotion',
    title: PROMOTED,
    section,
    kind: 'sample',
    rounds: 15,
    warmUpSamples: 2,
    s3: {},
    contenders: { thermocline: promotion },
    columns: { offMs: 'ms without promotion', onMs: 'ms with it', addedMs: 'ms added', addedCpuMs: 'of CPU time, ms added' },
    bars: [{ what: `${PROMOTED}: ms added for the caller`, of: 'thermocline', number: 'addedMs', atMost: 2 }],
  },
  writeBackCase('10 KB', 10_000, 30),
  writeBackCase('1 MB', MB, 12),
]
