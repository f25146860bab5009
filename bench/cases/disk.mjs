/*
 * 10 KB on the local disk, the disk tier alone, against the plain promise API: write under a temporary name and rename;
 * readFile. The plain one has no checksum, no expiry, no tenants and no limit.
 */
import fs from 'node:fs'
import path from 'node:path'
import { randomBytes } from 'node:crypto'

const KEYS = Array.from({ length: 1000 }, (_, n) => `frames/cam1/${n}.jpg`)
const VALUE = randomBytes(10_000)
const LIMIT = 1024 ** 3

/** So many operations at once, each worker with keys of its own. */
function repeated(operation, width) {
  let at = 0
  return async (n) => {
    if (width === 1) {
      for (let left = n; left > 0; left--) await operation(KEYS[at++ % KEYS.length])
      return
    }
    let left = n
    const worker = async () => {
      while (left-- > 0) await operation(KEYS[at++ % KEYS.length])
    }
    await Promise.all(Array.from({ length: width }, worker))
  }
}

async function running({ set, get, close, spec }) {
  for (const key of KEYS) await set(key, VALUE)
  const back = await get(KEYS[7])
  if (!Buffer.from(back).equals(VALUE)) throw new Error('what was read is not what was written')
  const operation = spec.verb === 'set' ? (key) => set(key, VALUE) : (key) => get(key)
  return { run: repeated(operation, spec.width), batch: 32, close }
}

async function thermocline({ dir, spec }, maxBytes) {
  const { TieredCacheManager } = await import('@thermocline/core')
  const { FileSystemBackend } = await import('@thermocline/fs')
  const backend = new FileSystemBackend({ basePath: dir, ...(maxBytes === undefined ? {} : { maxBytes }) })
  const cache = new TieredCacheManager({ tiers: { warm: { backend } }, policies: { embeddings: { ttl: '7d' }, frames: { ttl: '1d' } } })
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
    return running({ spec, set: (key, value) => cacache.put(dir, key, value, { memoize: false }), get: async (key) => (await cacache.get(dir, key, { memoize: false })).data })
  },
  'bentocache file driver': async ({ dir, spec }) => {
    const { BentoCache, bentostore } = await import('bentocache')
    const { fileDriver } = await import('bentocache/drivers/file')
    const bento = new BentoCache({ default: 'warm', stores: { warm: bentostore().useL2Layer(fileDriver({ directory: dir, pruneInterval: false })) } })
    const text = VALUE.toString('base64') // it keeps JSON only
    return running({ spec, set: (key) => bento.set({ key: key.replaceAll('/', ':'), value: text, ttl: '1h' }), get: async (key) => Buffer.from(await bento.get({ key: key.replaceAll('/', ':') }), 'base64') })
  },
}

function diskCase(verb, width, bars) {
  const what = verb === 'set' ? 'set of 10 KB on disk' : 'get of 10 KB from disk'
  const title = width === 1 ? what : `${what}, ${width} at once`
  const against = verb === 'set' ? 'fs.promises write and rename' : 'fs.promises.readFile'
  return {
    name: `disk-${verb}${width === 1 ? '' : `-${width}`}`,
    title,
    kind: 'rate',
    baseline: 'fs.promises',
    sliceMs: 250,
    against,
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
]
