// Stores entries whose slow tier never answers, and says which ones were acknowledged, until it is killed.
import path from 'node:path'
import { TieredCacheManager } from '@thermocline/core'
import { FileSystemBackend } from '@thermocline/fs'
import { Faults } from '@thermocline/testkit'

const basePath = process.argv[2]
const faults = new Faults().inject({ fail: 'failed' }, 'put')
const cache = new TieredCacheManager({
  tiers: {
    warm: { backend: new FileSystemBackend({ basePath: path.join(basePath, 'warm') }) },
    cold: { backend: new FileSystemBackend({ basePath: path.join(basePath, 'cold') }), layers: [faults.layer] },
  },
  policies: { default: { tiers: { cold: { write: 'back' } } } },
  logger: false,
})
const acme = cache.tenant('acme')
for (let at = 0; ; at += 4) {
  await Promise.all([0, 1, 2, 3].map(async (offset) => {
    const key = `k${at + offset}`
    await acme.set(key, { key })
    process.stdout.write(`${key}\n`)
  }))
}
