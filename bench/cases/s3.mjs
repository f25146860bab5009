/*
 * S3 on the same machine, which has none of a network's latency: what a library adds shows here at its largest. The baseline does the same by
 * hand with the SDK: no tenants, checksums, metadata, budgets or single flight.
 */
import { randomBytes } from 'node:crypto'
import { inParallel } from '../lib/in-parallel.mjs'
import { adapterAlone, rawS3, thermocline } from './s3-contenders.mjs'

const RAW = '@aws-sdk/client-s3'
const section = 'S3'
const SIZES = { '10 KB': 10_000, '1 MB': 1_000_000 }
const CALLERS = 16
const keyOf = (n) => `frames/cam1/${String(n).padStart(6, '0')}.raw`

const caches = { [RAW]: rawS3, thermocline, 'thermocline, the adapter alone': adapterAlone }

function each(set, made) {
  return Object.fromEntries(
    Object.entries(set).map(([name, open]) => [
      name,
      async (context) => {
        const cache = await open(context)
        return { close: () => cache.close(), ...(await made(cache, context)) }
      },
    ]),
  )
}

/** Every key once a batch. */
async function gets(cache, { spec }) {
  const values = Array.from({ length: spec.keys }, () => randomBytes(spec.bytes))
  await inParallel(CALLERS, spec.keys, (n) => cache.set(keyOf(n), values[n]))
  for (const [n, value] of values.entries()) if (!value.equals(await cache.get(keyOf(n)))) return { cannot: 'gives back other bytes' }
  return { batch: spec.keys, run: (count) => inParallel(CALLERS, count, (n) => cache.get(keyOf(n))) }
}

/** The same keys again and again, so that the store stays as large as it is. */
function sets(cache, { spec }) {
  const value = randomBytes(spec.bytes)
  return {
    batch: spec.keys,
    run: (count) => inParallel(CALLERS, count, (n) => cache.set(keyOf(n), value)),
    async close() {
      if (!value.equals(await cache.get(keyOf(0)))) throw new Error('other bytes were stored')
      await cache.close()
    },
  }
}

function rateCase(verb, size, made, against) {
  const what = `${verb} of ${size}, ${CALLERS} callers`
  return {
    name: `s3-${verb}-${size.replace(' ', '').toLowerCase()}`,
    title: `S3: ${what}`,
    section,
    kind: 'rate',
    baseline: RAW,
    against,
    s3: {},
    placement: 'two cores',
    sliceMs: 400,
    warmUpSlices: 3,
    rounds: 9,
    bytes: SIZES[size],
    keys: 64,
    contenders: each(caches, made),
    bars: [{ what: `S3: ${what}`, of: 'thermocline', number: 'ratio', atLeast: 0.9, peer: 'thermocline, the adapter alone' }],
  }
}

const ALL = 10_000
const PREFIX = 'frames/'
const FILL_WIDTH = 32
const small = randomBytes(100)
const many = (quick) => (quick ? 1500 : ALL)

async function lists(cache, { quick }) {
  await inParallel(FILL_WIDTH, many(quick), (n) => cache.set(keyOf(n), small))
  const found = await cache.list(PREFIX)
  if (new Set(found.map(({ key }) => key)).size !== many(quick) || found.some(({ size }) => size !== small.byteLength)) return { cannot: `finds ${found.length} of ${many(quick)}` }
  return { batch: 1, run: () => cache.list(PREFIX) }
}

/** Fills what it then removes; only the removal is timed. */
function clears(cache, { quick }) {
  return {
    async sample() {
      await inParallel(FILL_WIDTH, many(quick), (n) => cache.set(keyOf(n), small))
      const startedAt = process.hrtime.bigint()
      await cache.clear(PREFIX)
      const ms = Number(process.hrtime.bigint() - startedAt) / 1e6
      const left = (await cache.list(PREFIX)).length
      if (left > 0) throw new Error(`${left} objects are left`)
      return { ms, perSecond: (many(quick) / ms) * 1000 }
    },
  }
}

const two = { [RAW]: rawS3, thermocline }

export const s3Cases = [
  rateCase('get', '10 KB', gets, 'GetObject, collected'),
  rateCase('get', '1 MB', gets, 'GetObject, collected'),
  rateCase('put', '10 KB', sets, 'PutObject'),
  rateCase('put', '1 MB', sets, 'PutObject'),
  {
    name: 's3-list',
    title: 'S3: list 10,000 entries by prefix',
    section,
    kind: 'rate',
    baseline: RAW,
    against: 'pages of ListObjectsV2',
    s3: {},
    placement: 'two cores',
    sliceOps: 2,
    warmUpSlices: 1,
    rounds: 7,
    contenders: each(two, lists),
    bars: [{ what: 'S3: list 10,000 entries by prefix', of: 'thermocline', number: 'ratio', atLeast: 0.9 }],
  },
  {
    name: 's3-clear',
    title: 'S3: clear 10,000 entries by prefix',
    section,
    kind: 'sample',
    rounds: 4,
    warmUpSamples: 1,
    baseline: RAW,
    relative: { of: 'perSecond', as: 'timesRaw' },
    s3: {},
    placement: 'two cores',
    contenders: each(two, clears),
    columns: { ms: 'ms', perSecond: 'objects/s', timesRaw: 'times ListObjectsV2 and DeleteObjects, page by page' },
    bars: [{ what: 'S3: clear 10,000 entries by prefix, times ListObjectsV2 and DeleteObjects', of: 'thermocline', number: 'timesRaw', atLeast: 0.9 }],
  },
]
