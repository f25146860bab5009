import type { CacheError, Hosts } from '@thermocline/backend'

/** Milliseconds for which it is believed that a 403 means what it says. */
const BELIEVED_MS = 60_000

/**
 * What a 403 to a read means. A store that does not let us list a bucket does not say either that a key is absent: it refuses both alike.
 * When an object that certainly does not exist is refused, and listing is refused too, a 403 is taken for a miss, and one line says so.
 */
export class AbsentKeys {
  readonly #hosts: Hosts
  readonly #told: () => CacheError
  #areForbidden = false
  #believedUntil = Number.NEGATIVE_INFINITY
  #asking: Promise<boolean> | undefined
  #isTold = false

  /** @param told what is said the first time a 403 is taken for a miss */
  constructor(hosts: Hosts, told: () => CacheError) {
    this.#hosts = hosts
    this.#told = told
  }

  /** A key was answered 404: absent keys are not forbidden, or not any more. */
  noteNotFound(): void {
    this.#areForbidden = false
  }

  /**
   * Whether a read that was answered 403 is a miss.
   *
   * @param ask finds out whether what is absent is refused, and listing too; called once for all who wait
   * @throws what `ask` does
   */
  async areForbidden(ask: () => Promise<boolean>): Promise<boolean> {
    if (this.#areForbidden) return true
    if (this.#hosts.clock.monotonic() < this.#believedUntil) return false
    this.#asking ??= ask().finally(() => (this.#asking = undefined))
    if (!(await this.#asking)) {
      this.#believedUntil = this.#hosts.clock.monotonic() + BELIEVED_MS
      return false
    }
    this.#areForbidden = true
    if (!this.#isTold) this.#hosts.report(this.#told())
    this.#isTold = true
    return true
  }
}
