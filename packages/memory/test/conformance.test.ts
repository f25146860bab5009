import { MemoryBackend } from '@thermocline/memory'
import { describeBackend, type Feature } from '@thermocline/testkit'
import { guarded } from '../../../test/support/conformance.js'

/** Its entries lie in the process that reads them, end with it, and cannot be out of reach. */
const WITHOUT: readonly Feature[] = ['streams', 'reopening', 'damage', 'outage']

describeBackend({ name: 'memory', create: () => ({ backend: new MemoryBackend({ maxBytes: 64 * 1024 ** 2 }) }), without: WITHOUT })
describeBackend({ name: 'memory with a limit of entries', create: () => ({ backend: new MemoryBackend({ maxEntries: 2000 }) }), without: [...WITHOUT, 'payload limit'] })

describeBackend({
  name: 'memory under circuit breaker, timeout and retry',
  create: () => ({ backend: guarded(1000)(new MemoryBackend()) }),
  without: [...WITHOUT, 'payload limit', 'room'],
})
