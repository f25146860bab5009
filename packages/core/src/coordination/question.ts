import { CacheError, type Clock, type OperationOptions } from '@thermocline/backend'
import type { Tier } from '../tiers/tier.js'

/** While answers to others come in, one is waited for; but not for ever. */
const MOST_BUDGETS = 20

/** One question to the store over which processes agree, with its tier's budget: for so long nothing may come from there. */
export class Question implements OperationOptions {
  readonly #tier: Tier
  readonly #clock: Clock
  #budgets = 0
  #cancel = (): void => undefined
  #late: ((error: CacheError) => void) | undefined
  #operation = ''
  #movedAt: (() => number) | undefined
  #leaving: AbortController | undefined
  #expired: CacheError | undefined

  constructor(tier: Tier, clock: Clock) {
    this.#tier = tier
    this.#clock = clock
  }

  /** Made only when it is asked for, which is rare. */
  get signal(): AbortSignal {
    this.#leaving ??= new AbortController()
    if (this.#expired !== undefined) this.#leaving.abort(this.#expired)
    return this.#leaving.signal
  }

  readonly progress = (): void => {
    if (this.#late !== undefined) this.#arm(this.#tier.budgetMs)
  }

  watch(movedAt: () => number): void {
    this.#movedAt = movedAt
  }

  /** @throws CacheError `timeout`, and what the store fails with */
  answer<T>(operation: string, ask: (options: OperationOptions) => Promise<T>): Promise<T> {
    this.#operation = operation
    return new Promise<T>((resolve, reject) => {
      this.#late = reject
      this.#arm(this.#tier.budgetMs)
      const over = (): void => {
        this.#late = undefined
        this.#cancel()
      }
      ask(this).then((answer) => (over(), resolve(answer)), (error: unknown) => (over(), reject(error as Error)))
    })
  }

  #arm(ms: number): void {
    this.#cancel()
    this.#cancel = this.#tier.time.schedule(ms, () => this.#isLate())
  }

  #isLate(): void {
    const { budgetMs, backend } = this.#tier
    const sinceMoved = this.#clock.monotonic() - (this.#movedAt?.() ?? Number.NEGATIVE_INFINITY)
    if (sinceMoved < budgetMs && ++this.#budgets < MOST_BUDGETS) return this.#arm(budgetMs - sinceMoved)
    this.#expired = new CacheError('timeout', `${backend.name} did not answer within ${budgetMs} ms`, { operation: this.#operation, backend: backend.name })
    this.#leaving?.abort(this.#expired)
    this.#late?.(this.#expired)
  }
}
