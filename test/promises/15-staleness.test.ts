import { mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import type { TierOptions } from '@thermocline/core'
import { FileSystemBackend } from '@thermocline/fs'
import { MemoryBackend } from '@thermocline/memory'
import { describeStaleness } from '../support/staleness.js'

type Make = (basePath: string) => Record<string, TierOptions>

const STACKS: Readonly<Record<string, Make>> = {
  memory: () => ({ hot: { backend: new MemoryBackend() } }),
  fs: (basePath) => ({ warm: { backend: new FileSystemBackend({ basePath }) } }),
  'memory and fs': (basePath) => ({ hot: { backend: new MemoryBackend(), maxTtl: null }, warm: { backend: new FileSystemBackend({ basePath }) } }),
  'fs and memory': (basePath) => ({ warm: { backend: new FileSystemBackend({ basePath }) }, hot: { backend: new MemoryBackend() } }),
}

const twoDisks: Make = (basePath) => ({
  hot: { backend: new MemoryBackend(), maxTtl: null },
  warm: { backend: new FileSystemBackend({ basePath: path.join(basePath, 'warm') }) },
  cold: { backend: new FileSystemBackend({ basePath: path.join(basePath, 'cold') }) },
})

for (const [name, make, uses] of [...Object.entries(STACKS), ['memory, a disk and another it is written back to', twoDisks, { cold: { write: 'back' } }] as const]) {
  describeStaleness(name, async () => {
    const basePath = await mkdtemp(path.join(os.tmpdir(), 'thermocline-stale-'))
    return { tiers: make(basePath), uses, cleanUp: () => rm(basePath, { recursive: true, force: true, maxRetries: 5, retryDelay: 20 }) }
  })
}
