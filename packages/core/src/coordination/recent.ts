import type { Clock, Invalidation, TenantScope } from '@thermocline/backend'

/** For so long a server that takes another one's place may not have heard of what was told. */
const KEPT_MS = 60_000
const MOST = 10_000

interface Told {
  readonly at: number
  readonly scope: TenantScope
  readonly invalidation: Invalidation
}

/**
 * What this process has invalidated lately. A server that takes another one's place may not have heard of it: then it is carried out again, as long as the
 * process lives that has called it.
 */
export class RecentInvalidations {
  readonly #clock: Clock
  #told: Told[] = []

  constructor(clock: Clock) {
    this.#clock = clock
  }

  add(scope: TenantScope, invalidation: Invalidation): void {
    this.#told.push({ at: this.#clock.monotonic(), scope, invalidation })
    if (this.#told.length > MOST * 2) this.#told = this.#recent().slice(-MOST)
  }

  /** All of them, oldest first; they are not remembered any more. */
  take(): readonly Told[] {
    const recent = this.#recent()
    this.#told = []
    return recent
  }

  #recent(): Told[] {
    const since = this.#clock.monotonic() - KEPT_MS
    return this.#told.filter(({ at }) => at >= since)
  }
}
