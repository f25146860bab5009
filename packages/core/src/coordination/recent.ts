import type { Clock, Invalidation, TenantScope } from '@thermocline/backend'
import { queueId } from '../tiers/write-queue.js'

/** For so long a server that takes another one's place may not have heard of what was told. */
const KEPT_MS = 60_000
const MOST = 50_000

interface Told {
  /** When it began to be carried out, or had been; infinite while it may not have begun. */
  at: number
  /** When its message had been sent; infinite while it may not have been. */
  sentAt: number
  readonly scope: TenantScope
  readonly invalidation: Invalidation
  /** Of the message; of the last one, where it is told in parts. */
  readonly id: string
  isHeard: boolean
}

/**
 * What this process has invalidated lately. A server that takes another one's place may not have heard of it: then it is carried out again, as long as the
 * process lives that has called it.
 */
export class RecentInvalidations {
  readonly #clock: Clock
  #told: Told[] = []
  /** What was sent and has not been read yet, by what it tells of. */
  readonly #unheard = new Map<string, Told[]>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /**
   * @param isBegun whether it may have been carried out in part before its message is sent
   * @returns to be called when it has been sent, or not, if it waits before: until then its message is not missed
   */
  add(scope: TenantScope, invalidation: Invalidation, id: string, isBegun = false): () => void {
    const told: Told = { at: isBegun ? this.#clock.monotonic() : Number.POSITIVE_INFINITY, sentAt: Number.POSITIVE_INFINITY, scope, invalidation, id, isHeard: false }
    this.#told.push(told)
    const name = nameOf(scope, invalidation)
    const others = this.#unheard.get(name)
    if (others === undefined) this.#unheard.set(name, [told])
    else others.push(told)
    if (this.#told.length > MOST * 2) this.#forgetOld()
    return () => {
      if (told.sentAt === Number.POSITIVE_INFINITY) told.at = told.sentAt = this.#clock.monotonic()
    }
  }

  /** The message was read where everybody reads it: it covers what was told of the same before. */
  heard(scope: TenantScope, invalidation: Invalidation, id: string): void {
    const name = nameOf(scope, invalidation)
    const waiting = this.#unheard.get(name)
    const at = waiting?.findIndex((told) => told.id === id) ?? -1
    if (waiting === undefined || at < 0) return
    for (const told of waiting.splice(0, at + 1)) told.isHeard = true
    if (waiting.length === 0) this.#unheard.delete(name)
  }

  /** What was told before reading began is not read. */
  begun(): void {
    for (const waiting of this.#unheard.values()) for (const told of waiting) told.isHeard = true
    this.#unheard.clear()
  }

  /** All that were sent, oldest first: what has been told is lost, perhaps. */
  takeAll(): readonly Told[] {
    return this.#take(({ at }) => at < Number.POSITIVE_INFINITY)
  }

  /** Those whose message ought to have been read, as others that were sent later have been. @param before the instant until when they were told */
  takeUnheard(before: number): readonly Told[] {
    for (const waiting of this.#unheard.values()) if (waiting.some(({ sentAt }) => sentAt < before)) return this.#take((told) => !told.isHeard && told.sentAt < before)
    return []
  }

  #take(isTaken: (told: Told) => boolean): readonly Told[] {
    this.#forgetOld()
    const taken = this.#told.filter(isTaken)
    this.#told = this.#told.filter((told) => !isTaken(told))
    for (const told of taken) {
      const name = nameOf(told.scope, told.invalidation)
      const left = this.#unheard.get(name)?.filter((other) => other !== told) ?? []
      if (left.length === 0) this.#unheard.delete(name)
      else this.#unheard.set(name, left)
    }
    return taken
  }

  #forgetOld(): void {
    const since = this.#clock.monotonic() - KEPT_MS
    this.#told = this.#told.filter(({ at }) => at >= since).slice(-MOST)
    for (const [name, waiting] of this.#unheard) if (waiting.every(({ at }) => at < since)) this.#unheard.delete(name)
  }
}

function nameOf(scope: TenantScope, { key, prefix }: Invalidation): string {
  return queueId(scope, key ?? `\0${prefix}`) // no key begins so
}
