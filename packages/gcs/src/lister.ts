import { Paged, type ListOptions, type OperationOptions, type StoredEntryInfo, type TenantScope, type ValidKey } from '@thermocline/backend'
import { decodeObjectMetadata, keyInMetadata, type ObjectNames } from '@thermocline/object-store'
import { onAbort } from './aborts.js'
import { abandoned, asGcsError } from './errors.js'
import type { Resource } from './facts.js'
import type { ObjectApi, Page } from './object-api.js'

/** Names have at most so many bytes; no longer prefix is that of any. */
const MAX_NAME_BYTES = 1024

/** Lists objects. A page of the JSON API has the metadata of its objects, where they are asked for: nothing has to be looked at one by one. */
export class Lister {
  readonly #api: ObjectApi
  readonly #names: ObjectNames

  constructor(api: ObjectApi, names: ObjectNames) {
    this.#api = api
    this.#names = names
  }

  list(scope: TenantScope, prefix: string, options: ListOptions): Paged<StoredEntryInfo> {
    return new Paged(() => this.#list(scope, prefix, options))
  }

  async *#list(scope: TenantScope, prefix: string, options: ListOptions): AsyncGenerator<readonly StoredEntryInfo[], void, undefined> {
    const fields = options.detail === 'info' ? 'name,size,metadata' : 'name,size'
    const [legible] = this.#names.under(scope, prefix)
    const [, hashed = ''] = this.#names.under(scope, 'a') // any prefix but the empty one, whose first part shows these names too
    // those with hashed names are few or none: asked for at once, they take no time of their own
    const hashedPages = this.pages(hashed, 'name,size,metadata', options)
    let first = prefix === '' ? undefined : begun(hashedPages)
    try {
      for await (const page of this.pages(legible, fields, options)) {
        const infos: StoredEntryInfo[] = []
        for (const resource of page) {
          const { name = '' } = resource
          const key = this.#names.keyOf(scope, name)
          if (key === undefined && prefix === '' && first === undefined && this.#names.isHashed(scope, name)) first = begun(hashedPages)
          if (key?.startsWith(prefix) !== true) continue
          const info = this.#infoOf(scope, key, resource, options)
          if (info !== undefined) infos.push(info)
        }
        yield infos
      }
      for (let step = await first; step?.done === false; step = await hashedPages.next()) {
        const infos: StoredEntryInfo[] = []
        for (const resource of step.value) {
          const key = keyInMetadata(resource.metadata)
          if (key?.startsWith(prefix) !== true) continue
          const info = this.#infoOf(scope, key, resource, options)
          if (info !== undefined) infos.push(info)
        }
        yield infos
      }
    } catch (error) {
      const place = { operation: 'list', tenant: scope.tenant }
      if (options.signal?.aborted === true) throw abandoned(options.signal, place)
      throw asGcsError(error, place)
    } finally {
      void hashedPages.return()
    }
  }

  /** Objects a page at a time, the next page on its way while the last is being used. Leaving early gives that up. */
  async *pages(prefix: string, fields: string, { signal, progress }: OperationOptions): AsyncGenerator<readonly Resource[], void, undefined> {
    const leaving = new AbortController()
    const leave = onAbort(signal, () => leaving.abort(signal?.reason))
    const ask = (pageToken: string | undefined): Promise<Page> => {
      const page = this.#api.list({ prefix, pageToken, fields: `nextPageToken,items(${fields})` }, leaving.signal)
      page.catch(() => undefined) // told by the next await, if there is one
      return page
    }
    try {
      if (Buffer.byteLength(prefix) > MAX_NAME_BYTES) return
      signal?.throwIfAborted()
      let next: Promise<Page> | undefined = ask(undefined)
      while (next !== undefined) {
        const page: Page = await next
        progress?.()
        next = page.nextPageToken === undefined ? undefined : ask(page.nextPageToken)
        yield page.items ?? []
      }
    } finally {
      leave()
      leaving.abort()
    }
  }

  /** `undefined`: it is seen not to be an entry, which only metadata tells. */
  #infoOf(scope: TenantScope, key: string, { size, metadata }: Resource, { detail, adopt }: ListOptions): StoredEntryInfo | undefined {
    const bytes = size === undefined ? undefined : Number(size)
    if (detail === 'keys') return { key, size: bytes }
    const reading = decodeObjectMetadata(metadata, scope, key as ValidKey)
    if (reading.status === 'plain' && adopt?.(key) === true) return { key, size: bytes, expiresAt: Number.POSITIVE_INFINITY }
    return reading.status === 'ok' ? { key, size: bytes, expiresAt: reading.header.keepUntil } : undefined
  }
}

/** The first page, on its way. */
function begun<T>(pages: AsyncGenerator<T, void, undefined>): Promise<IteratorResult<T, void>> {
  const first = pages.next()
  first.catch(() => undefined) // told when its turn comes, if it does
  return first
}
