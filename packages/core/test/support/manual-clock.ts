import type { CancelTimer, Clock } from '@thermocline/backend'

/** A clock that stands still until told to go on. As testkit's FakeClock, which core may not import, and without disks to wait for. */
export class ManualClock implements Clock {
  #now = 1_000_000
  readonly #timers = new Set<{ readonly at: number; readonly callback: () => void }>()

  now = (): number => this.#now
  recent = (): number => this.#now
  monotonic = (): number => this.#now

  schedule(ms: number, callback: () => void): CancelTimer {
    const timer = { at: this.#now + ms, callback }
    this.#timers.add(timer)
    return () => this.#timers.delete(timer)
  }

  afterPendingIo(callback: () => void): void {
    setImmediate(() => setImmediate(callback))
  }

  get pending(): number {
    return this.#timers.size
  }

  /** Lets time pass; timers fire in order, each with the turns it needs. */
  async advance(ms: number): Promise<void> {
    const until = this.#now + ms
    for (;;) {
      await turns()
      const [next] = [...this.#timers].filter(({ at }) => at <= until).sort((a, b) => a.at - b.at)
      if (next === undefined) break
      this.#timers.delete(next)
      this.#now = Math.max(this.#now, next.at)
      next.callback()
    }
    this.#now = until
    await turns()
  }
}

/** Some turns of the real event loop, for promises and `afterPendingIo`. */
export async function turns(count = 4): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve))
}

/** What became of a promise so far. */
export function watch(work: Promise<unknown>): { outcome: unknown } {
  const seen: { outcome: unknown } = { outcome: 'waiting' }
  work.then((value) => (seen.outcome = value), (error: unknown) => (seen.outcome = error))
  return seen
}
