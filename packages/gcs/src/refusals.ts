import { randomUUID } from 'node:crypto'
import { CacheError, type Hosts } from '@thermocline/backend'
import type { ObjectNames } from '@thermocline/object-store'
import { isRefusal } from './errors.js'
import type { ObjectApi } from './object-api.js'

/** Milliseconds for which it is believed that a 403 means what it says. */
const BELIEVED_MS = 60_000

/**
 * What a refused read means. Who may not list a bucket is told 403 instead of 404 for what is not there: when an object that certainly does
 * not exist is refused in the same way, and listing is refused too, a 403 is taken for a miss.
 *
 * S3 refuses two more things that Cloud Storage does not: its buckets are found from anywhere, so none is in the wrong region, and objects
 * of every storage class, ARCHIVE included, are read at once.
 */
export class Refusals {
  readonly #api: ObjectApi
  readonly #names: ObjectNames
  readonly #hosts: Hosts
  #absentIsForbidden = false
  #believedUntil = Number.NEGATIVE_INFINITY
  #asking: Promise<boolean> | undefined

  constructor(api: ObjectApi, names: ObjectNames, hosts: Hosts) {
    this.#api = api
    this.#names = names
    this.#hosts = hosts
  }

  /** Whether a read that was answered 403 is a miss; asked once for all who wait. Says so, the first time. */
  async isMiss(): Promise<boolean> {
    if (this.#absentIsForbidden) return true
    if (this.#hosts.clock.monotonic() < this.#believedUntil) return false
    this.#asking ??= this.#ask().finally(() => (this.#asking = undefined))
    try {
      if (await this.#asking) return true
      this.#believedUntil = this.#hosts.clock.monotonic() + BELIEVED_MS
    } catch {
      // the next refusal asks again
    }
    return false
  }

  async #ask(): Promise<boolean> {
    const absent = `${this.#names.root}~absent/${randomUUID()}`
    const [looking, listing] = await Promise.all([isDenied(this.#api.look(absent, undefined)), isDenied(this.#api.list({ prefix: absent, maxResults: '1', fields: 'nextPageToken' }, undefined))])
    if (!looking || !listing || this.#absentIsForbidden) return this.#absentIsForbidden
    this.#absentIsForbidden = true
    const message = 'gcs answers 403 for objects that are not there, because these credentials may not list the bucket: such answers are taken for misses, also where reading itself is forbidden; grant storage.objects.list (roles/storage.objectUser has it)'
    this.#hosts.report(new CacheError('access-denied', message, { operation: 'get', backend: 'gcs' }))
    return true
  }
}

async function isDenied(asked: Promise<unknown>): Promise<boolean> {
  try {
    await asked
    return false
  } catch (error) {
    if (isRefusal(error, 403)) return true
    throw error
  }
}
