import { systemClock, type Clock } from '../clock/clock.js'
import type { CacheError } from '../errors/cache-error.js'
import type { BackendHost, Detach } from './backend.js'

/** The managers that use a backend: the first one's clock is the backend's, and all of them are told what happens. */
export class Hosts implements Iterable<BackendHost> {
  readonly #attached = new Set<BackendHost>()
  #clock: Clock = systemClock

  get clock(): Clock {
    return this.#clock
  }

  /** Nobody uses the backend any more, or nobody does yet. */
  get isEmpty(): boolean {
    return this.#attached.size === 0
  }

  attach(host: BackendHost): Detach {
    if (this.isEmpty) this.#clock = host.clock
    this.#attached.add(host)
    return () => void this.#attached.delete(host)
  }

  report(error: CacheError): void {
    for (const host of this.#attached) host.report(error)
  }

  [Symbol.iterator](): Iterator<BackendHost> {
    return this.#attached[Symbol.iterator]()
  }
}
