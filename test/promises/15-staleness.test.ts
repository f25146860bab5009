import { mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import type { TierOptions } from '@thermocline/core'
import { FileSystemBackend } from '@thermocline/fs'
import { MemoryBackend } from '@thermocline/memory'
import { describeStaleness } from '../support/staleness.js'

const STACKS: Readonly<Record<string, (basePath: string) => Record<string, TierOptions>>> = {
  memory: () => ({ hot: { backend: new MemoryBackend() } }),
  fs: (basePath) => ({ warm: { backend: new FileSystemBackend({ basePath }) } }),
  'memory and fs': (basePath) => ({ hot: { backend: new MemoryBackend(), maxTtl: null }, warm: { backend: new FileSystemBackend({ basePath }) } }),
  'fs and memory': (basePath) => ({ warm: { backend: new FileSystemBackend({ basePath }) }, hot: { backend: new MemoryBackend() } }),
}

for (const [name, make] of Object.entries(STACKS)) {
  describeStaleness(name, async () => {
    const basePath = await mkdtemp(path.join(os.tmpdir(), 'thermocline-stale-'))
    return { tiers: make(basePath), cleanUp: () => rm(basePath, { recursive: true, force: true, maxRetries: 5, retryDelay: 20 }) }
  })
}
