import type { ListObjectsV2CommandOutput, _Object as Listed } from '@aws-sdk/client-s3'
import { isPromise, Paged, type ListOptions, type StoredEntryInfo, type TenantScope, type ValidKey } from '@thermocline/backend'
import { keyInMetadata, type Place } from '@thermocline/object-store'
import { Cancellation } from './cancellation.js'
import type { Opened } from './connection.js'
import { abandoned } from './errors.js'
import { inParallel } from './parallel.js'
import type { Reads } from './reads.js'
import type { Shared } from './shared.js'

/** HEADs at once. */
export const HEADS_AT_ONCE = 16
/** S3's names have at most so many bytes; no longer prefix is that of any. */
const MAX_NAME_BYTES = 1024

/** An object of which the key is known. */
interface Named {
  readonly key: string
  readonly name: string
  readonly size: number | undefined
}

/** What becomes of an object whose key is known: in a long listing each object more that is made for an entry can be seen. */
type Make<T> = (key: string, name: string, size: number | undefined) => T
const asNamed: Make<Named> = (key, name, size) => ({ key, name, size })
const asName: Make<string> = (_key, name) => name
const asInfo: Make<StoredEntryInfo> = (key, _name, size) => ({ key, size })

/** What is listed, with what. */
export interface ListRequest {
  readonly opened: Opened
  readonly scope: TenantScope
  readonly prefix: string
  readonly cancellation: Cancellation
  readonly place: Place
}

/** Lists entries: a request for each thousand, and a HEAD for each whose end is wanted or whose key is not in its name. */
export class Listing {
  readonly #shared: Shared
  readonly #reads: Reads

  constructor(shared: Shared, reads: Reads) {
    this.#shared = shared
    this.#reads = reads
  }

  list(scope: TenantScope, prefix: string, options: ListOptions): Paged<StoredEntryInfo> {
    return new Paged(() => this.#list(scope, prefix, options))
  }

  async *#list(scope: TenantScope, prefix: string, options: ListOptions): AsyncGenerator<readonly StoredEntryInfo[], void, undefined> {
    const place = { operation: 'list', tenant: scope.tenant }
    const opening = this.#shared.connection.open('list')
    const opened = isPromise(opening) ? await opening : opening
    const cancellation = new Cancellation(options.signal)
    const request = { opened, scope, prefix, cancellation, place }
    try {
      if (options.detail === 'keys') {
        for await (const page of this.#keyed(request, asInfo)) {
          options.progress?.()
          yield page
        }
        return
      }
      for await (const page of this.#keyed(request, asNamed)) {
        options.progress?.()
        yield* this.#infos(request, page, options)
      }
    } catch (error) {
      if (options.signal?.aborted === true) throw abandoned(options.signal, place)
      throw this.#reads.refusals.failed(error, place)
    } finally {
      cancellation.end()
    }
  }

  /** Pages of names of the tenant's objects whose keys begin with a prefix, and are wanted; with an empty one, of all that is there. */
  async *names(request: ListRequest, only?: (key: string) => boolean): AsyncGenerator<readonly string[], void, undefined> {
    const { opened, scope, prefix, cancellation } = request
    if (only !== undefined) {
      for await (const page of this.#keyed(request, asNamed)) yield page.filter(({ key }) => only(key)).map(({ name }) => name)
      return
    }
    if (prefix !== '') return yield* this.#keyed(request, asName)
    for await (const page of this.#pages(opened, this.#shared.names.ofTenant(scope), cancellation)) yield page.flatMap(({ Key }) => Key ?? [])
  }

  async *#keyed<T>(request: ListRequest, make: Make<T>): AsyncGenerator<readonly T[], void, undefined> {
    const { opened, scope, prefix, cancellation } = request
    // those with hashed names are few or none: asked for at once, they take no time of their own
    const listings = this.#shared.names.under(scope, prefix).flatMap((under) => (under === undefined || Buffer.byteLength(under) > MAX_NAME_BYTES ? [] : [this.#pages(opened, under, cancellation)]))
    const firsts = listings.map((pages) => pages.next())
    for (const first of firsts) first.catch(() => undefined) // told when its turn comes, if it does
    try {
      for (const [at, pages] of listings.entries()) {
        for (let step = await firsts[at]; step?.done === false; step = await pages.next()) yield await this.#withKeys(request, step.value, make)
      }
    } finally {
      for (const pages of listings) void pages.return()
    }
  }

  /** Pages of all objects whose names begin so. The next page is asked for while one is being used. */
  async *#pages({ sdk, client }: Opened, under: string, cancellation: Cancellation): AsyncGenerator<readonly Listed[], void, undefined> {
    const ask = (token: string | undefined): Promise<ListObjectsV2CommandOutput> => {
      const asking = client.send(new sdk.ListObjectsV2Command({ Bucket: this.#shared.bucket, Prefix: under, ContinuationToken: token }), cancellation)
      asking.catch(() => undefined) // told when its turn comes, if it does
      return asking
    }
    for (let asking: Promise<ListObjectsV2CommandOutput> | undefined = ask(undefined); asking !== undefined; ) {
      const { Contents = [], IsTruncated, NextContinuationToken }: ListObjectsV2CommandOutput = await asking
      asking = IsTruncated === true && NextContinuationToken !== undefined ? ask(NextContinuationToken) : undefined
      this.#reads.refusals.noteBucket()
      yield Contents
    }
  }

  async #withKeys<T>({ opened, scope, prefix, cancellation, place }: ListRequest, page: readonly Listed[], make: Make<T>): Promise<readonly T[]> {
    const { names } = this.#shared
    const named: T[] = []
    const unnamed: Listed[] = []
    for (const object of page) {
      const { Key: name = '', Size: size } = object
      const key = names.keyOf(scope, name)
      if (key === undefined) {
        if (names.isHashed(scope, name)) unnamed.push(object)
      } else if (key.startsWith(prefix)) named.push(make(key, name, size))
    }
    if (unnamed.length === 0) return named
    const found = inParallel(unnamed, HEADS_AT_ONCE, async ({ Key: name = '', Size: size }) => ({ name, size, head: await this.#reads.look(opened, name, cancellation, place) }))
    for await (const { name, size, head } of found) {
      const key = keyInMetadata(head?.Metadata)
      if (key?.startsWith(prefix) === true) named.push(make(key, name, size))
    }
    return named
  }

  async *#infos({ opened, scope, cancellation, place }: ListRequest, page: readonly Named[], { adopt, progress }: ListOptions): AsyncGenerator<readonly StoredEntryInfo[], void, undefined> {
    const looked = inParallel(page, HEADS_AT_ONCE, async ({ key, name, size }) => {
      const expiresAt = await this.#reads.endOf(opened, { scope, key: key as ValidKey, name, place }, cancellation, adopt?.(key) === true)
      return { key, size, expiresAt }
    })
    for await (const info of looked) {
      progress?.()
      if (info.expiresAt !== undefined) yield [info]
    }
  }
}
