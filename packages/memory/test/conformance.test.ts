import { CircuitBreaker, retry, timeout } from '@thermocline/core'
import { systemClock } from '@thermocline/backend'
import { MemoryBackend } from '@thermocline/memory'
import { describeBackend, type Feature } from '@thermocline/testkit'

/** Its entries lie in the process that reads them, end with it, and cannot be out of reach. */
const WITHOUT: readonly Feature[] = ['streams', 'reopening', 'damage', 'outage']

describeBackend({ name: 'memory', create: () => ({ backend: new MemoryBackend({ maxBytes: 64 * 1024 ** 2 }) }), without: WITHOUT })
describeBackend({ name: 'memory with a limit of entries', create: () => ({ backend: new MemoryBackend({ maxEntries: 2000 }) }), without: [...WITHOUT, 'payload limit'] })

const clock = systemClock
const retried = retry({ clock, attempts: 3, baseDelayMs: 1 })
const timed = timeout({ clock, budgetMs: 1000 })
describeBackend({
  name: 'memory under circuit breaker, timeout and retry',
  create: () => ({ backend: new CircuitBreaker({ clock, failureThreshold: 5 }).layer(timed(retried(new MemoryBackend()))) }),
  without: [...WITHOUT, 'payload limit', 'room'],
})
