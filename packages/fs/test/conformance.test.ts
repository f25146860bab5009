import fs from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import type { Layer } from '@thermocline/backend'
import { FileSystemBackend, type FileSystemBackendOptions } from '@thermocline/fs'
import { describeBackend, type Feature, type Subject } from '@thermocline/testkit'
import { guarded } from '../../../test/support/conformance.js'
import { damageFile, entryFile } from './support/entry-files.js'

async function subject(options: Partial<FileSystemBackendOptions>, layer: Layer = (inner) => inner): Promise<Subject> {
  const basePath = await fs.mkdtemp(path.join(os.tmpdir(), 'thermocline-'))
  const open = (): ReturnType<Layer> => layer(new FileSystemBackend({ basePath, ...options }))
  return {
    backend: open(),
    reopen: () => Promise.resolve(open()),
    cleanUp: () => fs.rm(basePath, { recursive: true }),
    damage: (tenant, key) => damageFile(entryFile(basePath, tenant, key)),
    fail: async () => {
      const root = path.join(basePath, 'thermocline')
      await fs.rename(root, `${root}-away`)
      await fs.writeFile(root, 'a file where the directory was')
    },
  }
}

const UNLIMITED: readonly Feature[] = ['payload limit', 'room']

describeBackend({ name: 'fs', create: () => subject({}), without: UNLIMITED })
describeBackend({ name: 'fs with a limit and fsync', create: () => subject({ maxBytes: 60 * 1024 ** 2, fsync: true }) })

describeBackend({ name: 'fs under circuit breaker, timeout and retry', create: () => subject({}, guarded(5000)), without: UNLIMITED })
