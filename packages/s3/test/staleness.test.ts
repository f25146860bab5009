import { mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll } from '@jest/globals'
import { FileSystemBackend } from '@thermocline/fs'
import { MemoryBackend } from '@thermocline/memory'
import { S3Backend } from '@thermocline/s3'
import { describeS3, startS3, type S3Server } from '../../../test/support/s3/index.js'
import { describeStaleness } from '../../../test/support/staleness.js'
import { freshPrefix, optionsFor } from './support/shelf.js'

describeS3('stale values', () => {
  let server: S3Server
  let bucket: string
  beforeAll(async () => {
    server = await startS3()
    bucket = await server.createBucket()
  }, 660_000)
  afterAll(() => server.stop())

  const s3 = (): S3Backend => new S3Backend({ ...optionsFor(server, bucket), prefix: freshPrefix() })
  describeStaleness('s3', () => ({ tiers: { cold: { backend: s3() } } }))
  describeStaleness('memory, disk and s3', async () => {
    const basePath = await mkdtemp(path.join(os.tmpdir(), 'thermocline-stale-'))
    const tiers = { hot: { backend: new MemoryBackend(), maxTtl: null }, warm: { backend: new FileSystemBackend({ basePath }) }, cold: { backend: s3() } }
    return { tiers, cleanUp: () => rm(basePath, { recursive: true, force: true, maxRetries: 5, retryDelay: 20 }) }
  })
})
