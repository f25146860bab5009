import { Invalidation, type TenantScope } from '@thermocline/backend'
import { queueId } from '../tiers/write-queue.js'

/** Beyond, all of a tenant is told of at once. */
const MOST = 10_000

interface Owed {
  readonly scope: TenantScope
  readonly invalidation: Invalidation
}

/** Changes of shared tiers that other processes could not be told of yet. */
export class Untold {
  readonly #tell: (scope: TenantScope, invalidation: Invalidation) => Promise<boolean>
  readonly #owed = new Map<string, Owed>()
  #telling: Promise<void> | undefined

  /** @param tell resolves with whether it was told */
  constructor(tell: (scope: TenantScope, invalidation: Invalidation) => Promise<boolean>) {
    this.#tell = tell
  }

  get size(): number {
    return this.#owed.size
  }

  /** Tells of it now; what cannot be told is owed. */
  async tellNow(scope: TenantScope, invalidation: Invalidation): Promise<void> {
    if (await this.#tell(scope, invalidation)) return
    const isMuch = this.#owed.size >= MOST
    this.#owe(scope, isMuch ? Invalidation.ofPrefix('') : invalidation)
    if (!isMuch) return
    for (const [name, owed] of this.#owed) if (owed.scope.tenant === scope.tenant && owed.invalidation.key !== undefined) this.#owed.delete(name)
  }

  /** Tells of what is owed. */
  tell(): Promise<void> {
    return (this.#telling ??= this.#tellAll().finally(() => (this.#telling = undefined)))
  }

  async #tellAll(): Promise<void> {
    for (const [name, owed] of [...this.#owed]) {
      if (!(await this.#tell(owed.scope, owed.invalidation))) return
      if (this.#owed.get(name) === owed) this.#owed.delete(name) // else it has changed again
    }
  }

  #owe(scope: TenantScope, invalidation: Invalidation): void {
    this.#owed.set(queueId(scope, invalidation.key ?? ''), { scope, invalidation })
  }
}
