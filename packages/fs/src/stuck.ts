import { CacheError, systemClock, type OperationOptions } from '@thermocline/backend'
import { PoolWatch } from './pool-watch.js'

/*
 * A disk that holds up what it is asked, as a frozen or a dead one does.
 *
 * Problem. A call to such a disk keeps one of the four threads of libuv until the disk goes on. What asks again (a probe of the breaker, a record, a
 * clean-up) takes the next one; after four, nothing of the application that needs a thread goes on either: its own files, DNS.
 *
 * Approach. While an operation that was given up has not ended, nothing new of its kind is given to the disk. It waits here, where it costs no thread,
 * until the old one ends or it is given up itself.
 */

/** An operation that is younger has not been given up by anybody. */
const YOUNG_MS = 400
/** One that nobody can give up counts as given up after so long without an end. */
const PATIENCE_MS = 2000

interface Running {
  readonly options: OperationOptions
  readonly begunAt: number
}

/** What one backend has given to its disk, reads or writes. */
export class Stuck {
  readonly #running = new Set<Running>()
  readonly #waiting = new Set<() => void>()
  readonly #pool = new PoolWatch(() => this.#running.size)

  /** Does the work now, or when what was given up has ended. @throws CacheError when it is given up before */
  run<T>(options: OperationOptions, work: () => Promise<T>): Promise<T> {
    if (this.#isStuck) return this.#wait(options).then(() => this.run(options, work))
    const running: Running = { options, begunAt: systemClock.monotonic() }
    this.#pool.begin(running.begunAt)
    options.watch?.(this.#pool.movedAt)
    this.#running.add(running)
    const result = work()
    const ended = (): void => this.#ended(running)
    result.then(ended, ended)
    return result
  }

  get #isStuck(): boolean {
    if (this.#running.size === 0) return false
    const now = systemClock.monotonic()
    for (const { options, begunAt } of this.#running) {
      if (now - begunAt < YOUNG_MS) return false // the others are younger
      if (options.signal === undefined ? now - begunAt > PATIENCE_MS : options.signal.aborted) return true
    }
    return false
  }

  #ended(running: Running): void {
    this.#running.delete(running)
    if (this.#waiting.size === 0) return
    const waiting = [...this.#waiting]
    this.#waiting.clear()
    for (const goOn of waiting) goOn() // those that find it stuck still wait again
  }

  #wait(options: OperationOptions): Promise<void> {
    return new Promise((resolve, reject) => {
      const goOn = (): void => resolve()
      const left = (): void => {
        if (!this.#waiting.delete(goOn)) return
        reject(new CacheError('timeout', 'the disk was not asked: an operation that was given up has not ended there yet', { operation: 'wait', backend: 'fs', cause: options.signal?.reason }))
      }
      this.#waiting.add(goOn)
      if (options.signal?.aborted === true) return left()
      if (options.onAbort?.(left) !== true) options.signal?.addEventListener('abort', left, { once: true })
    })
  }
}
