/*
 * Entries of 1 MB pushed through a limit of 256 MB: after the directory is full, every write has to make room first. The
 * plain one writes, renames and unlinks its oldest file. `du -sb` watches both directories all the time.
 */
import fs from 'node:fs'
import path from 'node:path'
import { randomBytes } from 'node:crypto'

const MB = 1024 ** 2
const LIMIT = 256 * MB
const VALUE = randomBytes(MB)

let written = 0

/** A value that differs from the others at its beginning. */
function nextValue() {
  VALUE.writeUInt32LE(++written, 0)
  return VALUE
}

function pushing(set) {
  return async (n) => {
    for (let left = n; left > 0; left--) {
      const value = nextValue()
      await set(`frames/cam1/${written}.raw`, value)
    }
  }
}

export const limitCases = [
  {
    name: 'disk-limit',
    title: '1 GB of 1 MB entries through a limit of 256 MB',
    kind: 'rate',
    baseline: 'fs.promises',
    sliceOps: 64,
    warmUpSlices: 5,
    rounds: 12,
    watchDisk: true,
    against: 'fs.promises write, rename and unlink of the oldest',
    contenders: {
      'fs.promises': ({ dir }) => {
        const kept = []
        return {
          batch: 8,
          run: pushing(async (key, value) => {
            if (kept.length === LIMIT / MB) await fs.promises.unlink(kept.shift())
            const file = path.join(dir, encodeURIComponent(key))
            await fs.promises.writeFile(`${file}.tmp`, value)
            await fs.promises.rename(`${file}.tmp`, file)
            kept.push(file)
          }),
        }
      },
      thermocline: async ({ dir }) => {
        const { TieredCacheManager } = await import('@thermocline/core')
        const { FileSystemBackend } = await import('@thermocline/fs')
        const cache = new TieredCacheManager({ tiers: { warm: { backend: new FileSystemBackend({ basePath: dir, maxBytes: LIMIT }) } } })
        const acme = cache.tenant('acme')
        return { batch: 8, run: pushing((key, value) => acme.set(key, value)), close: () => cache.close() }
      },
    },
    bars: [
      { what: '1 GB through a limit of 256 MB', of: 'thermocline', number: 'ratio', atLeast: 0.9 },
      { what: 'the most bytes du -sb saw under that limit', of: 'thermocline', number: 'mostBytes', atMost: LIMIT },
    ],
  },
]
