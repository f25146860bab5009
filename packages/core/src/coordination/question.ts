import { CacheError, type OperationOptions } from '@thermocline/backend'
import type { Tier } from '../tiers/tier.js'

/** One question to the store over which processes agree, with its tier's budget: for so long nothing may come from there. */
export class Question implements OperationOptions {
  readonly #tier: Tier
  #cancel = (): void => undefined
  #late: ((error: CacheError) => void) | undefined
  #operation = ''
  #leaving: AbortController | undefined
  #expired: CacheError | undefined

  constructor(tier: Tier) {
    this.#tier = tier
  }

  /** Made only when it is asked for, which is rare. */
  get signal(): AbortSignal {
    this.#leaving ??= new AbortController()
    if (this.#expired !== undefined) this.#leaving.abort(this.#expired)
    return this.#leaving.signal
  }

  readonly progress = (): void => {
    if (this.#late !== undefined) this.#arm()
  }

  /** @throws CacheError `timeout`, and what the store fails with */
  answer<T>(operation: string, ask: (options: OperationOptions) => Promise<T>): Promise<T> {
    this.#operation = operation
    return new Promise<T>((resolve, reject) => {
      this.#late = reject
      this.#arm()
      const over = (): void => {
        this.#late = undefined
        this.#cancel()
      }
      ask(this).then((answer) => (over(), resolve(answer)), (error: unknown) => (over(), reject(error as Error)))
    })
  }

  #arm(): void {
    const { time, budgetMs, backend } = this.#tier
    this.#cancel()
    this.#cancel = time.schedule(budgetMs, () => {
      this.#expired = new CacheError('timeout', `${backend.name} did not answer within ${budgetMs} ms`, { operation: this.#operation, backend: backend.name })
      this.#leaving?.abort(this.#expired)
      this.#late?.(this.#expired)
    })
  }
}
