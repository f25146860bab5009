import fs from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { CircuitBreaker, retry, timeout } from '@thermocline/core'
import { systemClock, type Layer } from '@thermocline/backend'
import { FileSystemBackend, type FileSystemBackendOptions } from '@thermocline/fs'
import { describeBackend, type Feature, type Subject } from '@thermocline/testkit'
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

const clock = systemClock
/** As a manager wraps each tier. */
function guarded(): Layer {
  const retried = retry({ clock, attempts: 3, baseDelayMs: 1 })
  const timed = timeout({ clock, budgetMs: 5000 })
  const breaker = new CircuitBreaker({ clock, failureThreshold: 5 })
  return (inner) => breaker.layer(timed(retried(inner)))
}

describeBackend({ name: 'fs under circuit breaker, timeout and retry', create: () => subject({}, guarded()), without: UNLIMITED })
