import fs from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { CircuitBreaker, retry, timeout } from '@thermocline/core'
import { systemClock, type Layer } from '@thermocline/backend'
import { FileSystemBackend, type FileSystemBackendOptions } from '@thermocline/fs'
import { describeBackend, type Subject } from '@thermocline/testkit'

async function subject(options: Partial<FileSystemBackendOptions>, layer: Layer = (inner) => inner): Promise<Subject> {
  const basePath = await fs.mkdtemp(path.join(os.tmpdir(), 'thermocline-'))
  const open = (): ReturnType<Layer> => layer(new FileSystemBackend({ basePath, ...options }))
  return { backend: open(), reopen: () => Promise.resolve(open()), cleanUp: () => fs.rm(basePath, { recursive: true }) }
}

describeBackend({ name: 'fs', create: () => subject({}) })
describeBackend({ name: 'fs with a limit', create: () => subject({ maxBytes: 100 * 1024 ** 2 }) })
describeBackend({ name: 'fs with fsync', create: () => subject({ fsync: true }) })

const clock = systemClock
const layers = {
  retry: () => retry({ clock, attempts: 3, baseDelayMs: 1 }),
  timeout: () => timeout({ clock, budgetMs: 5000 }),
  'circuit breaker': () => new CircuitBreaker({ clock, failureThreshold: 5 }).layer,
}
for (const [name, layer] of Object.entries(layers)) describeBackend({ name: `fs under ${name}`, create: () => subject({}, layer()) })
