import { CircuitBreaker, retry, timeout } from '@thermocline/core'
import { systemClock } from '@thermocline/backend'
import { MemoryBackend } from '@thermocline/memory'
import { describeBackend } from '@thermocline/testkit'

describeBackend({ name: 'memory', create: () => ({ backend: new MemoryBackend({ maxBytes: 64 * 1024 ** 2 }) }) })

const clock = systemClock
const layers = {
  retry: () => retry({ clock, attempts: 3, baseDelayMs: 1 }),
  timeout: () => timeout({ clock, budgetMs: 1000 }),
  'circuit breaker': () => new CircuitBreaker({ clock, failureThreshold: 5 }).layer,
}
for (const [name, layer] of Object.entries(layers)) {
  describeBackend({ name: `memory under ${name}`, create: () => ({ backend: layer()(new MemoryBackend()) }) })
}
