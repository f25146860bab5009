import { setMaxListeners } from 'node:events'

/**
 * One signal for many requests at once, which also ends them by itself. The SDK adds a listener for each request, and eleven on
 * one signal of somebody else's would print a warning.
 */
export class Cancellation {
  readonly #controller = new AbortController()
  readonly #outer: AbortSignal | undefined
  readonly #pass = (): void => this.cancel(this.#outer?.reason)

  constructor(outer?: AbortSignal) {
    setMaxListeners(0, this.#controller.signal)
    this.#outer = outer
    if (outer?.aborted === true) this.#pass()
    else outer?.addEventListener('abort', this.#pass, { once: true })
  }

  get signal(): AbortSignal {
    return this.#controller.signal
  }

  cancel(reason?: unknown): void {
    this.#controller.abort(reason)
  }

  /** To be called when all is done: lets go of the outer signal, and of requests that are still running. */
  end(): void {
    this.#outer?.removeEventListener('abort', this.#pass)
    this.cancel()
  }
}
