import type { LogMessage, TenantScope, ValidKey } from '@thermocline/backend'

/** Beyond, the oldest are forgotten: whoever stands behind them waits for a lease. */
const MOST = 10_000
const AT_ONCE = 100
/** A place that cannot be left so often is left to who stands behind it. */
const MOST_ATTEMPTS = 20

/** A place in a line that this process does not need any more. */
export interface Place {
  readonly scope: TenantScope
  readonly key: ValidKey
  readonly token: string
  readonly wake: LogMessage
}

/** Places in lines that may stand there still, as the store could not be told that they are left. */
export class Unleft {
  readonly #leave: (place: Place, isAnswering: boolean) => Promise<boolean>
  readonly #owed = new Map<string, { readonly place: Place; attempts: number }>()
  #leaving = false

  /** @param leave resolves with whether the store was told; `isAnswering`: it has just answered */
  constructor(leave: (place: Place, isAnswering: boolean) => Promise<boolean>) {
    this.#leave = leave
  }

  get size(): number {
    return this.#owed.size
  }

  /** Leaves it now; what the store cannot be told is owed. */
  async leaveNow(place: Place): Promise<void> {
    if (!(await this.#leave(place, false))) this.owe(place)
  }

  owe(place: Place): void {
    this.#owed.set(place.token, { place, attempts: 0 })
    if (this.#owed.size <= MOST) return
    const [oldest = ''] = this.#owed.keys()
    this.#owed.delete(oldest)
  }

  /** The store answers: leaves them now. */
  async leave(): Promise<void> {
    if (this.#leaving) return
    this.#leaving = true
    try {
      let isTold = true
      while (isTold && this.#owed.size > 0) {
        const owed = [...this.#owed.values()].slice(0, AT_ONCE)
        const told = await Promise.all(owed.map(({ place }) => this.#leave(place, true)))
        for (const [at, one] of owed.entries()) {
          this.#owed.delete(one.place.token)
          if (told[at] !== true && ++one.attempts < MOST_ATTEMPTS) this.#owed.set(one.place.token, one) // behind the others
        }
        isTold = told.every(Boolean)
      }
    } finally {
      this.#leaving = false
    }
  }
}
