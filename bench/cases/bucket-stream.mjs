/*
 * A large object from a bucket to a caller and to disk. By hand the client's stream is piped to a file; the cache gives its caller every byte besides, checks
 * them, and is done when the disk tier has the entry. Every sample is of a new process, because the memory that the process takes is counted:
 * of one that has read nothing but 1 MB before.
 */
import { randomBytes } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { watchMemory } from '../lib/peak-memory.mjs'

const MB = 1_000_000
const WARM_UP = 'frames/warm-up.mp4'
const LARGE = 'frames/large.mp4'
/** Where our backend keeps them: both contenders read the same objects. */
const nameOf = (key) => `tenants/acme/${key}`
/** A disk that others use too is given time; with the default of 1 s a busy one is left behind, and then the entry is not on disk. */
const DISK_BUDGET = '30s'

function sizeOf({ spec, quick }) {
  return quick ? spec.bytes / 20 : spec.bytes
}

async function store(thermocline, context) {
  const cache = await thermocline(context)
  const block = randomBytes(MB)
  await cache.set(WARM_UP, block)
  function* blocks() {
    for (let left = sizeOf(context); left > 0; left -= MB) yield block.subarray(0, Math.min(MB, left))
  }
  await cache.setStream(LARGE, Readable.from(blocks()))
  await cache.close()
}

/** Once, and what it took of time and memory. @param read gives the number of bytes */
async function measured(context, read) {
  await read(WARM_UP)
  const most = watchMemory()
  const startedAt = process.hrtime.bigint()
  const bytes = await read(LARGE)
  const ms = Number(process.hrtime.bigint() - startedAt) / 1e6
  const addedMb = most() / MB
  if (bytes !== sizeOf(context)) throw new Error(`${bytes} bytes came, not ${sizeOf(context)}`)
  return { ms, mbPerSecond: bytes / MB / (ms / 1000), addedMb }
}

async function byHand(open, context) {
  const raw = await open(context)
  const read = async (key) => {
    const file = path.join(context.dir, path.basename(key))
    await pipeline(await raw.open(nameOf(key)), fs.createWriteStream(file))
    const { size } = fs.statSync(file)
    fs.rmSync(file)
    return size
  }
  return { sample: () => measured(context, read), close: () => raw.close() }
}

async function toCallerAndDisk(backendOf, context) {
  const { TieredCacheManager } = await import('@thermocline/core')
  const { FileSystemBackend } = await import('@thermocline/fs')
  const basePath = path.join(context.dir, 'disk')
  const warm = new FileSystemBackend({ basePath })
  const cache = new TieredCacheManager({ coordination: false, tiers: { warm: { backend: warm, budget: DISK_BUDGET }, cold: { backend: await backendOf(context) } }, policies: { frames: { ttl: '1d' } } })
  const acme = cache.tenant('acme')
  const read = async (key) => {
    const onDisk = new Promise((resolve, reject) => {
      cache.on('promote', (event) => event.key === key && resolve())
      cache.on('error', ({ error }) => reject(error))
    })
    let bytes = 0
    for await (const chunk of await acme.getStream(key)) bytes += chunk.byteLength
    await onDisk
    return bytes
  }
  return {
    async sample() {
      const sample = await measured(context, read)
      if (!(await acme.has(LARGE, { tiers: { cold: false } }))) throw new Error('the disk tier has no entry')
      return sample
    },
    async close() {
      await cache.close()
      fs.rmSync(basePath, { recursive: true })
    },
  }
}

/** For the parameters see {@link bucketCases}. */
export function bucketStreamCase({ name, begin, section, server }, raw, { thermocline, backendOf }, size, bytes, rounds) {
  const what = `${name}: a stream of ${size} to the caller and to disk`
  const against = `${raw.stream} piped to a file`
  return {
    name: `${begin}-stream-${size.replace(' ', '').toLowerCase()}`,
    title: what,
    section,
    kind: 'sample',
    fresh: true,
    rounds,
    baseline: raw.name,
    relative: { of: 'mbPerSecond', as: 'timesRaw' },
    ...server,
    sharedBucket: true,
    bytes,
    prepare: { [raw.name]: (context) => store(thermocline, { ...context, spec: { bytes } }) },
    contenders: { [raw.name]: (context) => byHand(raw.open, context), thermocline: (context) => toCallerAndDisk(backendOf, context) },
    columns: { ms: 'ms', mbPerSecond: 'MB/s', timesRaw: `times ${against}`, addedMb: 'memory added at most, MB' },
    bars: [
      { what: `${what}, times ${against}`, of: 'thermocline', number: 'timesRaw', atLeast: 0.8 },
      { what: `${what}: memory added at most, MB`, of: 'thermocline', number: 'addedMb', atMost: 100, peer: raw.name, worst: true },
    ],
  }
}
