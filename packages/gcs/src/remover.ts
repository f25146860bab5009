import { CacheError, type ClearOptions, type OperationOptions, type TenantScope, type ValidKey } from '@thermocline/backend'
import { keyInMetadata, type ObjectNames, type Place } from '@thermocline/object-store'
import { abandoned, asGcsError } from './errors.js'
import { failuresOf } from './in-parallel.js'
import type { Lister } from './lister.js'
import type { ObjectApi } from './object-api.js'

/** Requests under way at once, of the backend's connections: the JSON API removes one object a request. */
const MOST_AT_ONCE = 32

/** How it went. */
interface Tally {
  asked: number
  /** Whether any object was there. */
  found: boolean
  readonly failures: unknown[]
}

/** Removes objects. The names are ours alone, so what somebody else put there goes too. */
export class Remover {
  readonly #api: ObjectApi
  readonly #names: ObjectNames
  readonly #lister: Lister
  readonly #most: number

  constructor(api: ObjectApi, names: ObjectNames, lister: Lister, maxSockets: number) {
    this.#api = api
    this.#names = names
    this.#lister = lister
    this.#most = Math.min(MOST_AT_ONCE, maxSockets)
  }

  /** 0 when nothing was there; else unknown: the store does not say whether what it removed was over. */
  delete(scope: TenantScope, keys: readonly ValidKey[], options: OperationOptions): Promise<0 | undefined> {
    const place = { operation: 'delete', tenant: scope.tenant, key: keys.length === 1 ? keys[0] : undefined }
    return this.#counting(place, options, (tally) => this.#remove([...new Set(keys.map((key) => this.#names.of(scope, key)))], tally, options))
  }

  /** A page is removed while the next one is listed. */
  clear(scope: TenantScope, prefix: string, options: ClearOptions): Promise<0 | undefined> {
    const { only } = options
    const goes = (key: string | undefined): boolean => key?.startsWith(prefix) === true && only?.(key) !== false
    return this.#counting({ operation: 'clear', tenant: scope.tenant }, options, async (tally) => {
      const [legible, hashed] = this.#names.under(scope, prefix)
      for await (const page of this.#lister.pages(legible, 'name', options)) {
        const names = page.flatMap(({ name = '' }) => ((prefix === '' && only === undefined) || goes(this.#names.keyOf(scope, name)) ? [name] : []))
        await this.#remove(names, tally, options)
      }
      if (hashed === undefined) return
      for await (const page of this.#lister.pages(hashed, 'name,metadata', options)) {
        const names = page.flatMap(({ name = '', metadata }) => (goes(keyInMetadata(metadata)) ? [name] : []))
        await this.#remove(names, tally, options)
      }
    })
  }

  async #counting(place: Place, { signal }: OperationOptions, work: (tally: Tally) => Promise<void>): Promise<0 | undefined> {
    const tally: Tally = { asked: 0, found: false, failures: [] }
    try {
      await work(tally)
    } catch (error) {
      if (signal?.aborted === true) throw abandoned(signal, place)
      throw asGcsError(error, place)
    }
    const { asked, found, failures } = tally
    if (failures.length === 0) return found ? undefined : 0
    const first = asGcsError(failures[0], place)
    if (asked === 1) throw first
    throw new CacheError(first.code, `${place.operation} on gcs failed for ${failures.length} of ${asked} objects, the first with: ${first.message}`, { ...place, backend: 'gcs', retryable: first.retryable, cause: first })
  }

  /** Tries each, also after one has failed. */
  async #remove(names: readonly string[], tally: Tally, { signal, progress }: OperationOptions): Promise<void> {
    tally.asked += names.length
    const failures = await failuresOf(names, this.#most, async (name) => {
      signal?.throwIfAborted()
      if (await this.#api.remove(name, undefined, signal)) tally.found = true
      progress?.()
    })
    signal?.throwIfAborted()
    tally.failures.push(...failures)
  }
}
