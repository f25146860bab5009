import type { CancelTimer, Clock, EpochMs } from '@thermocline/backend'

/** Where simulated time begins: 2026-01-01T00:00:00Z. */
const BEGINNING: EpochMs = Date.UTC(2026, 0, 1)

/** A process in the simulation, as far as time is its matter. */
export interface TimedProcess {
  /** Nothing of it happens any more. */
  readonly hasEnded: boolean
  /** Until when it stands still, in milliseconds of simulated time. */
  readonly stoppedUntil: number
  /** How far its clock is ahead of the right time, in milliseconds. */
  readonly aheadMs: number
}

/** Time goes in such steps, so that differences are exact, and timers are never early. */
const STEPS_A_MS = 1024
/** What goes on for so long without an end never ends. */
const MOST_EVENTS = 200_000

interface Event {
  readonly at: number
  readonly order: number
  readonly process: TimedProcess | undefined
  readonly callback: () => void
}

/**
 * Time of several processes that run in this one. It stands still while something happens, and goes on to what is next: a timer of a process, or what arrives
 * over a network. What is due at one instant happens in the order in which it was scheduled.
 */
export class SimulatedTime {
  /** Soonest last. */
  readonly #events: Event[] = []
  #now = 0
  #order = 0
  #happened = 0

  /** Milliseconds since the beginning. */
  get now(): number {
    return this.#now
  }

  /** How much has happened. */
  get happened(): number {
    return this.#happened
  }

  /** @param process whose matter it is: it waits while that stands still, and comes to nothing when that has ended */
  schedule(ms: number, callback: () => void, process?: TimedProcess): CancelTimer {
    const event = { at: ms <= 0 ? this.#now : Math.ceil((this.#now + ms) * STEPS_A_MS) / STEPS_A_MS, order: this.#order++, process, callback }
    this.#insert(event)
    return () => {
      const at = this.#events.indexOf(event)
      if (at >= 0) this.#events.splice(at, 1)
    }
  }

  /** The clock of a process. */
  clockOf(process: TimedProcess): Clock {
    const now = (): EpochMs => Math.floor(BEGINNING + this.#now + process.aheadMs)
    return {
      now,
      recent: now,
      monotonic: () => this.#now,
      schedule: (ms, callback) => this.schedule(ms, callback, process),
      afterPendingIo: (callback) => void this.schedule(0, callback, process),
    }
  }

  /** Goes on until `isOver`, or for so many milliseconds. */
  async run(ms: number, isOver: () => boolean = () => false): Promise<void> {
    const until = this.#now + ms
    await turn()
    while (!isOver()) {
      const next = this.#events.at(-1)
      if (next === undefined || next.at > until) {
        this.#now = until
        return
      }
      this.#events.pop()
      this.#now = Math.max(this.#now, next.at)
      const { process } = next
      if (process?.hasEnded === true) continue
      if (process !== undefined && process.stoppedUntil > this.#now) {
        this.#insert({ ...next, at: process.stoppedUntil })
        continue
      }
      if (++this.#happened > MOST_EVENTS) throw new Error(`after ${MOST_EVENTS} events at ${this.#now} ms there is no end of it`)
      next.callback()
      await turn()
    }
  }

  #insert(event: Event): void {
    let [low, high] = [0, this.#events.length]
    while (low < high) {
      const middle = (low + high) >>> 1
      const { at, order } = this.#events[middle] as Event
      if (at > event.at || (at === event.at && order > event.order)) low = middle + 1
      else high = middle
    }
    this.#events.splice(low, 0, event)
  }
}

/** Promises have their turn, and what the event loop was asked to do at once. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
