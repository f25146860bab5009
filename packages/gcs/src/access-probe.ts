import { randomUUID } from 'node:crypto'
import { CacheError, type ObjectNames } from '@thermocline/core'
import { isRefusal } from './errors.js'
import type { ObjectApi } from './object-api.js'

/**
 * Who may not list a bucket is told 403 instead of 404 for what is not there. So what a 403 means is found out once: when an object that
 * certainly does not exist is refused in the same way, and listing is refused too, a refusal is taken for a miss.
 */
export class AccessProbe {
  readonly #api: ObjectApi
  readonly #names: ObjectNames
  readonly #report: (error: CacheError) => void
  #answer: Promise<boolean> | undefined

  constructor(api: ObjectApi, names: ObjectNames, report: (error: CacheError) => void) {
    this.#api = api
    this.#names = names
    this.#report = report
  }

  /** Whether a 403 may be a miss. Reports it, the first time. */
  async hidesMisses(signal: AbortSignal | undefined): Promise<boolean> {
    this.#answer ??= this.#ask(signal)
    try {
      return await this.#answer
    } catch {
      this.#answer = undefined // found out another time
      return false
    }
  }

  async #ask(signal: AbortSignal | undefined): Promise<boolean> {
    const absent = `${this.#names.root}~probe/${randomUUID()}`
    const [looking, listing] = await Promise.all([isDenied(this.#api.look(absent, signal)), isDenied(this.#api.list({ prefix: absent, maxResults: '1' }, signal))])
    if (!looking || !listing) return false
    this.#report(
      new CacheError('access-denied', 'gcs tells these credentials 403 for whatever is not there, so every 403 is taken for a miss: grant storage.objects.list on the bucket (roles/storage.objectUser has it)', {
        operation: 'get',
        backend: 'gcs',
      }),
    )
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
