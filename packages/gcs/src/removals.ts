import { CacheError, keyInMetadata, type ObjectNames, type OperationOptions, type TenantScope, type ValidKey } from '@thermocline/core'
import { asGcsError } from './errors.js'
import type { Listing } from './listing.js'
import type { ObjectApi } from './object-api.js'
import { forEachOf } from './parallel.js'

/** Requests under way at once, of the backend's connections: the JSON API removes one object a request. */
const MOST_AT_ONCE = 32

/** Removes objects. The names are ours alone, so what somebody else put there goes too. */
export class Removals {
  readonly #api: ObjectApi
  readonly #names: ObjectNames
  readonly #listing: Listing
  readonly #width: number

  constructor(api: ObjectApi, names: ObjectNames, listing: Listing, maxSockets: number) {
    this.#api = api
    this.#names = names
    this.#listing = listing
    this.#width = Math.min(MOST_AT_ONCE, maxSockets)
  }

  /** 0 when none was there; else unknown: the store does not say whether what it removed was over. */
  async delete(scope: TenantScope, keys: readonly ValidKey[], options: OperationOptions): Promise<number | undefined> {
    return (await this.#remove('delete', [...new Set(keys)].map((key) => this.#names.of(scope, key)), options, keys[0])) ? undefined : 0
  }

  /** The next page is listed while the last one is removed. */
  async clear(scope: TenantScope, prefix: string, options: OperationOptions): Promise<number | undefined> {
    let wereThere = false
    try {
      const [legible, hashed] = this.#names.under(scope, prefix)
      for await (const page of this.#listing.pages(legible, 'name', options)) {
        const names = page.flatMap(({ name = '' }) => (prefix === '' || this.#names.keyOf(scope, name)?.startsWith(prefix) === true ? [name] : []))
        if (await this.#remove('clear', names, options, undefined)) wereThere = true
      }
      if (hashed === undefined) return wereThere ? undefined : 0
      for await (const page of this.#listing.pages(hashed, 'name,metadata', options)) {
        const names = page.flatMap(({ name = '', metadata }) => (keyInMetadata(metadata)?.startsWith(prefix) === true ? [name] : []))
        if (await this.#remove('clear', names, options, undefined)) wereThere = true
      }
      return wereThere ? undefined : 0
    } catch (error) {
      if (options.signal?.aborted === true) throw options.signal.reason
      throw asGcsError(error, 'clear', undefined)
    }
  }

  /** Whether any was there. Rejects when one could not be removed, after the others were tried. */
  async #remove(operation: 'delete' | 'clear', names: readonly string[], { signal, progress }: OperationOptions, key: ValidKey | undefined): Promise<boolean> {
    let wasThere = false
    const failures = await forEachOf(names, this.#width, async (name) => {
      signal?.throwIfAborted()
      if (await this.#api.remove(name, undefined, signal)) wasThere = true
      progress?.()
    })
    if (signal?.aborted === true) throw signal.reason
    if (failures.length === 0) return wasThere
    const first = asGcsError(failures[0], operation, key)
    if (names.length === 1) throw first
    throw new CacheError(first.code, `${operation} on gcs failed for ${failures.length} of ${names.length} objects; the first: ${first.message}`, { operation, backend: 'gcs', retryable: first.retryable, cause: first })
  }
}
