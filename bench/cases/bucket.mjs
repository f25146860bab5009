/*
 * A bucket on the same machine, which has none of a network's latency: what a library adds shows here at its largest. The baseline does the same by
 * hand with the store's own client: no tenants, checksums, metadata, budgets or single flight.
 */
import { randomBytes } from 'node:crypto'
import { inParallel } from '../lib/in-parallel.mjs'

const SIZES = { '10 KB': 10_000, '1 MB': 1_000_000 }
const CALLERS = 16
const ALL = 10_000
const PREFIX = 'frames/'
const FILL_WIDTH = 32
const small = randomBytes(100)
const many = (quick) => (quick ? 1500 : ALL)
const keyOf = (n) => `frames/cam1/${String(n).padStart(6, '0')}.raw`

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

/**
 * Reading, writing, listing and clearing one kind of bucket.
 *
 * @param store its `name`, what names of cases `begin` with, the `section` of the page, the `server` of the driver (`{ s3: {} }`)
 * @param raw the `name` of the baseline, how to `open` it, and what the tables call its ways to `get`, `put`, `list` and `clear`
 * @param ours `thermocline` and `adapterAlone`
 */
export function bucketCases(store, raw, { thermocline, adapterAlone }) {
  const two = { [raw.name]: raw.open, thermocline }
  const all = { ...two, 'thermocline, the adapter alone': adapterAlone }
  const common = { section: store.section, baseline: raw.name, placement: 'two cores', ...store.server }

  const rateCase = (verb, size, made, against) => {
    const what = `${store.name}: ${verb} of ${size}, ${CALLERS} callers`
    return {
      ...common,
      name: `${store.begin}-${verb}-${size.replace(' ', '').toLowerCase()}`,
      title: what,
      kind: 'rate',
      against,
      sliceMs: 400,
      warmUpSlices: 3,
      rounds: 9,
      processes: 3,
      bytes: SIZES[size],
      keys: 64,
      contenders: each(all, made),
      bars: [{ what, of: 'thermocline', number: 'ratio', atLeast: 0.9, peer: 'thermocline, the adapter alone' }],
    }
  }
  const listing = `${store.name}: list 10,000 entries by prefix`
  const clearing = `${store.name}: clear 10,000 entries by prefix`
  return [
    rateCase('get', '10 KB', gets, raw.get),
    rateCase('get', '1 MB', gets, raw.get),
    rateCase('put', '10 KB', sets, raw.put),
    rateCase('put', '1 MB', sets, raw.put),
    {
      ...common,
      name: `${store.begin}-list`,
      title: listing,
      kind: 'rate',
      against: `pages of ${raw.list}`,
      sliceOps: 2,
      warmUpSlices: 1,
      rounds: 7,
      contenders: each(two, lists),
      bars: [{ what: listing, of: 'thermocline', number: 'ratio', atLeast: 0.9 }],
    },
    {
      ...common,
      name: `${store.begin}-clear`,
      title: clearing,
      kind: 'sample',
      rounds: 4,
      warmUpSamples: 1,
      relative: { of: 'perSecond', as: 'timesRaw' },
      contenders: each(two, clears),
      columns: { ms: 'ms', perSecond: 'objects/s', timesRaw: `times ${raw.clear}, page by page` },
      bars: [{ what: `${clearing}, times ${raw.clear}`, of: 'thermocline', number: 'timesRaw', atLeast: 0.9 }],
    },
  ]
}
