import { randomUUID } from 'node:crypto'
import { CacheError, type Hosts } from '@thermocline/backend'
import { AbsentKeys, type ObjectNames } from '@thermocline/object-store'
import { isRefusal } from './errors.js'
import type { ObjectApi } from './object-api.js'

/**
 * What a refused read means.
 *
 * S3 refuses two more things that Cloud Storage does not: its buckets are found from anywhere, so none is in the wrong region, and objects
 * of every storage class, ARCHIVE included, are read at once.
 */
export class Refusals {
  readonly #api: ObjectApi
  readonly #names: ObjectNames
  readonly #absentKeys: AbsentKeys

  constructor(api: ObjectApi, names: ObjectNames, hosts: Hosts) {
    this.#api = api
    this.#names = names
    this.#absentKeys = new AbsentKeys(hosts, () => {
      const message = 'gcs answers 403 for objects that are not there, because these credentials may not list the bucket: such answers are taken for misses, also where reading itself is forbidden; grant storage.objects.list (roles/storage.objectUser has it)'
      return new CacheError('access-denied', message, { operation: 'get', backend: 'gcs' })
    })
  }

  /** A read was answered 404. */
  noteNotFound(): void {
    this.#absentKeys.noteNotFound()
  }

  /** Whether a read that was answered 403 is a miss. */
  async isMiss(): Promise<boolean> {
    try {
      return await this.#absentKeys.areForbidden(() => this.#areAbsentForbidden())
    } catch {
      return false // the next refusal asks again
    }
  }

  async #areAbsentForbidden(): Promise<boolean> {
    const absent = `${this.#names.root}~absent/${randomUUID()}`
    const [looking, listing] = await Promise.all([isDenied(this.#api.look(absent, undefined)), isDenied(this.#api.list({ prefix: absent, maxResults: '1', fields: 'nextPageToken' }, undefined))])
    return looking && listing
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
