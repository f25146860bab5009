import { TransientMap } from '../flights/transient-map.js'

/**
 * Work nobody waits for: promotions. Bounded, visible, finished at close; a failure is reported and never becomes an
 * unhandled rejection.
 */
export class Background {
  readonly #running = new TransientMap<Promise<void>, true>()
  readonly #max: number
  readonly #onFailure: (error: unknown) => void

  constructor(max: number, onFailure: (error: unknown) => void) {
    this.#max = max
    this.#onFailure = onFailure
  }

  get size(): number {
    return this.#running.size
  }

  /** Whether there is room for one more. */
  get hasRoom(): boolean {
    return this.#running.size < this.#max
  }

  run(work: Promise<unknown>): void {
    const tracked: Promise<void> = work.then(
      () => undefined,
      (error: unknown) => this.#onFailure(error),
    ).finally(() => this.#running.delete(tracked))
    this.#running.set(tracked, true)
  }

  /** Resolves when everything running now, and what it starts, has ended. */
  async drained(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running.keys())
  }
}
