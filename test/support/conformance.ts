import { systemClock, type Layer } from '@thermocline/backend'
import { CircuitBreaker, retry, timeout } from '@thermocline/core'
import type { Subject } from '@thermocline/testkit'
import { startProxy } from './proxy.js'

const clock = systemClock

/** As a manager wraps each tier: circuit breaker, timeout, retry. */
export function guarded(budgetMs: number): Layer {
  const retried = retry({ clock, attempts: 3, baseDelayMs: 1 })
  const timed = timeout({ clock, budgetMs })
  const breaker = new CircuitBreaker({ clock, failureThreshold: 5 })
  return (inner) => breaker.layer(timed(retried(inner)))
}

/** A subject whose store is reached by a proxy of its own, and fails when that is ended. */
export async function behindProxy(targetPort: number, subject: (port: number) => Subject): Promise<Subject> {
  const proxy = await startProxy(targetPort)
  return { ...subject(proxy.port), fail: () => proxy.close(), cleanUp: () => proxy.close() }
}

/** The same bytes but for one in the middle. */
export function damaged(bytes: Uint8Array): Buffer {
  const copy = Buffer.from(bytes)
  const middle = copy.byteLength >> 1
  copy[middle] = (copy[middle] as number) ^ 1
  return copy
}
