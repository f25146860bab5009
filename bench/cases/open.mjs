/*
 * A directory that an earlier process filled with small entries: how long until a new process has its first value. Importing
 * is not counted; the operating system's file cache is warm.
 */
import fs from 'node:fs'
import path from 'node:path'

const ENTRIES = 100_000
const PART = 2000
const keyOf = (n) => `embeddings/clip/v1/${n}.npz`
const valueOf = (n) => ({ id: `clip-${n}`, model: 'ViT-B/32', score: 0.271828, labels: ['cat', 'outdoor'] })
const countOf = (quick) => (quick ? ENTRIES / 20 : ENTRIES)

async function openThermocline(dir, options = {}) {
  const { TieredCacheManager } = await import('@thermocline/core')
  const { FileSystemBackend } = await import('@thermocline/fs')
  return () => new TieredCacheManager({ coordination: false, tiers: { warm: { backend: new FileSystemBackend({ basePath: dir, ...options }) } }, policies: { embeddings: { ttl: '30d' } } })
}

async function fillThermocline({ dir, quick }) {
  const cache = (await openThermocline(dir))()
  const acme = cache.tenant('acme')
  for (let from = 0; from < countOf(quick); from += PART) {
    await acme.setMany(Array.from({ length: PART }, (_, n) => [keyOf(from + n), valueOf(from + n)]))
  }
  await cache.close()
}

/** What follows after `open`: the time until a value is there. */
async function timed(open, quick) {
  const key = keyOf(Math.floor(countOf(quick) * 0.7))
  const startedAt = process.hrtime.bigint()
  const value = await open(key)
  const ms = Number(process.hrtime.bigint() - startedAt) / 1e6
  if (value?.model !== 'ViT-B/32') throw new Error('the value was not there')
  return { ms }
}

export const openCases = [
  {
    name: 'open-100k',
    title: 'open a directory of 100,000 entries and get one',
    kind: 'sample',
    fresh: true,
    rounds: 15,
    prepare: {
      thermocline: fillThermocline,
      'thermocline, maxBytes': fillThermocline,
      'thermocline, maxBytes, first set': fillThermocline,
      'keyv-file': async ({ dir, quick }) => {
        const { KeyvFile } = await import('keyv-file')
        const { default: Keyv } = await import('keyv')
        const store = new KeyvFile({ filename: path.join(dir, 'all.json'), writeDelay: 1000 })
        const keyv = new Keyv({ store })
        const writes = []
        for (let n = 0; n < countOf(quick); n++) writes.push(keyv.set(keyOf(n), valueOf(n), 30 * 24 * 3_600_000))
        await Promise.all(writes)
        await keyv.disconnect()
      },
      'fs.promises.readFile': ({ dir }) => fs.promises.writeFile(path.join(dir, 'one.json'), JSON.stringify(valueOf(1))),
    },
    contenders: {
      thermocline: async ({ dir, quick }) => {
        const open = await openThermocline(dir)
        return { sample: () => timed((key) => open().tenant('acme').get(key), quick) }
      },
      'thermocline, maxBytes': async ({ dir, quick }) => {
        const open = await openThermocline(dir, { maxBytes: 10 * 1024 ** 3 })
        return { sample: () => timed((key) => open().tenant('acme').get(key), quick) }
      },
      'thermocline, maxBytes, first set': async ({ dir, quick }) => {
        const open = await openThermocline(dir, { maxBytes: 10 * 1024 ** 3 })
        return {
          sample: () =>
            timed(async (key) => {
              const value = valueOf(0)
              await open().tenant('acme').set(key, value)
              return value
            }, quick),
        }
      },
      'keyv-file': async ({ dir, quick }) => {
        const { KeyvFile } = await import('keyv-file')
        const { default: Keyv } = await import('keyv')
        return { sample: () => timed((key) => new Keyv({ store: new KeyvFile({ filename: path.join(dir, 'all.json') }) }).get(key), quick) }
      },
      'fs.promises.readFile': ({ dir, quick }) => ({ sample: () => timed(async () => JSON.parse(await fs.promises.readFile(path.join(dir, 'one.json'), 'utf8')), quick) }),
    },
    columns: { ms: 'ms to the first value' },
    bars: [{ what: 'open 100,000 entries on disk, ms to the first value', of: 'thermocline', number: 'ms', atMost: 150, stretch: 20, peer: 'keyv-file' }],
  },
]
