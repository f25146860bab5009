/*
 * Entries of 1 MB pushed through a limit of 256 MB: after the directory is full, every write has to make room first. The
 * plain one writes, renames and unlinks its oldest file. `du -sb` watches both directories all the time.
 */
import fs from 'node:fs'
import path from 'node:path'
import { randomBytes } from 'node:crypto'
import zlib from 'node:zlib'

const MB = 1024 ** 2
const LIMIT = 256 * MB
const VALUES = Array.from({ length: 32 }, () => randomBytes(MB))

let written = 0

/** One of more values than are on their way at once; it differs from the others at its beginning. */
function nextValue() {
  const value = VALUES[++written % VALUES.length]
  value.writeUInt32LE(written, 0)
  return value
}

/** So many sets at once, each of a new key. */
function pushing(set, width) {
  return async (n) => {
    for (let left = n; left > 0; left -= width) {
      await Promise.all(Array.from({ length: Math.min(width, left) }, () => set(`frames/cam1/${written + 1}.raw`, nextValue())))
    }
  }
}

/** Writes, renames, and unlinks its oldest file first once it holds its part. `taken`: makes of a value what is written. */
function plain({ dir, spec }, taken = (value) => value) {
  const kept = []
  const set = async (key, given) => {
    const value = taken(given)
    const file = path.join(dir, encodeURIComponent(key))
    kept.push(file)
    if (kept.length > LIMIT / MB) await fs.promises.unlink(kept.shift())
    await fs.promises.writeFile(`${file}.tmp`, value)
    await fs.promises.rename(`${file}.tmp`, file)
  }
  return { batch: 16, run: pushing(set, spec.width) }
}

/** The least that a cache pays that takes values when given and knows a damaged one. */
function copiedAndChecked(value) {
  const copy = Buffer.from(value)
  zlib.crc32(copy)
  return copy
}

async function thermocline({ dir, spec }) {
  const { TieredCacheManager } = await import('@thermocline/core')
  const { FileSystemBackend } = await import('@thermocline/fs')
  const cache = new TieredCacheManager({ coordination: false, tiers: { warm: { backend: new FileSystemBackend({ basePath: dir, maxBytes: LIMIT }) } } })
  const acme = cache.tenant('acme')
  return { batch: 16, run: pushing((key, value) => acme.set(key, value), spec.width), close: () => cache.close() }
}

function limitCase(width, atLeast) {
  const title = `1 GB of 1 MB entries through a limit of 256 MB${width === 1 ? '' : `, ${width} at once`}`
  return {
    name: width === 1 ? 'disk-limit' : `disk-limit-${width}`,
    title,
    kind: 'rate',
    baseline: 'fs.promises',
    sliceOps: 64,
    warmUpSlices: 5,
    rounds: 8,
    watchDisk: true,
    restMs: 6000,
    against: 'fs.promises write, rename and unlink of the oldest',
    width,
    contenders: { 'fs.promises': (context) => plain(context), 'fs.promises, a copy and crc32': (context) => plain(context, copiedAndChecked), thermocline },
    bars: [
      ...(atLeast === undefined ? [] : [{ what: title, of: 'thermocline', number: 'ratio', atLeast }]),
      { what: `${title}: most bytes between slices (du -sb)`, of: 'thermocline', number: 'mostBytes', atMost: LIMIT },
    ],
  }
}

export const limitCases = [limitCase(1, 0.9), limitCase(16)]
