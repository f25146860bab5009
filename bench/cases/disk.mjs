/*
 * 10 KB on the local disk, the disk tier alone, against the plain promise API: write under a temporary name and rename;
 * readFile. The plain one has no checksum, no expiry, no tenants and no limit.
 *
 * A set of a new key and a set over an old one are two cases: ext4 hands a file that is renamed over another to the disk at
 * once, so the second measures mostly the disk. Nothing is removed before the end of the whole run: after thousands of files
 * were, ext4 looks past their inodes for five seconds at each new file, and a write costs four times as much.
 */
import fs from 'node:fs'
import path from 'node:path'
import { randomBytes } from 'node:crypto'

const KEYS = Array.from({ length: 1000 }, (_, n) => `frames/cam1/${n}.jpg`)
const LIMIT = 4 * 1024 ** 3 // never reached here

/** Values that differ, more of them than are on their way at once: cacache stores equal ones once. */
const VALUES = Array.from({ length: 64 }, () => randomBytes(10_000))
let values = 0

function nextValue() {
  const value = VALUES[++values % VALUES.length]
  value.writeUInt32LE(values, 0)
  return value
}

/** So many operations at once. */
function repeated(operation, width) {
  return async (n) => {
    let left = n
    const worker = async () => {
      while (left-- > 0) await operation()
    }
    await (width === 1 ? worker() : Promise.all(Array.from({ length: width }, worker)))
  }
}

async function running({ set, get, close, spec }) {
  for (const key of KEYS) await set(key, nextValue())
  const value = nextValue()
  await set(KEYS[7], value)
  if (!Buffer.from(await get(KEYS[7])).equals(value)) throw new Error('what was read is not what was written')
  let at = 0
  const operations = {
    get: () => get(KEYS[at++ % KEYS.length]),
    replace: () => set(KEYS[at++ % KEYS.length], nextValue()),
    set: () => set(`frames/cam2/${at++}.jpg`, nextValue()),
  }
  return { run: repeated(operations[spec.verb], spec.width), batch: 32, close }
}

async function thermocline({ dir, spec }, maxBytes) {
  const { TieredCacheManager } = await import('@thermocline/core')
  const { FileSystemBackend } = await import('@thermocline/fs')
  const backend = new FileSystemBackend({ basePath: dir, ...(maxBytes === undefined ? {} : { maxBytes }) })
  const cache = new TieredCacheManager({ coordination: false, tiers: { warm: { backend } }, policies: { embeddings: { ttl: '7d' }, frames: { ttl: '1d' } } })
  const acme = cache.tenant('acme')
  return running({ spec, set: (key, value) => acme.set(key, value), get: (key) => acme.get(key), close: () => cache.close() })
}

const contenders = {
  'fs.promises': async ({ dir, spec }) => {
    let temporary = 0
    const pathOf = (key) => path.join(dir, encodeURIComponent(key))
    return running({
      spec,
      set: async (key, value) => {
        const file = path.join(dir, `tmp-${++temporary}`)
        await fs.promises.writeFile(file, value)
        await fs.promises.rename(file, pathOf(key))
      },
      get: (key) => fs.promises.readFile(pathOf(key)),
    })
  },
  thermocline: (context) => thermocline(context),
  'thermocline, maxBytes': (context) => thermocline(context, LIMIT),
  cacache: async ({ dir, spec }) => {
    const { default: cacache } = await import('cacache')
    return running({
      spec,
      set: (key, value) => cacache.put(dir, key, value, { memoize: false }),
      get: async (key) => (await cacache.get(dir, key, { memoize: false })).data,
    })
  },
  'bentocache file driver': async ({ dir, spec }) => {
    const { BentoCache, bentostore } = await import('bentocache')
    const { fileDriver } = await import('bentocache/drivers/file')
    const bento = new BentoCache({ default: 'warm', stores: { warm: bentostore().useL2Layer(fileDriver({ directory: dir, pruneInterval: false })) } })
    const nameOf = (key) => key.replaceAll('/', ':')
    return running({
      spec,
      set: (key, value) => bento.set({ key: nameOf(key), value: value.toString('base64'), ttl: '1h' }), // it keeps JSON only
      get: async (key) => Buffer.from(await bento.get({ key: nameOf(key) }), 'base64'),
    })
  },
}

const TITLES = { set: 'set of a new 10 KB entry on disk', replace: 'set of 10 KB over an old entry on disk', get: 'get of 10 KB from disk' }

function diskCase(verb, width, bars) {
  const title = width === 1 ? TITLES[verb] : `${TITLES[verb]}, ${width} at once`
  return {
    name: `disk-${verb}${width === 1 ? '' : `-${width}`}`,
    title,
    kind: 'rate',
    baseline: 'fs.promises',
    sliceMs: 250,
    rounds: bars === undefined ? 7 : 11,
    against: verb === 'get' ? 'fs.promises readFile' : 'fs.promises write and rename',
    restMs: verb === 'set' && width === 1 ? 6000 : 0,
    verb,
    width,
    contenders,
    bars: ['thermocline', 'thermocline, maxBytes'].flatMap((of) =>
      bars === undefined ? [] : [{ what: of === 'thermocline' ? title : `${title}, with maxBytes`, of, number: 'ratio', peer: 'cacache', ...bars }],
    ),
  }
}

export const diskCases = [
  diskCase('set', 1, { atLeast: 0.9 }),
  diskCase('get', 1, { atLeast: 1.2, stretch: 3 }),
  diskCase('set', 16),
  diskCase('get', 16),
  diskCase('replace', 1),
]
