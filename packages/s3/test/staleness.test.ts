import { mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { FileSystemBackend } from '@thermocline/fs'
import { MemoryBackend } from '@thermocline/memory'
import { S3Backend } from '@thermocline/s3'
import { describeStaleness } from '../../../test/support/staleness.js'
import { freshPrefix, onBucket, optionsFor } from './support/shelf.js'

onBucket('stale values', (stage) => {
  const s3 = (): S3Backend => new S3Backend({ ...optionsFor(stage.server, stage.bucket), prefix: freshPrefix() })
  describeStaleness('s3', () => ({ tiers: { cold: { backend: s3() } } }))
  describeStaleness('memory, disk and s3', async () => {
    const basePath = await mkdtemp(path.join(os.tmpdir(), 'thermocline-stale-'))
    const tiers = { hot: { backend: new MemoryBackend(), maxTtl: null }, warm: { backend: new FileSystemBackend({ basePath }) }, cold: { backend: s3() } }
    return { tiers, cleanUp: () => rm(basePath, { recursive: true, force: true, maxRetries: 5, retryDelay: 20 }) }
  })
})
