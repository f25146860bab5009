import type { Clock, Invalidation, TenantScope } from '@thermocline/backend'

/** For so long a server that takes another one's place may not have heard of what was told. */
const KEPT_MS = 60_000
const MOST = 50_000

interface Told {
  readonly at: number
  readonly scope: TenantScope
  readonly invalidation: Invalidation
  /** Of the message; `undefined`: it was told in parts. */
  readonly id: string | undefined
  isHeard: boolean
}

/**
 * What this process has invalidated lately. A server that takes another one's place may not have heard of it: then it is carried out again, as long as the
 * process lives that has called it.
 */
export class RecentInvalidations {
  readonly #clock: Clock
  #told: Told[] = []
  readonly #unheard = new Map<string, Told>()
  /** What is carried out again is as old as it was. */
  readonly #again = new Map<string, number>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  add(scope: TenantScope, invalidation: Invalidation, id?: string): void {
    const at = this.#again.get(nameOf(scope, invalidation)) ?? this.#clock.monotonic()
    const told: Told = { at, scope, invalidation, id, isHeard: id === undefined }
    this.#told.push(told)
    if (id !== undefined) this.#unheard.set(id, told)
    if (this.#told.length > MOST * 2) this.#forgetOld()
  }

  /** The message was read where everybody reads it. */
  heard(id: string): void {
    const told = this.#unheard.get(id)
    if (told === undefined) return
    told.isHeard = true
    this.#unheard.delete(id)
  }

  /** All of them, oldest first: what has been told is lost, perhaps. */
  takeAll(): readonly Told[] {
    return this.#take(() => true)
  }

  /** Those whose message ought to have been read, as others that were sent later have been. @param before the instant until when they were told */
  takeUnheard(before: number): readonly Told[] {
    for (const { at, isHeard } of this.#unheard.values()) if (!isHeard && at < before) return this.#take((told) => !told.isHeard && told.at < before)
    return []
  }

  #take(isTaken: (told: Told) => boolean): readonly Told[] {
    this.#forgetOld()
    const taken = this.#told.filter(isTaken)
    this.#told = this.#told.filter((told) => !isTaken(told))
    for (const { scope, invalidation, at, id } of taken) {
      this.#again.set(nameOf(scope, invalidation), at)
      if (id !== undefined) this.#unheard.delete(id)
    }
    return taken
  }

  #forgetOld(): void {
    const since = this.#clock.monotonic() - KEPT_MS
    this.#told = this.#told.filter(({ at }) => at >= since).slice(-MOST)
    for (const [id, { at }] of this.#unheard) if (at < since) this.#unheard.delete(id)
    for (const [name, at] of this.#again) if (at < since) this.#again.delete(name)
  }
}

function nameOf({ tenant }: TenantScope, { key, prefix }: Invalidation): string {
  return key === undefined ? `${tenant}\0\0${prefix}` : `${tenant}\0${key}`
}
