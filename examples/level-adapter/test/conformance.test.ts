import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { systemClock as clock, type CacheBackend } from '@thermocline/backend'
import { CircuitBreaker, retry, timeout } from '@thermocline/core'
import { describeBackend, type Feature, type Subject } from '@thermocline/testkit'
import { LevelBackend } from '../src/index.js'

async function create(wrap = (backend: CacheBackend) => backend): Promise<Subject> {
  const directory = await mkdtemp(path.join(tmpdir(), 'level-'))
  const open = (): CacheBackend => wrap(new LevelBackend({ path: directory }))
  return {
    backend: open(),
    reopen: async () => open(),
    cleanUp: () => rm(directory, { recursive: true }),
  }
}

/** As a manager wraps each tier: the breaker has to see timeouts, and the budget is for all attempts together. */
function guarded(backend: CacheBackend): CacheBackend {
  const retried = retry({ clock, attempts: 2, baseDelayMs: 1 })(backend)
  const timed = timeout({ clock, budgetMs: 5000 })(retried)
  return new CircuitBreaker({ clock, failureThreshold: 5 }).layer(timed)
}

/** LevelDB takes no streams, has no limit of room, and lets nobody else into its directory. */
const WITHOUT: readonly Feature[] = ['streams', 'room', 'damage', 'outage']

describeBackend({ name: 'level', create: () => create(), without: WITHOUT })
describeBackend({ name: 'level under circuit breaker, timeout and retry', create: () => create(guarded), without: WITHOUT })
