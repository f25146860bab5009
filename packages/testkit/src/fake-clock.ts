import type { CancelTimer, Clock, EpochMs } from '@thermocline/backend'

interface Timer {
  readonly at: EpochMs
  readonly callback: () => void
}

/** Quiet turns of the real event loop granted between timers, so that what a timer started can go on. */
const TURNS = 6
/** A disk that is busy for ever is somebody else's, and not waited for. */
const MOST_TURNS = 100_000

function isDiskBusy(): boolean {
  return process.getActiveResourcesInfo().some((resource) => resource.startsWith('FSReq') || resource === 'CloseReq')
}

/**
 * A clock that stands still until it is told to go on. Timers fire in order when `advance` passes them, and between
 * two of them promises and real input and output get their turns.
 */
export class FakeClock implements Clock {
  #now: EpochMs
  readonly #timers = new Set<Timer>()

  /** @param now where it begins; by default 2026-01-01T00:00:00Z */
  constructor(now: EpochMs = Date.UTC(2026, 0, 1)) {
    this.#now = now
  }

  now = (): EpochMs => this.#now
  recent = (): EpochMs => this.#now
  monotonic = (): number => this.#now

  schedule(ms: number, callback: () => void): CancelTimer {
    const timer = { at: this.#now + Math.max(0, ms), callback }
    this.#timers.add(timer)
    return () => this.#timers.delete(timer)
  }

  afterPendingIo(callback: () => void): void {
    setImmediate(() => setImmediate(callback))
  }

  /** How many timers wait. */
  get pending(): number {
    return this.#timers.size
  }

  /** Lets `ms` milliseconds pass. Resolves when the timers that came due, and what they set off, have run. */
  async advance(ms: number): Promise<void> {
    const until = this.#now + ms
    await this.settle()
    for (let next = this.#nextBy(until); next !== undefined; next = this.#nextBy(until)) {
      this.#timers.delete(next)
      this.#now = Math.max(this.#now, next.at)
      next.callback()
      await this.settle()
    }
    this.#now = until
    await this.settle()
  }

  /** Moves the time without running timers: a clock that jumps. */
  jump(ms: number): void {
    this.#now += ms
  }

  /**
   * Gives promises their turns and waits for file operations that are under way: fake time must not overtake a real disk,
   * or an operation would seem to have outlived its budget.
   */
  async settle(): Promise<void> {
    for (let quiet = 0, turns = 0; quiet < TURNS && turns < MOST_TURNS; turns++) {
      await new Promise((resolve) => setImmediate(resolve))
      quiet = isDiskBusy() ? 0 : quiet + 1
    }
  }

  #nextBy(until: EpochMs): Timer | undefined {
    let next: Timer | undefined
    for (const timer of this.#timers) if (timer.at <= until && (next === undefined || timer.at < next.at)) next = timer
    return next
  }
}
